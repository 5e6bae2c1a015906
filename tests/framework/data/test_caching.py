import copy
import json
import pathlib
import types

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.data import caching
from framework.data.caching import CachedSource
from framework.data.checking import check_examples
from framework.data.evaluate import eval_dataset
from framework.data.file_source import FileSource
from framework.data.sampling import Balanced
from framework.data.sources import ArraySource, DatasetSource, Subset
from framework.data.train import Position, train_dataset
from framework.media import Image
from framework.testing.checks import held_out

COUNT = 70  # more than are decoded at a time
FEATURES = {"image": Image((8, 10, 3)), "size": framework.Feature((), "float32")}
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 12, 10, 3), np.uint8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """PNG files, two of which have been spoilt in `spoilt`."""
    folder = tmp_path_factory.mktemp("photographs")
    for index, pixels in enumerate(PIXELS):
        tf.io.write_file(str(folder / f"{index}.png"), tf.io.encode_png(pixels))
    spoilt = folder / "spoilt"
    spoilt.mkdir()
    for index in range(COUNT):
        content = (folder / f"{index}.png").read_bytes()
        (spoilt / f"{index}.png").write_bytes(content[:60] if index in (3, 67) else content)
    return folder


def files_of(folder, labels=None, **settings):
    features = {
        "image": [folder / f"{index}.png" for index in range(COUNT)],
        "size": np.arange(COUNT, dtype=np.float32),
    }
    return FileSource(features, np.arange(COUNT) % 2 if labels is None else labels, **settings)


def decode(features):
    return {"image": FEATURES["image"].decode(features["image"])}


@pytest.fixture
def counting():
    """`decode`, and how often an image was decoded."""
    calls = []

    def count(number):
        calls.append(int(number))
        return number

    def decode_counted(features):
        number = tf.numpy_function(count, [features["size"]], tf.float32)
        with tf.control_dependencies([number]):
            return decode(features)

    return types.SimpleNamespace(decode=decode_counted, calls=calls)


def cached(source, decode=decode, **settings):
    return CachedSource(source, FEATURES, decode, **settings)


def plain(examples):
    """Every tensor of the batches, joined, by name."""
    batches = [
        dict(batch.features)
        | {"labels": batch.labels}
        | ({"weights": batch.weights} if hasattr(batch.weights, "shape") else {})
        for batch in examples
    ]
    return {name: np.concatenate([batch[name] for batch in batches]).tolist() for name in batches[0]}


def expected_pixels(rows=range(COUNT)):
    return [FEATURES["image"].decode(tf.io.encode_png(PIXELS[row])).numpy().tolist() for row in rows]


@pytest.mark.parametrize("where", ["memory", "files"])
@pytest.mark.parametrize("weights", [None, np.arange(COUNT) / 7])
def test_examples_are_those_of_the_source_decoded(folder, tmp_path, where, weights):
    source = files_of(folder, weights=weights)
    kept = cached(source, directory=None if where == "memory" else tmp_path / "cache")
    assert kept.random_access
    assert kept.num_examples == COUNT
    assert kept.spec.features == {
        "image": tf.TensorSpec((None, 8, 10, 3), tf.uint8),
        "size": tf.TensorSpec((None,), tf.float32),
    }
    assert kept.spec.weights == source.spec.weights
    assert kept.place(5) == "5.png"
    assert kept.stored is source
    got = plain(kept.batches(16))
    assert got["image"] == expected_pixels()
    assert got["size"] == list(range(COUNT))
    assert got["labels"] == [row % 2 for row in range(COUNT)]
    if weights is not None:
        np.testing.assert_allclose(got["weights"], weights, rtol=1e-6)
    few = kept.gather(tf.constant([66, 0, 66 + COUNT], tf.int64))
    assert few.features["image"].numpy().tolist() == expected_pixels([66, 0, 66])
    assert few.labels.numpy().tolist() == [0, 0, 0]


def test_an_image_is_decoded_once(folder, counting):
    kept = cached(files_of(folder), counting.decode)
    assert not counting.calls  # not before it is needed
    for _ in range(3):
        plain(kept.batches(32))
    plain(Subset(kept, [5, 6]).batches(2))
    assert sorted(counting.calls) == list(range(COUNT))


def test_a_stream_becomes_random_access():
    encoded = [tf.io.encode_png(pixels).numpy() for pixels in PIXELS]
    elements = ({"image": encoded, "size": np.arange(COUNT, dtype=np.float32)}, {"b": np.arange(COUNT), "a": encoded})
    kept = cached(DatasetSource(tf.data.Dataset.from_tensor_slices(elements)))
    example = kept.gather(tf.constant([68, 1], tf.int64))
    assert example.features["image"].numpy().tolist() == expected_pixels([68, 1])
    assert example.labels["b"].numpy().tolist() == [68, 1]
    assert example.labels["a"].numpy().tolist() == [encoded[68], encoded[1]]


def test_files_are_used_again_as_long_as_the_data_are_the_same(folder, tmp_path, counting):
    cache = tmp_path / "cache"
    plain(cached(files_of(folder), counting.decode, directory=cache).batches(32))
    assert len(counting.calls) == COUNT

    again = cached(files_of(folder), counting.decode, directory=cache)
    assert plain(again.batches(32))["image"] == expected_pixels()
    assert len(counting.calls) == COUNT

    plain(cached(files_of(folder, labels=np.zeros(COUNT, int)), counting.decode, directory=cache).batches(32))
    assert len(counting.calls) == 2 * COUNT
    other = CachedSource(files_of(folder), FEATURES | {"image": Image((4, 4, 3))}, decode, directory=cache)
    assert other.fingerprint() != again.fingerprint()
    assert copy.deepcopy(again).fingerprint() == again.fingerprint()


