import os

import numpy as np
import pytest
import tensorflow as tf

from framework.data import records
from framework.data.records import kept as module
from framework.data.sequences.lengths import sequence_lengths
from framework.features import Feature


def write(directory, lengths, **settings):
    examples = [({"x": np.zeros(length, np.float32)}, 0) for length in lengths]
    records.write(examples, directory, features={"x": Feature((None,))}, kind=records.SequenceSchema, **settings)
    return records.DataSet.find(directory, kind=records.SequenceSchema).source("train")


@pytest.mark.parametrize("read_only", [False, True])
def test_lengths_are_counted_once_and_kept(tmp_path, monkeypatch, read_only):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(module, "_CHUNK", 3)
    expected = [3, 0, 5, 1, 4, 2, 6]
    source = write(tmp_path / "data", expected, layout=records.Layout(shards=2))
    if read_only:  # another user's folder; permissions don't stop root
        saving = np.savez

        def refused(file, **arrays):
            if (tmp_path / "data") in map(type(tmp_path), [os.path.dirname(os.path.dirname(file.name))]):
                raise OSError("read-only")
            saving(file, **arrays)

        monkeypatch.setattr(module.np, "savez", refused)
    assert sequence_lengths(source).tolist() == expected
    kept = list((tmp_path / "cache" if read_only else tmp_path / "data" / ".index").rglob("*.npz"))
    assert len(kept) == 1
    monkeypatch.setattr(records.RecordSource, "raw_records", None)  # which isn't needed any more
    assert sequence_lengths(source).tolist() == expected
    assert (
        sequence_lengths(records.DataSet.find(tmp_path / "data", kind=records.SequenceSchema).source("train"))[2] == 5
    )


def test_other_data_are_counted_anew(tmp_path):
    assert sequence_lengths(write(tmp_path / "a", [3, 1])).tolist() == [3, 1]
    (tmp_path / "b").mkdir()
    kept = next((tmp_path / "a" / ".index").glob("*.npz"))
    source = write(tmp_path / "b", [2, 2])
    (tmp_path / "b" / ".index" / kept.name).write_bytes(kept.read_bytes())
    assert sequence_lengths(source).tolist() == [2, 2]


@pytest.mark.parametrize(
    "damage", [lambda data: b"junk", lambda data: b"", lambda data: data[:-9], lambda data: data[9:]]
)
def test_what_was_kept_may_be_damaged(tmp_path, damage):
    source = write(tmp_path, [3, 1])
    sequence_lengths(source)
    kept = next((tmp_path / ".index").glob("*.npz"))
    kept.write_bytes(damage(kept.read_bytes()))
    assert sequence_lengths(source).tolist() == [3, 1]


def test_a_record_that_is_no_proto_has_no_steps(tmp_path):
    path = str(tmp_path / "x.tfrecord")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"\xff\xff")
    schema = records.SequenceSchema.parse_description({"x": "float32(None)"}, "int64")
    assert sequence_lengths(records.RecordSource([path], schema)).tolist() == [0]


def test_records_that_are_no_sequences_are_refused(tmp_path):
    records.write([({"x": 1.0}, 0)], tmp_path)
    with pytest.raises(ValueError, match=r"these are of tf\.train\.Example"):
        sequence_lengths(records.DataSet.find(tmp_path).source("train"))
