import os
import pathlib
import shutil

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import framework
from framework.data.checking import check_examples
from framework.data.file_source import FileSource
from framework.data.sources import Subset, feature_specs
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.features import Feature


@pytest.fixture
def folder(tmp_path):
    """Ten files with contents of different lengths, one of them empty."""
    for index in range(10):
        (tmp_path / "data" / f"{index % 2}").mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name(index)).write_bytes(contents(index))
    return tmp_path / "data"


def name(index):
    return f"{index % 2}/{index}.bin"


def contents(index):
    return bytes(range(index)) + b"\0" * index


def source_of(folder, indices=range(10), **settings):
    indices = list(indices)
    features = {"file": [folder / name(index) for index in indices], "size": np.array(indices)}
    return FileSource(features, np.array(indices) % 3, files=["file"], **settings)


def test_what_it_says_of_itself(folder):
    source = source_of(folder)
    assert source.num_examples == 10
    assert source.random_access
    assert feature_specs(source) == {"file": Feature((), "string"), "size": Feature((), "int64")}
    assert source.labels.tolist() == [index % 3 for index in range(10)]
    assert source.root == str(folder)
    assert source.place(7) == "1/7.bin"
    assert source.paths("file")[7] == str(folder / "1/7.bin")


def test_files_are_read_inside_and_outside_of_a_dataset(folder):
    source = source_of(folder, weights=np.arange(10))
    outside = source.gather(tf.constant([7, 0, 7], tf.int64))
    (inside,) = tf.data.Dataset.from_tensors(tf.constant([7, 0, 7], tf.int64)).map(source.gather)
    for got in (outside, inside):
        assert got.features["file"].numpy().tolist() == [contents(7), contents(0), contents(7)]
        assert got.features["size"].numpy().tolist() == [7, 0, 7]
        assert got.labels.numpy().tolist() == [1, 0, 1]
        assert got.weights.numpy().tolist() == [7.0, 0.0, 7.0]


def test_a_subset_names_the_same_places(folder):
    part = Subset(source_of(folder), [9, 2])
    assert part.place(0) == "1/9.bin"
    (batch,) = part.batches(2)
    assert batch.features["file"].numpy().tolist() == [contents(9), contents(2)]


@pytest.mark.parametrize("kind", [str, os.fsencode, pathlib.Path])
def test_paths_of_every_kind_relative_to_the_root(folder, kind):
    source = FileSource({"file": [kind(name(3)), kind(str(folder / name(4)))]}, [0, 1], files=["file"], root=folder)
    (batch,) = source.batches(2)
    assert batch.features["file"].numpy().tolist() == [contents(3), contents(4)]
    assert [source.place(0), source.place(1)] == ["1/3.bin", "0/4.bin"]


def test_without_a_root_paths_are_relative_to_where_one_stands(folder, monkeypatch):
    monkeypatch.chdir(folder.parent)
    source = FileSource({"file": ["data/0/2.bin", "data/1/3.bin"]}, [0, 1], files=["file"])
    assert source.root == str(folder)
    assert source.gather(tf.constant([1])).features["file"].numpy().tolist() == [contents(3)]


def test_several_files_of_an_example(folder):
    features = {"first": [folder / name(1), folder / name(2)], "second": [folder / name(3), folder / name(4)]}
    source = FileSource(features, [0, 1], files=["first", "second"])
    (batch,) = source.batches(2)
    assert batch.features["first"].numpy().tolist() == [contents(1), contents(2)]
    assert batch.features["second"].numpy().tolist() == [contents(3), contents(4)]


def test_a_name_that_isn_t_utf8(folder):
    path = os.path.join(os.fsencode(folder), b"b\xe4r.bin")
    pathlib.Path(os.fsdecode(path)).write_bytes(b"bear")
    source = FileSource({"file": [path, folder / name(1)]}, [0, 1], files=["file"])
    assert source.gather(tf.constant([0])).features["file"].numpy().tolist() == [b"bear"]
    assert source.place(0) == r"b\xe4r.bin"


