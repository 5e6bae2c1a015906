"""Records as a source: every example once, in an order that depends on the seed alone, and what is wrong is named."""

import gc
import itertools
import os
import shutil
import weakref

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st

import framework
from framework import Feature, tasks
from framework.data import records
from framework.data.bad_examples import BadExampleError
from framework.data.checking import check_examples, explain
from framework.data.records import DataSet, Layout, RecordSource, Schema, write
from framework.data.records.reading import turns
from framework.data.sources import ArraySource, Example
from framework.data.train import Position, steps_per_epoch, train_dataset

NUM_EXAMPLES = 53
VALUES = np.random.default_rng(0).integers(-1000, 1000, (NUM_EXAMPLES, 2))
SOURCE = ArraySource({"x": VALUES}, np.arange(NUM_EXAMPLES))
KINDS = ["random", "stream"]


@pytest.fixture(scope="module")
def directories(tmp_path_factory):
    """The same examples in plain files, and in compressed ones, which are a stream."""
    base = tmp_path_factory.mktemp("records")
    for kind in KINDS:
        layout = Layout(shards=4, gzip=kind == "stream")
        write(SOURCE, base / kind, layout=layout, task=tasks.Classification(NUM_EXAMPLES))
    return {kind: base / kind for kind in KINDS}


@pytest.fixture(scope="module")
def sources(directories):
    return {kind: DataSet.find(path).source("train") for kind, path in directories.items()}


@pytest.fixture(scope="module")
def pipelines(directories):
    """Of which a batch's labels are its examples' numbers."""
    return {kind: framework.get_pipeline("records")(str(path), shuffle_buffer=16) for kind, path in directories.items()}


def order(pipeline, seed, epoch, batch_size, step=0):
    """The labels of the rest of an epoch, batch by batch."""
    dataset = train_dataset(pipeline, batch_size=batch_size, seed=seed, start=Position(epoch, step))
    steps = steps_per_epoch(pipeline.require_source("train"), batch_size)
    return [labels.numpy().tolist() for _, labels in dataset.take(steps - step)]


def test_what_the_source_says(sources):
    assert [source.random_access for source in sources.values()] == [True, False]
    for source in sources.values():
        assert source.num_examples == NUM_EXAMPLES
        assert source.spec == Example({"x": tf.TensorSpec((None, 2), tf.int64)}, tf.TensorSpec((None,), tf.int64))
    with pytest.raises(NotImplementedError):
        sources["stream"].gather(tf.constant([0], tf.int64))


def test_examples_lie_where_they_are_said_to(sources, directories):
    assert sources["random"].place(0) == "train-00000-of-00004.tfrecord, offset 0"
    for index in (0, 12, 13, NUM_EXAMPLES - 1):
        file, _, offset = sources["random"].place(index).partition(", offset ")
        found = {offset: record for offset, record, _ in records.read_records(str(directories["random"] / file))}
        example = tf.train.Example.FromString(found[int(offset)])
        assert example.features.feature["label"].int64_list.value == [index]
    for number, example in enumerate(sources["stream"].stream()):
        file, _, record = sources["stream"].place(number).partition(", record ")
        first = [0, 13, 26, 39][int(file[6:11])]
        assert int(example.labels) == first + int(record)
    with pytest.raises(IndexError):
        sources["stream"].place(NUM_EXAMPLES)


@pytest.mark.parametrize("kind", KINDS)
def test_gathered_in_graphs_and_outside(sources, kind):
    source = sources[kind]
    if source.random_access:
        indices = tf.constant([40, 3, 40], tf.int64)
        (inside,) = tf.data.Dataset.from_tensors(indices).map(source.gather)
        for example in (source.gather(indices), inside):
            np.testing.assert_array_equal(example.features["x"], VALUES[[40, 3, 40]])
            assert example.labels.numpy().tolist() == [40, 3, 40]
            assert example.features["x"].shape == (3, 2)
    stream = list(source.stream())
    labels = [int(example.labels) for example in stream]
    assert sorted(labels) == list(range(NUM_EXAMPLES))
    np.testing.assert_array_equal([example.features["x"] for example in stream], VALUES[labels])
    assert [int(example.labels) for example in source.stream()] == labels
    assert int(source.stream().cardinality()) == NUM_EXAMPLES


