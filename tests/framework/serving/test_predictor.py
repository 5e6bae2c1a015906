"""`load_export` on SavedModels of plain TensorFlow and of a run."""

import concurrent.futures
import gc
import itertools
import json
import pathlib
import shutil

import cv2
import keras
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from saved_models import NAMES

import framework
from framework.export import Exporter, promote, roll_back
from framework.serving import Predictor, find_export, signatures
from framework.serving.images import read_image

_RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def predictor(arithmetic):
    return framework.load_export(arithmetic, batch_size=4)


def _rows(count):
    return {"z": _RNG.normal(size=(count, 2)).astype(np.float32), "a": _RNG.integers(0, 9, count).astype(np.uint8)}


@pytest.mark.parametrize("count", [1, 3, 4, 5, 11])
def test_batches_of_any_size_are_split_and_joined(predictor, count):
    rows = _rows(count)
    answer = predictor(**rows)
    sums = rows["z"].sum(axis=1)
    np.testing.assert_allclose(answer["total"], sums + rows["a"], rtol=1e-6)
    np.testing.assert_allclose(answer["difference"], sums - rows["a"], rtol=1e-6, atol=1e-6)
    assert answer["batch"].tolist() == [4] * (count // 4 * 4) + [count % 4] * (count % 4)
    assert {key: array.dtype for key, array in answer.items()} == {
        "batch": np.int32,
        "difference": np.float32,
        "total": np.float32,
    }


def test_no_examples_have_empty_answers_of_the_right_kind(predictor):
    answer = predictor(z=np.zeros((0, 2)), a=[])
    assert {key: (array.shape, array.dtype) for key, array in answer.items()} == {
        "batch": ((0,), np.int32),
        "difference": ((0,), np.float32),
        "total": ((0,), np.float32),
    }
    assert predictor("look_up")(name=[])["name"].dtype == object


def test_the_same_bits_however_it_is_called(small, monkeypatch):
    """As an operation; by TensorFlow's own call: on an accelerator, in a server, and after many others."""
    called = []
    operation = tf.raw_ops.StatefulPartitionedCall
    monkeypatch.setattr(tf.raw_ops, "StatefulPartitionedCall", lambda **kw: called.append(1) or operation(**kw))
    monkeypatch.setattr(signatures, "_OPERATIONS", itertools.count())
    monkeypatch.setattr(signatures, "_MAX_OPERATIONS", 1)
    rows = _rows(3)
    loaded = tf.saved_model.load(str(small))
    expected = loaded.signatures["serving_default"](**{key: tf.constant(array) for key, array in rows.items()})
    first = Predictor(small)
    in_a_server = Predictor(small, short_lived=True)
    with monkeypatch.context() as patch:
        patch.setattr(tf.config, "list_logical_devices", lambda kind: [kind])
        on_a_gpu = Predictor(small)
    for predictor, operations in ((on_a_gpu, 0), (in_a_server, 0), (first, 1), (Predictor(small), 1), (first, 2)):
        answer = predictor(**rows)
        assert len(called) == operations
        assert set(answer) == set(expected)
        for key, tensor in expected.items():
            np.testing.assert_array_equal(answer[key], tensor.numpy())


def test_tables_text_and_bytes(predictor):
    answer = predictor("look_up")(name=["cat", b"dog", "Zoë", b"\xff\x00"])
    assert answer["id"].tolist() == [1, 2, 0, 0]
    assert answer["name"].tolist() == [b"cat", b"dog", "Zoë".encode(), b"\xff\x00"]


def test_what_is_lossless_is_converted(predictor):
    answer = predictor(z=[[1, 2], [3, 4]], a=np.asarray([7, 8], np.int64))
    assert answer["total"].tolist() == [10, 15]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"z": [[1.0, 2.0]]}, r"Features missing: \['a'\], unknown: \[\]"),
        ({"z": [[1.0, 2.0]], "b": [1]}, r"missing: \['a'\], unknown: \['b'\]"),
        ({"z": [[1.0, 2.0]], "a": [1, 2]}, "same number of examples"),
        ({"z": [[1.0, 2.0, 3.0]], "a": [1]}, r"Feature 'z' has shape \(1, 3\), expected \(examples, 2\)"),
        ({"z": [1.0, 2.0], "a": [1, 2]}, r"Feature 'z' has shape \(2,\)"),
        ({"z": [[1.0], [2.0, 3.0]], "a": [1, 2]}, "Feature 'z' isn't an array"),
        ({"z": [[1.0, 2.0]], "a": [300]}, "Feature 'a' has the value 300, which uint8 can't hold"),
        ({"z": [[1.0, 2.0]], "a": [0.5]}, "0.5, which uint8 can't hold"),
        ({"z": [[1e300, 2.0]], "a": [1]}, "1e.300, which float32 can't hold"),
        ({"z": [["a", "b"]], "a": [1]}, "Feature 'z' has dtype <U1, expected float32"),
    ],
)
def test_what_does_not_fit_is_refused(predictor, arrays, message):
    with pytest.raises(ValueError, match=message):
        predictor(**arrays)


def test_an_operation_that_refuses_speaks_for_itself(predictor):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        predictor("root")(x=[1.0, -1.0])
    message = str(caught.value)
    assert message.startswith("assertion failed: [x must not be negative.")
    assert "node" not in message
    assert "\n" not in message
    assert predictor("root")(x=[4.0])["y"].tolist() == [2.0]


def test_inputs_of_varying_shape(predictor):
    rows = [[1, 2], [3], [4, 5], [], [6, 7, 8], [9, 9], [9, 8], [9, 7], [9, 6]]
    answer = predictor("reversed")(tokens=[np.asarray(row, np.int64) for row in rows])
    assert answer["sum"].tolist() == [sum(row) for row in rows]
    assert answer["tokens"].dtype == object
    assert [array.tolist() for array in answer["tokens"]] == [row[::-1] for row in rows]
    alike = predictor("reversed")(tokens=[[1, 2], [3, 4]])["tokens"]
    assert alike.tolist() == [[2, 1], [4, 3]]
    held = np.empty(2, object)
    held[:] = [np.asarray([1, 2]), np.asarray([3, 4])]
    np.testing.assert_array_equal(predictor("reversed")(tokens=held)["tokens"], alike)
    with pytest.raises(ValueError, match="Feature 'tokens' has"):
        predictor("reversed")(tokens=[[1], [2.5, 3]])


class _Aged(tf.Module):
    """A signature with an input of varying shape and another one."""

    @tf.function(
        input_signature=[tf.TensorSpec([None, None], tf.int64, "tokens"), tf.TensorSpec([None], tf.int64, "age")]
    )
    def aged(self, tokens, age):
        return {"sum": 100 * tf.reduce_sum(tokens, 1) + age}


def test_inputs_of_varying_shape_beside_others(tmp_path):
    module = _Aged()
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.aged})
    predictor = framework.load_export(tmp_path)
    tokens = [[1], [2, 2], [3]]
    # A Series' rows are meant by their order, not by its index.
    series = pd.Series([7, 8, 9], index=[2, 0, 1])
    for age in ([7, 8, 9], np.asarray([7, 8, 9]), series, tf.constant([7, 8, 9], tf.int64)):
        assert predictor(tokens=tokens, age=age)["sum"].tolist() == [107, 408, 309]
        assert predictor(tokens=pd.Series(tokens), age=age)["sum"].tolist() == [107, 408, 309]
    for age, length in (([7, 8], 2), (7, None), (np.asarray(7), None)):
        with pytest.raises(ValueError, match=f"same number of examples, got {{'tokens': 3, 'age': {length}}}"):
            predictor(tokens=tokens, age=age)
    with pytest.raises(ValueError, match=r"Features missing: \['age'\]"):
        predictor(tokens=tokens)
    with pytest.raises(ValueError, match="Feature 'tokens' isn't an array"):
        predictor(tokens=[[1], [[2], [3, 4]], [5]], age=[7, 8, 9])


def test_outputs_that_cannot_be_joined(predictor):
    assert predictor("whole")(x=[1.0, 2.0])["sum"] == 3.0
    with pytest.raises(ValueError, match=r"Output 'sum' has shape \(\) for 4 examples"):
        predictor("whole")(x=np.ones(5))


def test_a_signature_without_a_batch_axis(predictor):
    signature = predictor("unbatched")
    assert signature.features is None
    assert signature(matrix=np.ones((2, 3)), factor=3)["product"].tolist() == [[3.0] * 3] * 2
    with pytest.raises(ValueError, match="Feature 'matrix' has shape"):
        signature(matrix=np.ones((2, 2)), factor=3)
    with pytest.raises(ValueError, match=r"missing: \['factor'\]"):
        signature(matrix=np.ones((2, 3)))


def test_names_of_signatures(predictor):
    assert set(predictor.signatures) == set(NAMES)
    assert predictor("half").inputs == {"x": tf.TensorSpec([None], tf.float32, "x")}
    with pytest.raises(LookupError, match=r"no signature 'hlf'. Did you mean 'half'\? It has: classify, encoded"):
        predictor("hlf")
    with pytest.raises(TypeError, match=r"predictor\('half'\)\(x=...\)"):
        predictor("half", x=[1.0])
    with pytest.raises(TypeError, match=r"a signature's name, got a dict. .* predictor\(\*\*arrays\)"):
        predictor({"z": [[0, 0]], "a": [1]})
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        framework.load_export(predictor.path, batch_size=0)


def test_what_it_shows(predictor):
    assert repr(predictor("half")) == "<half(x: float32(None,)) -> y: float32(None,)>"
    assert repr(predictor).splitlines()[0] == f"<Predictor {predictor.path}"
    assert "  <look_up(name: string(None,)) -> id: int64(None,)" in repr(predictor)


def test_many_threads_at_once(predictor):
    def ask(seed):
        tokens = np.random.default_rng(seed).integers(0, 9, (1 + seed % 6, 1 + seed % 3))
        expected = tokens.sum(axis=1)
        return all((predictor("reversed")(tokens=tokens)["sum"] == expected).all() for _ in range(20))

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        assert all(executor.map(ask, range(64)))


def test_a_signature_holds_what_it_needs(offset_by_100):
    signature = framework.load_export(offset_by_100)("serving_default")
    gc.collect()
    assert signature(z=[[0, 0]], a=[1])["total"].tolist() == [101.0]


def _write_images(directory, *shapes):
    paths = []
    for number, shape in enumerate(shapes):
        pixels = _RNG.integers(0, 256, shape, np.uint8)
        path = directory / f"{number}.png"
        path.write_bytes(tf.io.encode_png(pixels).numpy())
        paths.append((path, pixels.astype(np.float32).mean()))
    return [path for path, _ in paths], [mean for _, mean in paths]


@pytest.mark.parametrize("signature", [None, "pixels"])
def test_files_of_images(predictor, tmp_path, signature):
    paths, means = _write_images(tmp_path, (4, 5, 1), (2, 2, 1), (4, 5, 1), (3, 3, 1), (2, 2, 1), (4, 5, 1))
    answer = predictor.predict_files(paths, signature=signature)
    np.testing.assert_allclose(answer["mean"], means, rtol=1e-5)
    assert predictor.predict_files([], signature=signature)["mean"].shape == (0,)


def test_files_that_are_no_images(predictor, tmp_path):
    (path, *_), _ = _write_images(tmp_path, (2, 2, 1))
    junk = tmp_path / "junk.png"
    junk.write_text("no picture")
    with pytest.raises(ValueError, match=r"junk\.png: signature 'encoded' refuses it: Unknown image file format"):
        predictor.predict_files([path, junk])
    with pytest.raises(ValueError, match=r"junk\.png is no JPEG, PNG"):
        predictor.predict_files([path, junk], signature="pixels")
    with pytest.raises(FileNotFoundError, match=r"none\.png"):
        predictor.predict_files([tmp_path / "none.png"])
    with pytest.raises(ValueError, match=r"Image files need a signature with one input.* takes x: float32"):
        predictor.predict_files([path], signature="half")
    with pytest.raises(LookupError, match="no signature 'pixel'"):
        predictor.predict_files([path], signature="pixel")
    for one in (path, str(path)):
        with pytest.raises(TypeError, match=r"Expected paths, got one of them: predict_files\(\['.*0\.png'\]\)"):
            predictor.predict_files(one)


def test_pixels_of_files_are_those_of_the_signature_for_bytes(predictor, tmp_path):
    """Grey of a colored file, of a format that TensorFlow can't decode as grey; what can't be had says why."""
    colored = _RNG.integers(0, 256, (4, 5, 3), np.uint8)
    spec = predictor("pixels").inputs["image"]
    for suffix in (".png", ".jpeg", ".bmp", ".webp", ".gif"):
        path = tmp_path / f"picture{suffix}"
        path.write_bytes(cv2.imencode(suffix, colored)[1].tobytes())
        expected = framework.media.decode_image(path.read_bytes(), (4, 5, 1))
        np.testing.assert_array_equal(read_image(path, spec), expected)
    with pytest.raises(ValueError, match=r"picture\.jpeg is no .* with 4 channels: JPEG does not support 4 channels"):
        read_image(tmp_path / "picture.jpeg", tf.TensorSpec([None, None, None, 4], tf.uint8))


def test_an_export_of_a_pipeline(tmp_path):
    pipeline = framework.pipeline_from_arrays(
        _RNG.normal(size=(40, 3)).astype(np.float32), np.asarray(["no", "yes"] * 20), validation=0.25
    )
    model = framework.build_model(
        lambda inputs, task: task.logits(next(iter(inputs.values()))), pipeline.interface(), pipeline.task, {}, seed=0
    )
    Exporter(model, pipeline).publish(tmp_path / "export")
    predictor = framework.load_export(tmp_path)
    assert predictor.path == tmp_path / "export" / "1"
    assert predictor.version == 1
    assert predictor.class_names == ("no", "yes")
    assert predictor.manifest["task"]["type"] == "Classification"
    (name,) = predictor("serving_default").inputs
    rows = _RNG.normal(size=(5, 3)).astype(np.float32)
    logits = keras.ops.convert_to_numpy(model({name: rows}))
    answer = predictor(**{name: rows})
    np.testing.assert_allclose(answer["logits"], logits, atol=1e-5)
    assert answer["class_name"].tolist() == [[b"no", b"yes"][row] for row in logits.argmax(1)]


@pytest.mark.parametrize(
    ("task", "names"),
    [
        ({"type": "Classification", "class_names": ["a", "b"]}, ("a", "b")),
        ({"type": "MultiLabelClassification", "label_names": ["a"]}, ("a",)),
        ({"type": "Regression"}, None),
        (None, None),
        ({"tasks": {"kind": {"class_names": ["a", "b"]}, "size": {}}}, {"kind": ("a", "b")}),
    ],
)
def test_class_names(small, tmp_path, task, names):
    export_dir = pathlib.Path(shutil.copytree(small, tmp_path / "copy"))
    (export_dir / "manifest.json").write_text(json.dumps({"task": task}))
    predictor = framework.load_export(export_dir)
    assert predictor.class_names == names
    assert predictor.version is None


def test_without_a_manifest(predictor):
    assert predictor.manifest == {}
    assert predictor.class_names is None


def test_an_export_of_tensorflow_1(tmp_path):
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        z = tf.compat.v1.placeholder(tf.float32, [None], "first")
        a = tf.compat.v1.placeholder(tf.float32, [None], "second")
        weight = tf.compat.v1.Variable(3.0, use_resource=False)
        session.run(tf.compat.v1.global_variables_initializer())
        builder = tf.compat.v1.saved_model.Builder(str(tmp_path / "7"))
        signature = tf.compat.v1.saved_model.predict_signature_def({"z": z, "a": a}, {"y": z * weight - a, "b": a})
        builder.add_meta_graph_and_variables(session, ["serve"], {"serving_default": signature})
        builder.save()
    predictor = framework.load_export(tmp_path)
    answer = predictor(z=[1.0, 2.0], a=[10.0, 20.0])
    assert {key: array.tolist() for key, array in answer.items()} == {"y": [-7.0, -14.0], "b": [10.0, 20.0]}


def test_which_version_is_taken(tmp_path, small):
    base = tmp_path / "run" / "export"
    for name in ("2", "10", "00000003"):
        shutil.copytree(small, base / name)
    for name in (".tmp-11-x", "x12", "11"):
        (base / name).mkdir()
    assert find_export(tmp_path / "run") == base / "10"
    (base / "best.json").write_text('{"version": 2}')
    assert find_export(base) == base / "2"
    (base / "best.json").write_text('{"version": 3}')
    assert find_export(str(base)) == base / "00000003"
    for damaged in ('{"version": 11}', "{", "[]", '{"version": null}'):
        (base / "best.json").write_text(damaged)
        assert find_export(base) == base / "10"
    assert find_export(base / "2") == base / "2"


def test_what_a_person_promoted_goes_before_the_best(tmp_path, small):
    for version in ("1", "2", "1700000000"):  # the last is somebody else's, named by the time
        shutil.copytree(small, tmp_path / version)
    (tmp_path / "best.json").write_text('{"version": 2}')
    assert find_export(tmp_path) == tmp_path / "2"
    shutil.rmtree(tmp_path / "1700000000")
    manifest = {"version": 1, "epoch": 0, "step": 1, "metrics": {}}
    (tmp_path / "1" / "manifest.json").write_text(json.dumps(manifest))
    served = promote(tmp_path, 1)
    assert find_export(tmp_path) == tmp_path / str(served)
    roll_back(tmp_path)
    assert find_export(tmp_path) == tmp_path / "2"


def test_no_export(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no SavedModel in .*: expected saved_model\.pb, versions"):
        framework.load_export(tmp_path)
    with pytest.raises(FileNotFoundError, match="There is no SavedModel"):
        framework.load_export(tmp_path / "nowhere")


def test_versions_can_be_told_apart(tmp_path, small, offset_by_100):
    shutil.copytree(small, tmp_path / "1")
    shutil.copytree(offset_by_100, tmp_path / "2")
    assert framework.load_export(tmp_path)(z=[[0, 0]], a=[1])["total"].tolist() == [101.0]
    assert framework.load_export(tmp_path / "1")(z=[[0, 0]], a=[1])["total"].tolist() == [1.0]