def test_the_fingerprint_is_that_of_the_data(folder):
    fingerprint = source_of(folder).fingerprint()
    assert source_of(folder).fingerprint() == fingerprint
    assert source_of(folder, range(9, -1, -1)).fingerprint() != fingerprint
    assert source_of(folder, range(9)).fingerprint() != fingerprint

    copied = folder.parent / "copied"
    shutil.copytree(folder, copied, copy_function=shutil.copyfile)  # another place, another time
    assert source_of(copied).fingerprint() == fingerprint
    (copied / name(9)).write_bytes(contents(9)[:-1] + b"\1")
    assert source_of(copied).fingerprint() != fingerprint
    (copied / name(9)).write_bytes(contents(9) + b"\0")
    assert source_of(copied).fingerprint() != fingerprint


def test_contents_know_copies(folder):
    (folder / name(1)).write_bytes(contents(4))
    values = source_of(folder).contents.tolist()
    assert values[1] == values[4]
    assert len(set(values)) == 9


def test_missing_files_are_named(folder):
    (folder / name(3)).unlink()
    (folder / name(8)).unlink()
    (folder / name(8)).mkdir()
    with pytest.raises(FileNotFoundError, match=r"2 of the 10 files of .*'file' are missing: .*3\.bin, .*8\.bin\."):
        source_of(folder)
    source = source_of(folder, must_exist=False)
    with pytest.raises(tf.errors.NotFoundError, match=r"1/3\.bin"):
        source.gather(tf.constant([3]))
    with pytest.raises(tf.errors.NotFoundError, match=r"1/3\.bin"):
        list(source.batches(10))
    (folder / name(8)).rmdir()

    class Sizes(framework.Pipeline):
        features = {"file": Feature((), "string"), "size": Feature((), "int64")}
        task = framework.tasks.Classification(3)

        def source(self, phase):
            return source

    assert [(bad.place, bad.kind) for bad in check_examples(Sizes(), "train")] == [
        ("1/3.bin", "missing file"),
        ("0/8.bin", "missing file"),
    ]


def test_what_can_t_be_a_source_of_files_is_refused(folder):
    paths = [folder / name(1), folder / name(2)]
    with pytest.raises(ValueError, match=r"files=\('image',\) must name features that are paths, among \['file'\]"):
        FileSource({"file": paths}, [0, 1])
    with pytest.raises(ValueError, match=r"must be a path for each example; got 3"):
        FileSource({"image": [paths[0], 3]}, [0, 1])
    with pytest.raises(ValueError, match=r"same number of examples"):
        FileSource({"image": paths}, [0])
    with pytest.raises(ValueError, match=r"at least one feature and one example"):
        FileSource({"image": []}, [])


class Lengths(framework.Pipeline):
    """Remembers which file each example came from."""

    features = {"file": Feature((), "string"), "size": Feature((), "int64")}
    task = framework.tasks.Classification(3)

    def __init__(self, source):
        self._source = source

    def source(self, phase):
        return self._source

    def preprocess(self, features):
        return {"length": tf.strings.length(features["file"]), "size": features["size"]}


@hypothesis.settings(
    max_examples=8, deadline=None, suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture]
)
@hypothesis.given(
    count=st.integers(1, 10), batch_size=st.integers(1, 10), seed=st.integers(0, 2**31 - 1), data=st.data()
)
def test_epochs_are_permutations_and_resuming_gives_the_same_rest(folder, count, batch_size, seed, data):
    source = source_of(folder, range(count))
    pipeline = Lengths(source)
    batch_size = min(batch_size, count)
    steps = steps_per_epoch(source, batch_size)

    def read(start):
        dataset = train_dataset(pipeline, batch_size=batch_size, seed=seed, start=start)
        remaining = 2 * steps - start.epoch * steps - start.step
        return [(x["size"].tolist(), x["length"].tolist()) for x, _ in dataset.take(remaining).as_numpy_iterator()]

    whole = read(Position())
    for epoch in range(2):
        sizes = [size for batch, _ in whole[epoch * steps : (epoch + 1) * steps] for size in batch]
        assert sorted(sizes) == list(range(count))
    for sizes, lengths in whole:
        assert lengths == [2 * size for size in sizes]  # each file beside its own row
    start = Position(*divmod(data.draw(st.integers(0, 2 * steps - 1)), steps))
    assert read(start) == whole[start.epoch * steps + start.step :]