@pytest.mark.parametrize("damage", ["a byte", "an end", "a file", "the sidecar"])
def test_damaged_files_are_made_again(folder, tmp_path, counting, damage, caplog):
    kept = cached(files_of(folder), counting.decode, directory=tmp_path)
    plain(kept.batches(32))
    (path,) = (path for path in tmp_path.iterdir() if path.is_dir())
    array = max(path.glob("*.npy"), key=lambda file: file.stat().st_size)
    content = array.read_bytes()
    if damage == "a byte":
        array.write_bytes(content[:3000] + bytes([content[3000] ^ 1]) + content[3001:])
    elif damage == "an end":
        array.write_bytes(content[:-100])
    elif damage == "a file":
        array.unlink()
    else:
        (path / "cache.json").write_text("{", encoding="utf-8")
    assert (
        plain(cached(files_of(folder), counting.decode, directory=tmp_path).batches(32))["image"] == expected_pixels()
    )
    assert len(counting.calls) == 2 * COUNT
    assert "is damaged and is made again" in caplog.text


def test_nothing_is_left_of_a_cache_that_was_not_finished(folder, tmp_path):
    kept = cached(files_of(folder), lambda features: {"image": features["nothing"]}, directory=tmp_path)
    leftover = tmp_path / f".tmp-{kept.fingerprint()}-{tf.__version__}-killed"
    leftover.mkdir()
    with pytest.raises(KeyError):
        kept.fill()
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("directory", [None, "cache"])
def test_bad_examples_are_there_to_be_skipped(folder, tmp_path, directory):
    directory = directory and tmp_path / directory
    for _ in range(2):  # made, and opened
        pipeline = Photographs(cached(files_of(folder / "spoilt"), directory=directory))
        bad = check_examples(pipeline, "train")
        assert [(example.index, example.place, example.kind) for example in bad] == [
            (3, "3.png", "undecodable image"),
            (67, "67.png", "undecodable image"),
        ]
        with pytest.raises(tf.errors.OpError, match=r"3\.png: undecodable image \(.+67\.png: undecodable image"):
            list(pipeline.source("train").batches(COUNT))
        rest = pipeline.without_bad({"train": [example.index for example in bad]}).require_source("train")
        assert plain(rest.batches(32))["image"] == expected_pixels(set(range(COUNT)) - {3, 67})


def test_missing_files_are_bad_examples(folder, tmp_path):
    features = {"image": [folder / "1.png", folder / "none.png"], "size": np.zeros(2, np.float32)}
    source = FileSource(features, [0, 1], must_exist=False)
    (bad,) = check_examples(Photographs(cached(source)), "train")
    assert (bad.place, bad.kind) == ("none.png", "missing file")


def test_what_does_not_fit_is_refused_with_the_figures(folder, tmp_path, monkeypatch):
    source = files_of(folder)
    needed = cached(source).num_bytes
    assert needed == COUNT * (8 * 10 * 3 + 4 + 8)
    monkeypatch.setattr(caching.psutil, "virtual_memory", lambda: types.SimpleNamespace(available=needed))
    with pytest.raises(ValueError, match=r"70 decoded examples take 0\.00 GiB, .* in memory .*80%.*cache='disk'"):
        cached(source)
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=needed))
    with pytest.raises(ValueError, match=r"are free in .*Take another directory"):
        cached(source, directory=tmp_path / "a" / "b")
    monkeypatch.setattr(caching.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2 * needed))
    cached(source, directory=tmp_path / "a" / "b").fill()


def test_what_can_t_be_cached_is_refused(folder, tmp_path):
    with pytest.raises(TypeError, match="Cache what Balanced samples: put it around the CachedSource"):
        cached(Balanced(files_of(folder)))
    ragged = DatasetSource(
        tf.data.Dataset.from_generator(
            lambda: iter([({"x": [1.0]}, 0)]),
            output_signature=({"x": tf.TensorSpec((None,))}, tf.TensorSpec((), tf.int64)),
        )
    )
    with pytest.raises(ValueError, match=r"features/x varies in shape, \(None,\)"):
        CachedSource(ragged, {"x": framework.Feature((None,))}, dict)
    text = ArraySource({"x": ["a", "b"]}, [0, 1])
    with pytest.raises(ValueError, match="features/x is text, which a cache in files can't hold"):
        CachedSource(text, {"x": framework.Feature((), "string")}, dict, directory=tmp_path)
    assert plain(CachedSource(text, {"x": framework.Feature((), "string")}, dict).batches(2))["x"] == [b"a", b"b"]


class Photographs(framework.Pipeline):
    features = FEATURES
    task = framework.tasks.Classification(2)

    def __init__(self, source):
        self._source = source

    def source(self, phase):
        return self._source if phase == "train" else None

    def decode(self, features):
        return decode(features)


def test_a_pipeline_sees_no_difference(folder, tmp_path):
    source = files_of(folder)
    without, kept = Photographs(source), Photographs(cached(source, directory=pathlib.Path(tmp_path)))

    def read(pipeline):
        training = train_dataset(pipeline, batch_size=16, seed=3, start=Position(1, 2)).take(6)
        evaluated = eval_dataset(pipeline, "train", batch_size=16)
        read = [tf.nest.map_structure(lambda x: x.numpy().tolist(), list(data)) for data in (training, evaluated)]
        return json.dumps(read, sort_keys=True)

    assert read(kept) == read(without)
    # A request is made of what is stored, not of what was kept.
    assert held_out(kept, 3)["image"].tolist() == held_out(without, 3)["image"].tolist()
    part = Balanced(Subset(kept.source("train"), [4, 5]))
    assert part.stored.gather(tf.constant([1])).features["image"].numpy()[0] == (folder / "5.png").read_bytes()