@hypothesis.settings(deadline=None, max_examples=5)
@hypothesis.given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 10**6), batch_size=st.integers(1, NUM_EXAMPLES))
@pytest.mark.parametrize("kind", KINDS)
def test_an_epoch_has_every_example_once_and_can_be_entered_anywhere(pipelines, kind, seed, epoch, batch_size):
    pipeline = pipelines[kind]
    whole = order(pipeline, seed, epoch, batch_size)
    assert sorted(itertools.chain(*whole)) == list(range(NUM_EXAMPLES))
    step = (seed ^ epoch) % len(whole)
    assert order(pipeline, seed, epoch, batch_size, step) == whole[step:]


@pytest.mark.parametrize("kind", KINDS)
def test_orders_differ_by_epoch_and_seed_and_are_the_same_for_the_same(pipelines, directories, kind):
    again = framework.get_pipeline("records")(str(directories[kind]), shuffle_buffer=16)
    orders = {key: order(pipelines[kind], *key, 8) for key in ((0, 0), (0, 1), (1, 0))}
    assert orders == {key: order(again, *key, 8) for key in orders}
    assert len({str(one) for one in orders.values()}) == 3


@hypothesis.settings(deadline=None, max_examples=5)
@hypothesis.given(workers=st.integers(1, 8), seed=st.integers(0, 1000))
@pytest.mark.parametrize("kind", KINDS)
def test_shards_of_workers_are_a_partition(sources, kind, workers, seed):
    source = sources[kind]
    if source.random_access:
        zero = tf.constant(0, tf.int64)
        batches = tf.data.Dataset.from_tensor_slices(source.epoch_order(tf.constant(seed, tf.int64), zero, 4)).batch(4)
    else:
        batches = source.stream().batch(4)
    seen = []
    for worker in range(workers):
        for batch in batches.shard(workers, worker):
            seen += (source.gather(batch) if source.random_access else batch).labels.numpy().tolist()
    assert sorted(seen) == list(range(NUM_EXAMPLES))


@hypothesis.given(st.lists(st.integers(0, 20), min_size=1, max_size=30), st.integers(1, 7))
def test_turns_take_every_record_once_and_of_each_file_in_order(counts, block):
    taken = {shard: [] for shard in range(len(counts))}
    for turn in turns(counts, block):
        assert 1 <= turn.count <= block
        taken[turn.shard] += range(turn.first, turn.first + turn.count)
    assert taken == {shard: list(range(count)) for shard, count in enumerate(counts)}


def test_evaluation_is_in_the_order_of_the_files(sources):
    labels = [example.labels.numpy().tolist() for example in sources["random"].batches(10)]
    assert list(itertools.chain(*labels)) == list(range(NUM_EXAMPLES))
    assert len(labels[-1]) == 3


@pytest.mark.parametrize("compressed", [False, True])
def test_lengths_that_vary_are_padded_in_each_batch(tmp_path, compressed):
    data = [({"codes": list(range(1, length + 1)), "words": ["a"] * (length % 3)}, length) for length in range(9)]
    features = {"codes": Feature((None,), "int64"), "words": Feature((None,), "string")}
    layout = Layout(shards=2, gzip=compressed)
    sidecar = write(data, tmp_path, features=features, layout=layout, task=tasks.Classification(9))
    pipeline = framework.get_pipeline("records")(str(tmp_path), shuffle_buffer=4)
    batches = list(pipeline.source("train").batches(4))
    batches += [Example(*batch) for batch in train_dataset(pipeline, batch_size=4, seed=0).take(3)]
    for batch in batches:
        lengths = batch.labels.numpy()
        expected = np.where(np.arange(lengths.max()) < lengths[:, None], np.arange(1, lengths.max() + 1), 0)
        np.testing.assert_array_equal(batch.features["codes"], expected)
        assert [sum(row) for row in (batch.features["words"].numpy() == b"a")] == (lengths % 3).tolist()
    assert sum(len(batch.labels) for batch in batches) == 18
    # What was read is written again as it was, not as it was padded.
    copy = write(DataSet.find(tmp_path).source("train"), tmp_path / "copy", layout=Layout(shards=2))
    assert copy.splits["train"].summary == sidecar.splits["train"].summary


