"""Those who loaded SavedModels before TensorFlow 2 load an export too, and get the live model's answers."""

import pathlib
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import testing

HERE = pathlib.Path(__file__).resolve().parent
ROWS = 5


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return framework.fit("small_cnn", "digits", run_dir=tmp_path_factory.mktemp("run"), epochs=1, verbose=0)


@pytest.fixture(scope="module")
def images(run):
    return next(iter(run.pipeline.source("test").batches(ROWS))).features["image"].numpy()


def assert_agrees(run, features, answered):
    expected = run.predict(features)
    assert set(answered) == set(expected) == {"logits", "probabilities", "class_id", "class_name"}
    for name in ("logits", "probabilities"):
        np.testing.assert_allclose(np.reshape(answered[name], expected[name].shape), expected[name], rtol=0, atol=1e-5)
    assert list(map(int, answered["class_id"])) == expected["class_id"].tolist()
    assert list(map(tf.compat.as_bytes, answered["class_name"])) == expected["class_name"].tolist()


def signature_of_tf1(export_dir, name):
    """A session with the SavedModel in it, and the names of a signature's tensors."""
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        loaded = tf.compat.v1.saved_model.loader.load(session, ["serve"], str(export_dir))
    signature = loaded.signature_def[name]
    inputs = {name: tensor.name for name, tensor in signature.inputs.items()}
    return session, inputs, {name: tensor.name for name, tensor in signature.outputs.items()}


def test_loader_of_tensorflow_1(run, images):
    session, inputs, outputs = signature_of_tf1(run.export_dir, "serving_default")
    answers = session.run(outputs, {inputs["image"]: images})
    session.close()
    assert_agrees(run, images, answers)


def test_loader_of_tensorflow_1_fills_lookup_tables(tmp_path):
    run = framework.fit("wide_and_deep", testing.toy_table(), run_dir=tmp_path / "run", epochs=1, verbose=0)
    rows = next(iter(run.pipeline.source("test").batches(ROWS))).map(lambda tensor: tensor.numpy()).features
    session, inputs, outputs = signature_of_tf1(run.export_dir, "serving_default")
    answers = session.run(outputs, {inputs[name]: values for name, values in rows.items()})
    session.close()
    assert_agrees(run, rows, answers)


def test_saved_model_cli(run, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    arguments = ["run", "--dir", run.export_dir, "--tag_set", "serve", "--signature_def", "serving_default"]
    arguments += ["--inputs", f"image={tmp_path / 'images.npy'}", "--outdir", tmp_path / "answers"]
    call([pathlib.Path(sys.executable).with_name("saved_model_cli"), *arguments])
    answers = {path.stem: np.load(path, allow_pickle=True) for path in (tmp_path / "answers").iterdir()}
    assert_agrees(run, images, answers)


def test_layer_in_another_keras_model(run, images):
    layer = keras.layers.TFSMLayer(str(run.export_dir), call_endpoint="serving_default")
    inputs = keras.Input((8, 8, 1), dtype="uint8")
    model = keras.Model(inputs, layer(inputs))
    assert_agrees(run, images, {name: value.numpy() for name, value in model(images).items()})


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """Compiles a client against TensorFlow's own headers and libraries."""

    def compiled(source, compiler):
        if shutil.which(compiler) is None:
            pytest.skip(f"there is no {compiler}")
        library = tf.sysconfig.get_lib()
        program = tmp_path_factory.mktemp("client") / source.partition(".")[0]
        # -w: the warnings are about TensorFlow's headers.
        flags = [flag for flag in tf.sysconfig.get_compile_flags() if compiler == "g++" or not flag.startswith("--std")]
        link = [f"-L{library}", f"-Wl,-rpath,{library}", "-Wl,--no-as-needed", "-l:libtensorflow_cc.so.2"]
        link += ["-l:libtensorflow_framework.so.2"]
        call([compiler, "-O0", "-w", *flags, HERE / source, "-o", program, *link])
        return program

    return compiled


def test_loader_of_tensorflow_serving(run, images, compiled, tmp_path):
    program = compiled("saved_model_client.cc", "g++")
    images.tofile(tmp_path / "images")
    shown = call([program, run.export_dir, "serving_default", "image", tmp_path / "images", *images.shape])
    assert_agrees(run, images, parsed(shown))


def test_c_api(run, images, compiled, tmp_path):
    program = compiled("saved_model_client.c", "gcc")
    session, inputs, outputs = signature_of_tf1(run.export_dir, "serving_default")
    session.close()
    images.tofile(tmp_path / "images")
    asked = [item for output in outputs.items() for item in output]
    arguments = [run.export_dir, inputs["image"], tmp_path / "images", images.ndim, *images.shape, *asked]
    assert_agrees(run, images, parsed(call([program, *arguments])))


def parsed(shown):
    """`{name: values}` of what the compiled clients print."""
    rows = (line.split() for line in shown.splitlines())
    return {name: values if name == "class_name" else np.array(values, np.float64) for name, *values in rows}


def call(arguments):
    done = subprocess.run([str(item) for item in arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout
