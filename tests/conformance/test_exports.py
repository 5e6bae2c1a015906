"""Every model on every pipeline that it builds on, through every signature, at three batch sizes, by every loader."""

import pickle
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_data import options_for

import framework
from framework.building import build_model
from framework.data.serving import receivers
from framework.export.signatures import build_signatures
from framework.testing.checks import held_out
from framework.training.plan import resolve_pipeline

MODELS, PIPELINES = framework.list_models(), framework.list_pipelines()
SMALL = {
    "multimodal": {"width": 4, "hidden": 8, "vocabulary_size": 50, "num_bins": 50},
    "resnet": {"depth": 8, "width": 4},
    "small_cnn": {"width": 4, "hidden": 8},
    "text_cnn": {"vocabulary_size": 50, "filters": 4},
    "wide_and_deep": {"num_bins": 50, "widths": (8,)},
}
BATCH_SIZES = (1, 3, 32)

# Two loaders in a process that has TensorFlow alone: that of TensorFlow 2 and that of 1, which servers are built on.
CLIENT = """
import pickle, sys
import tensorflow as tf

with open(sys.argv[1], "rb") as file:
    exports = pickle.load(file)
answers = {}
for directory, requests in exports.items():
    loaded = tf.saved_model.load(directory)
    for (signature, size), inputs in requests.items():
        made = loaded.signatures[signature](**{name: tf.constant(value) for name, value in inputs.items()})
        answers[directory, signature, size, "TensorFlow 2"] = {name: value.numpy() for name, value in made.items()}
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        meta = tf.compat.v1.saved_model.loader.load(session, ["serve"], directory)
        for (signature, size), inputs in requests.items():
            declared = meta.signature_def[signature]
            fed = {declared.inputs[name].name: value for name, value in inputs.items()}
            fetched = {name: tensor.name for name, tensor in declared.outputs.items()}
            answers[directory, signature, size, "TensorFlow 1"] = session.run(fetched, fed)
foreign = sorted({"framework", "models", "pipelines"} & {module.partition(".")[0] for module in sys.modules})
with open(sys.argv[2], "wb") as file:
    pickle.dump((answers, foreign), file)
"""


def requests_of(pipeline):
    """{(signature, batch size): inputs} of held-out examples, repeated where there are too few."""
    rows = held_out(pipeline, max(BATCH_SIZES))
    count = len(next(iter(rows.values())))
    return {
        (name, size): {
            key: np.asarray(value)
            for key, value in receiver.request({k: v[np.arange(size) % count] for k, v in rows.items()}).items()
        }
        for name, receiver in receivers(pipeline).items()
        for size in BATCH_SIZES
        if receiver.request is not None
    }


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """{(model, pipeline): (directory, requests, live answers)} of all pairs that fit."""
    made = {}
    for pipeline_name in PIPELINES:
        options = options_for(pipeline_name, tmp_path_factory.mktemp(pipeline_name))
        pipeline = resolve_pipeline(pipeline_name, options).with_statistics()
        interface, ways_in, requests = pipeline.interface(), receivers(pipeline), requests_of(pipeline)
        for model_name in MODELS:
            try:
                builder = framework.get_model(model_name)
                model = build_model(builder, interface, pipeline.task, SMALL.get(model_name), seed=0)
            except (LookupError, TypeError, ValueError):
                continue  # a model for other features
            signatures = build_signatures(model, ways_in, pipeline.task.predictions, pipeline.resources)
            directory = tmp_path_factory.mktemp("exports") / f"{model_name}-{pipeline_name}"
            tf.saved_model.save(signatures.module, str(directory), signatures=signatures.functions)
            live = {
                (name, size): {
                    key: value.numpy()
                    for key, value in signatures.functions[name](
                        **{key: tf.constant(value) for key, value in inputs.items()}
                    ).items()
                }
                for (name, size), inputs in requests.items()
            }
            made[model_name, pipeline_name] = (directory, requests, live)
    return made


def assert_same(got, expected, where):
    assert set(got) == set(expected), where
    for name, values in expected.items():
        got_values = np.asarray(got[name])
        assert got_values.shape == values.shape, (where, name)
        if values.dtype.kind == "f":
            np.testing.assert_allclose(got_values, values, rtol=1e-4, atol=1e-4, err_msg=f"{where}, {name}")
        else:
            np.testing.assert_array_equal(got_values, values, err_msg=f"{where}, {name}")


def test_every_model_and_every_pipeline_fits_somewhere(exports):
    assert {model for model, _ in exports} == set(MODELS)
    assert {pipeline for _, pipeline in exports} == set(PIPELINES)


def test_a_process_with_tensorflow_alone(exports, tmp_path):
    asked, answered = tmp_path / "asked", tmp_path / "answered"
    asked.write_bytes(pickle.dumps({str(directory): requests for directory, requests, _ in exports.values()}))
    command = [sys.executable, "-P", "-c", CLIENT, str(asked), str(answered)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert process.returncode == 0, process.stderr
    answers, foreign = pickle.loads(answered.read_bytes())
    assert foreign == []
    for directory, requests, live in exports.values():
        for signature, size in requests:
            for loader in ("TensorFlow 1", "TensorFlow 2"):
                where = (directory.name, signature, size, loader)
                assert_same(answers[str(directory), signature, size, loader], live[signature, size], where)


def test_a_keras_layer(exports):
    called = 0
    for directory, requests, live in exports.values():
        for signature in {name for name, _ in requests}:
            if len(requests[signature, 1]) > 1:
                continue  # Keras passes one positional tensor, which a signature takes where it has one input
            layer = keras.layers.TFSMLayer(str(directory), call_endpoint=signature)
            for size in BATCH_SIZES:
                (value,) = requests[signature, size].values()
                assert_same(layer(tf.constant(value)), live[signature, size], (directory.name, signature, size))
                called += 1
    assert called >= 3 * len(exports)  # all have at least `serialized`


def test_the_predictor(exports):
    for directory, requests, live in exports.values():
        predictor = framework.load_export(directory)
        for (signature, size), inputs in requests.items():
            answer = predictor(signature)(**inputs)
            assert_same(answer, live[signature, size], (directory.name, signature, size))