def copy_of(directory, tmp_path):
    return shutil.copytree(directory, tmp_path / "copy")


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def test_a_damaged_record_is_named_and_the_others_are_read(directories, tmp_path):
    directory = copy_of(directories["random"], tmp_path)
    flip(directory / "train-00001-of-00004.tfrecord", 20)
    source = DataSet.find(directory).source("train")
    says = r"train-00001-of-00004.tfrecord, offset 0: corrupt record: its bytes have another checksum"
    assert source.gather(tf.constant([12, 14], tf.int64)).labels.numpy().tolist() == [12, 14]
    for gather in (source.gather, lambda i: next(iter(tf.data.Dataset.from_tensors(i).map(source.gather)))):
        with pytest.raises((BadExampleError, tf.errors.OpError)) as caught:
            gather(tf.constant([12, 13], tf.int64))
        assert says in explain(caught.value)
    pipeline = framework.get_pipeline("records")(str(directory))
    (bad,) = check_examples(pipeline, "train")
    assert (bad.index, bad.kind, bad.place) == (13, "corrupt record", "train-00001-of-00004.tfrecord, offset 0")


def break_length(path, offset):
    flip(path, offset)  # of a record's header: what follows can't be found


@pytest.mark.parametrize("sidecar", [True, False])
def test_of_broken_files_what_comes_before_that_place_is_used_where_that_is_wanted(directories, tmp_path, sidecar):
    directory = copy_of(directories["random"], tmp_path)
    found = [offset for offset, _, _ in records.read_records(str(directory / "train-00002-of-00004.tfrecord"))]
    break_length(directory / "train-00002-of-00004.tfrecord", found[10])
    path = directory / "train-00003-of-00004.tfrecord"
    os.truncate(path, path.stat().st_size - 3)
    whole = DataSet.find(directory)

    def source(**settings):
        paths = sorted(directory.glob("train-*"))
        return RecordSource(paths, whole.schema, shards=whole.shards("train") if sidecar else None, **settings)

    with pytest.raises(BadExampleError, match=r"train-00002-of-00004.tfrecord, offset \d+: .* another checksum"):
        source()
    kept = source(skip_broken=True)
    labels = [*range(36), *range(39, 52)]
    assert kept.num_examples == len(labels)
    assert kept.gather(tf.range(kept.num_examples, dtype=tf.int64)).labels.numpy().tolist() == labels
    assert sorted(int(example.labels) for example in kept.stream()) == labels
    assert [(bad.index, bad.kind) for bad in kept.left_out] == [(36, "corrupt record"), (49, "corrupt record")]
    assert kept.left_out[0].place == f"train-00002-of-00004.tfrecord, offset {found[10]}"
    assert "what follows can't be found" in kept.left_out[0].reason
    lost = directories["random"] / "train-00002-of-00004.tfrecord"
    total = sum(path.stat().st_size for path in directory.glob("train-*"))
    assert kept.lost_share == pytest.approx((lost.stat().st_size - found[10]) / total, abs=0.03)
    assert kept.fingerprint() != DataSet.find(directories["random"]).source("train").fingerprint()
    assert len([*kept.raw_records()]) == len(labels)
    dataset = kept.batches(10)
    del kept
    gc.collect()
    assert sum(len(example.labels) for example in dataset) == len(labels)


def test_more_than_may_be_lost_is_refused(directories, tmp_path):
    directory = copy_of(directories["random"], tmp_path)
    path = directory / "train-00000-of-00004.tfrecord"
    break_length(path, 0)
    for share, is_refused in ((0.2, True), (0.3, False)):
        data_set = DataSet.find(directory, policy=framework.BadExamples("skip", share))
        if is_refused:
            with pytest.raises(BadExampleError, match=r"checksum; .*: 23\...% of the train split can't be read"):
                data_set.source("train")
        else:
            assert data_set.source("train").num_examples == NUM_EXAMPLES - 13
    alone = {"path": [path], "schema": DataSet.find(directory).schema}
    with pytest.raises(BadExampleError, match="offset 0: corrupt record"):
        RecordSource(alone["path"], alone["schema"], skip_broken=True)


def test_a_broken_stream_is_refused(directories, tmp_path):
    path = tmp_path / "train.gz"
    path.write_bytes((directories["stream"] / "train-00001-of-00004.tfrecord.gz").read_bytes()[:-20])
    with pytest.raises(BadExampleError, match="corrupt record"):
        RecordSource([path], DataSet.find(directories["stream"]).schema, skip_broken=True)


def test_a_damaged_stream_says_where(directories, tmp_path):
    directory = copy_of(directories["stream"], tmp_path)
    path = directory / "train-00001-of-00004.tfrecord.gz"
    flip(path, 100)
    source = DataSet.find(directory).source("train")
    with pytest.raises(tf.errors.OpError) as caught:
        list(source.stream())
    assert "train-00001-of-00004.tfrecord.gz, offset " in explain(caught.value)
    assert "corrupt record" in explain(caught.value)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train-00001-of-00004.tfrecord.gz isn't what was written: \d+ bytes"):
        DataSet.find(directory).source("train")
    with pytest.raises(BadExampleError, match="corrupt record: "):
        RecordSource([path], source.schema)


@pytest.mark.parametrize("kind", KINDS)
def test_records_left_out_are_noticed(directories, tmp_path, kind):
    """At the border of a record nothing is damaged; only the sidecar knows."""
    directory = copy_of(directories[kind], tmp_path)
    path = sorted(directory.glob("train-*"))[0]
    whole = [record for _, record, _ in records.read_records(str(path))]
    size = path.stat().st_size
    with tf.io.TFRecordWriter(str(path), "GZIP" if kind == "stream" else "") as writer:
        for record in whole[:-1]:
            writer.write(record)
    schema = DataSet.find(directory).schema
    assert RecordSource(sorted(directory.glob("train-*")), schema).num_examples == NUM_EXAMPLES - 1
    with pytest.raises(ValueError, match="isn't what was written"):
        DataSet.find(directory).source("train")
    if kind == "stream":
        path.write_bytes(path.read_bytes().ljust(size, b"\0"))  # zeros after a gzip file are nothing
        with pytest.raises(tf.errors.OpError) as caught:
            list(DataSet.find(directory).source("train").stream())
        assert "it ends after 12 of 13 records" in explain(caught.value)


@pytest.mark.parametrize("compressed", [False, True])
def test_what_does_not_fit_the_schema_is_named(tmp_path, compressed):
    path = tmp_path / ("theirs.gz" if compressed else "theirs")
    good = Schema.parse_description({"x": "float32(2)"}, "int64")
    (record,) = good.serialize(Example({"x": np.zeros((1, 2), np.float32)}, np.array([0])))
    (other,) = Schema.parse_description({"x": "float32(3)"}, "int64").serialize(
        Example({"x": np.zeros((1, 3), np.float32)}, np.array([0]))
    )
    with tf.io.TFRecordWriter(str(path), "GZIP" if compressed else "") as writer:
        for written in (record, record, other, b"\xff\xfe no proto"):
            writer.write(written)
    source = RecordSource([path], good)
    offset = 2 * (16 + len(record))
    expected = [
        f"{path.name}, offset {offset}: wrong length: feature 'x' has 3 values, a wrong length for the shape (2,)",
        f"{path.name}, offset {offset + 16 + len(other)}: corrupt record: its 11 bytes are no tf.Example",
    ]
    if compressed:
        with pytest.raises(tf.errors.OpError) as caught:
            list(source.stream())
        assert explain(caught.value) == expected[0]
        return
    for index, says in zip((2, 3), expected, strict=True):
        with pytest.raises(tf.errors.OpError) as caught:
            source.gather(tf.constant([0, index], tf.int64))
        assert explain(caught.value) == says


def test_files_that_are_not_local_are_a_stream(directories):
    base = "ram://records-test"
    for path in sorted(directories["random"].glob("*.*")):
        if path.is_file():
            with tf.io.gfile.GFile(f"{base}/{path.name}", "wb") as file:
                file.write(path.read_bytes())
    known = DataSet.find(base).source("train")
    unknown = RecordSource(records.find_files(f"{base}/train-*"), known.schema)
    for source in (known, unknown):
        assert (source.random_access, source.num_examples) == (False, NUM_EXAMPLES)
        found = list(source.stream())
        assert sorted(int(example.labels) for example in found) == list(range(NUM_EXAMPLES))
    assert known.place(0) == "train-00000-of-00004.tfrecord, record 0"
    assert list(records.verify_data_set(DataSet.find(base))) == []
    with pytest.raises(FileNotFoundError, match="ram://records-test/none"):
        RecordSource([f"{base}/none"], known.schema)


def test_fingerprints(directories, tmp_path):
    def with_sidecar(directory):
        return DataSet.find(directory).source("train").fingerprint()

    def without(directory):
        return RecordSource(sorted(directory.glob("train-*")), DataSet.find(directory).schema).fingerprint()

    same = copy_of(directories["random"], tmp_path)
    for path in same.glob("train-*"):
        os.utime(path)
    assert with_sidecar(same) == with_sidecar(directories["random"])
    assert without(same) == without(directories["random"])
    # Without a sidecar it is of the records, however they are compressed.
    assert without(directories["stream"]) == without(same)
    other = ArraySource({"x": VALUES}, np.roll(np.arange(NUM_EXAMPLES), 1))
    write(other, tmp_path / "other", layout=Layout(shards=4))
    assert with_sidecar(tmp_path / "other") != with_sidecar(same)
    assert without(tmp_path / "other") != without(same)


def test_more_files_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr("framework.data.records.reading._OPEN_FILES", 3)
    write(SOURCE, tmp_path, layout=Layout(shards=20))
    source = DataSet.find(tmp_path).source("train")
    shuffled = np.random.default_rng(0).permutation(NUM_EXAMPLES)
    assert source.gather(tf.constant(shuffled)).labels.numpy().tolist() == shuffled.tolist()
    assert len(source._reader._kept) == 3
    stream = RecordSource(source.paths, source.schema).stream()
    assert sorted(int(example.labels) for example in stream) == list(range(NUM_EXAMPLES))


def test_a_file_that_is_cut_off_while_it_is_read_is_an_error(directories, tmp_path):
    directory = copy_of(directories["random"], tmp_path)
    source = DataSet.find(directory).source("train")
    source.gather(tf.constant([0], tf.int64))
    os.truncate(directory / "train-00000-of-00004.tfrecord", 100)
    with pytest.raises((BadExampleError, tf.errors.OpError), match="another checksum"):
        source.gather(tf.constant([12], tf.int64))


def test_an_index_is_let_go_of_with_its_source(directories):
    source = DataSet.find(directories["random"]).source("train")
    source.gather(tf.constant([0], tf.int64))
    dataset, held = source.batches(10), weakref.ref(source._reader)
    del source
    gc.collect()
    batches = iter(dataset)
    del dataset
    gc.collect()
    assert sum(len(example.labels) for example in batches) == NUM_EXAMPLES  # which need it
    del batches
    gc.collect()
    assert held() is None


@pytest.mark.parametrize("reading", ["batches", "stream"])
def test_faults_are_found_when_the_source_is_gone(directories, tmp_path, reading):
    directory = copy_of(directories["random"], tmp_path)
    paths = sorted(directory.glob("train-*.tfrecord"))
    source = RecordSource(paths, Schema.parse_description({"id": "string"}, "int64"))
    dataset = source.batches(10) if reading == "batches" else source.stream()
    del source
    gc.collect()
    with pytest.raises(tf.errors.OpError, match=r"offset 0: .*'id'"):
        list(dataset)


def test_nothing_to_read(tmp_path):
    schema = Schema.parse_description({"x": "float32"}, "int64")
    (tmp_path / "empty").touch()
    with pytest.raises(ValueError, match="no records in empty"):
        RecordSource([tmp_path / "empty"], schema)
    with pytest.raises(ValueError, match="at least one file"):
        RecordSource([], schema)
    with pytest.raises(FileNotFoundError):
        RecordSource([tmp_path / "none"], schema)


def test_a_data_set_says_what_is_missing(directories, tmp_path):
    data_set = DataSet.find(directories["random"])
    with pytest.raises(LookupError, match=r"no split 'test'; there are \['train'\]"):
        data_set.source("test")
    plain = f"{directories['random']}/train-*"
    with pytest.raises(
        ValueError, match=r"give features= and labels=.*seem to be {'label': 'int64', 'x': 'int64\(2\)'}"
    ):
        DataSet.find(plain)
    with pytest.raises(ValueError, match="Nobody says what is in"):
        DataSet.find(plain, {"x": "int64(2)"})


def test_a_misspelt_key_of_what_may_be_missing_is_noticed(tmp_path, caplog):
    write([({"codes": [1, 2], "x": 1.0}, 0)], tmp_path, features={"codes": Feature((None,), "int64")})
    (path,) = map(str, tmp_path.glob("train-*"))
    DataSet.find(path, {"codes": "int64(None)"}, "int64")
    assert "has the key" not in caplog.text
    DataSet.find(path, {"codes": "int64(None) from cods"}, "int64")
    assert "has the key 'cods'. Did you mean 'codes'?" in caplog.text


def test_feature_lists_are_no_lists_of_features(tmp_path):
    features = {"steps": Feature((None, 2))}
    write([({"steps": [[1.0, 2.0]]}, 0)], tmp_path, features=features, kind=records.SequenceSchema)
    (path,) = map(str, tmp_path.glob("train-*"))
    with pytest.raises(ValueError, match=r"'steps' is a feature list of .*SequenceExamples .* pipeline 'sequences'"):
        DataSet.find(path, {"steps": "float32(None, 2)"}, "int64")


def test_what_somebody_says_goes_before_the_sidecar(directories, tmp_path):
    given = DataSet.find(directories["random"], {"y": "int64(2) from x"}, "int64")
    assert list(given.source("train").spec.features) == ["y"]
    features = DataSet.find(directories["random"], {"y": "int64(2) from x"}).schema.describe()
    assert features == {"features": {"y": "int64(2) from x"}, "labels": "int64", "weights": None}
    labels = DataSet.find(directories["random"], labels="int64(2) from x").schema.describe()
    assert labels == {"features": {"x": "int64(2)"}, "labels": "int64(2) from x", "weights": None}
    write(ArraySource({"x": VALUES, "importance": np.ones(NUM_EXAMPLES, np.float32)}, VALUES[:, 0]), tmp_path)
    (batch,) = DataSet.find(tmp_path, weights="float32 from importance").source("train").batches(NUM_EXAMPLES)
    assert batch.weights.numpy().tolist() == [1.0] * NUM_EXAMPLES
