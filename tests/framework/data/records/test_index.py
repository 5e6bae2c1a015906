import os

import numpy as np
import pytest
import tensorflow as tf

from framework.data.records import CorruptRecordError, Index, load_index, make_index
from framework.data.records.index import keep_index, readable_index

RECORDS = [bytes(length % 251 for _ in range(length)) for length in (0, 1, 70_000, 5, 0, 300, 65_536, 2)]


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "data" / "train.tfrecord"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in RECORDS:
            writer.write(record)
    return path


def kept(file):
    return file.parent / ".index" / file.name


def assert_same(index, other):
    np.testing.assert_array_equal(index.lengths, other.lengths)
    np.testing.assert_array_equal(index.crcs, other.crcs)


def test_an_index_says_where_each_record_lies(file):
    index = make_index(file)
    data = file.read_bytes()
    assert index.lengths.tolist() == [len(record) for record in RECORDS]
    for offset, length, crc, record in zip(index.offsets, index.lengths, index.crcs, RECORDS, strict=True):
        assert data[offset + 12 : offset + 12 + length] == record
        assert data[offset + 12 + length :][:4] == crc.tobytes()
    assert not (file.parent / ".index").exists()


def test_many_small_records_over_the_border_of_what_is_read_at_once(tmp_path):
    path = str(tmp_path / "many")
    lengths = np.random.default_rng(0).integers(0, 40, 10_000)
    with tf.io.TFRecordWriter(path) as writer:
        for length in lengths:
            writer.write(bytes(length))
    assert make_index(path).lengths.tolist() == lengths.tolist()
    assert make_index(path).offsets[-1] == os.path.getsize(path) - 16 - lengths[-1]


def test_a_compressed_file_has_an_index_of_its_content(file):
    path = str(file) + ".gz"
    with tf.io.TFRecordWriter(path, "GZIP") as writer:
        for record in RECORDS:
            writer.write(record)
    assert_same(load_index(path), make_index(file))


def test_an_empty_file_has_an_empty_index(tmp_path):
    path = tmp_path / "empty"
    path.touch()
    for index in (load_index(path), load_index(path)):
        assert (len(index.lengths), len(index.offsets)) == (0, 0)


def test_an_index_is_kept_and_used_again(file, monkeypatch):
    index = load_index(file)
    assert kept(file).exists()
    monkeypatch.setattr("framework.data.records.index.make_index", None)
    assert_same(load_index(file), index)


def test_an_index_of_what_the_file_was_before_is_not_used(file):
    load_index(file)
    with tf.io.TFRecordWriter(str(file)) as writer:
        writer.write(b"another")
    os.utime(file, ns=(0, 12345))
    assert load_index(file).lengths.tolist() == [7]


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: data[:-1] + b"x", lambda data: b"", bytes])
def test_a_damaged_index_is_made_again(file, damage):
    index = load_index(file)
    good = kept(file).read_bytes()
    kept(file).write_bytes(damage(good) if damage is not bytes else bytes(len(good)))
    assert_same(load_index(file), index)
    assert kept(file).read_bytes() == good


def test_another_files_index_is_not_used(file):
    other = file.with_name("other")
    with tf.io.TFRecordWriter(str(other)) as writer:
        writer.write(b"other")
    load_index(other)
    index = load_index(file)
    kept(file).write_bytes(kept(other).read_bytes())
    assert_same(load_index(file), index)


def test_where_the_folder_cannot_be_written_to_the_users_cache_keeps_the_index(file, tmp_path):
    file.with_name(".index").touch()  # no folder can be made of it; permissions don't stop root
    index = load_index(file)
    (cached,) = (tmp_path / "cache" / "keras-shipyard" / "index").iterdir()
    assert_same(load_index(file), index)
    cached.unlink()


def test_where_nothing_can_be_written_it_is_made_each_time(file, tmp_path):
    file.with_name(".index").touch()
    (tmp_path / "cache").touch()
    assert_same(load_index(file), make_index(file))


def test_a_file_that_was_cut_off_is_refused(file):
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(CorruptRecordError, match=f"offset {make_index_offsets()[-1]}: corrupt record: the file ends 5"):
        load_index(file)
    assert not kept(file).exists()


def test_of_a_file_that_was_cut_off_the_rest_can_be_read(file):
    whole = make_index(file)
    file.write_bytes(file.read_bytes()[:-5])
    index, broken = readable_index(file)
    assert index.lengths.tolist() == whole.lengths.tolist()[:-1]
    assert (broken.file, broken.offset) == (str(file), make_index_offsets()[-1])
    assert not kept(file).exists()  # or it would pass for a whole one's
    with pytest.raises(CorruptRecordError):
        load_index(file)


def make_index_offsets():
    return np.cumsum([0, *(len(record) + 16 for record in RECORDS[:-1])])


def test_an_index_that_is_known_can_be_kept(file):
    keep_index(file, Index(np.array([3], "<u4"), np.array([4], "<u4")))
    assert (load_index(file).lengths.tolist(), load_index(file).crcs.tolist()) == ([3], [4])


def test_a_digest_tells_records_apart():
    one = Index(np.array([3], "<u4"), np.array([4], "<u4"))
    assert one.digest == Index(np.array([3], "<u4"), np.array([4], "<u4")).digest
    assert one.digest != Index(np.array([3], "<u4"), np.array([5], "<u4")).digest
