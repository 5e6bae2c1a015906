"""What an export must not hold, each in a SavedModel that has it."""

import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.export import Exporter, ProofError, fresh_process
from framework.export.graph_checks import check_facts

PREDICT = "tensorflow/serving/predict"


def saved(tmp_path, function, **tracked):
    """A SavedModel of `function(x)` and what the fresh process sees in it."""
    module = tf.Module()
    for name, value in tracked.items():
        setattr(module, name, value)
    traced = tf.function(lambda x: {"y": function(x)}, autograph=False)
    concrete = traced.get_concrete_function(tf.TensorSpec((None, 2), tf.float32, "x"))
    path = tmp_path / "model"
    tf.saved_model.save(module, str(path), signatures=concrete)
    with fresh_process.shared().loaded(path) as export:
        return export.facts


def manifest(parameter_bytes=0, variables=None):
    feature = {"shape": [2], "dtype": "float32"}
    signature = {"method_name": PREDICT, "inputs": {"x": feature}, "outputs": {"y": feature}}
    return {
        "signatures": {"serving_default": signature},
        "variables": variables or {},
        "parameter_bytes": parameter_bytes,
    }


def test_a_pure_function_passes(tmp_path):
    sizes = check_facts(saved(tmp_path, lambda x: tf.nn.relu(x) * 2.0), manifest())
    assert sizes["graph_bytes"] == (tmp_path / "model" / "saved_model.pb").stat().st_size
    assert sizes["assets_bytes"] == 0


def as_it_was(x):
    return tf.ensure_shape(x, (None, 2))


COUNTER = tf.Variable(0.0)


def counting(x):
    with tf.control_dependencies([COUNTER.assign_add(1.0)]):
        return tf.identity(x)


def reading(x):
    return x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32)


def within_a_map(x):
    return tf.map_fn(lambda row: row + tf.random.normal((2,)), x)


@pytest.mark.parametrize(
    ("function", "error"),
    [
        (
            lambda x: as_it_was(tf.py_function(lambda y: y, [x], tf.float32)),
            r"calls Python: EagerPyFunc; .*TensorFlow's",
        ),
        (lambda x: as_it_was(tf.numpy_function(lambda y: y, [x], tf.float32)), r"calls Python: PyFunc; "),
        (counting, r"changes variables or checkpoints: AssignAddVariableOp; call layers with training=False"),
        (
            lambda x: x + tf.cast(tf.strings.length(tf.io.read_file("/etc/hostname")), tf.float32),
            r"reads files .*: ReadFile",
        ),
        (lambda x: x + tf.random.normal((2,)), r"draws random numbers: RandomStandardNormal; .*stateless"),
        (within_a_map, r"draws random numbers: RandomStandardNormal; .*operations', signature 'serving_default'"),
    ],
)
def test_what_no_server_can_do_is_refused(function, error, tmp_path):
    with pytest.raises(ProofError, match=error) as refused:
        check_facts(saved(tmp_path, function, counter=COUNTER), manifest())
    assert (refused.value.check, refused.value.signature) == ("operations", "serving_default")


def test_stateless_randomness_and_decoding_are_let_through(tmp_path):
    def function(x):
        rows = tf.data.Dataset.from_tensor_slices(x).batch(8).get_single_element()
        scattered = tf.scatter_nd([[0]], rows[:1], tf.shape(rows))
        return scattered + tf.random.stateless_normal((2,), (1, 2))

    check_facts(saved(tmp_path, function), manifest())


def test_a_path_of_this_host_is_refused(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("small\n")

    def function(x):
        return tf.where(tf.strings.length(tf.constant(str(words))) > 0, x, x + 1)

    with pytest.raises(ProofError, match=rf"holds paths of this host: {words}\. Another host"):
        check_facts(saved(tmp_path, function), manifest())


def test_a_vocabulary_that_is_an_asset_is_no_path(tmp_path):
    words = tmp_path / "words.txt"
    words.write_text("small\ndog\n")
    initializer = tf.lookup.TextFileInitializer(
        str(words), tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER
    )
    table = tf.lookup.StaticHashTable(initializer, -1)

    def function(x):
        return x + tf.cast(table.lookup(tf.constant(["dog", "cat"])), tf.float32)

    sizes = check_facts(saved(tmp_path, function, table=table), manifest())
    assert sizes["assets_bytes"] == words.stat().st_size


WEIGHT = {"name": "dense/kernel", "shape": [2], "dtype": "float32"}


def facts(**changes):
    """Those of a good export with one weight."""
    signature = {"inputs": {"x": ([None, 2], "float32")}, "outputs": {"y": ([None, 2], "float32")}}
    good = {
        "signatures": {"serving_default": {**signature, "method_name": PREDICT, "operations": {"MatMul": 1}}},
        "host_paths": [],
        "variables": {
            "model_variables/3/.ATTRIBUTES/VARIABLE_VALUE": ((2,), "float32"),
            "_CHECKPOINTABLE_OBJECT_GRAPH": ((), "string"),
        },
        "bytes": {"saved_model.pb": 10, "variables/variables.index": 5, "variables/variables.data-00000-of-00001": 300},
    }
    return {**good, **changes}


def judged(**changes):
    return check_facts(facts(**changes), manifest(8, {"model_variables/3": WEIGHT}))


def variables(**changes):
    suffix = "/.ATTRIBUTES/VARIABLE_VALUE"
    return {**facts()["variables"], **{f"{name.replace('__', '/')}{suffix}": form for name, form in changes.items()}}


def test_a_good_export_passes():
    assert judged() == {"graph_bytes": 10, "variables_bytes": 305, "assets_bytes": 0}


def signature(**changes):
    return {"signatures": {"serving_default": {**facts()["signatures"]["serving_default"], **changes}}}


@pytest.mark.parametrize(
    ("changes", "check", "error"),
    [
        ({"signatures": {}}, "signatures", r"has the signatures \[\], not \['serving_default'\]"),
        (signature(inputs={"z": ([None, 2], "float32")}), "signatures", "Its inputs are .*'z'.*, expected .*'x'"),
        (signature(outputs={"y": ([None, 3], "float32")}), "signatures", r"Its outputs are .*3\].*, expected .*2\]"),
        (signature(outputs={"y": ([None, 2], "float16")}), "signatures", "Its outputs are .*float16"),
        (
            signature(method_name="tensorflow/serving/regress"),
            "signatures",
            "called as .*regress', expected .*predict'",
        ),
        ({"variables": {}}, "variables", r"lacks \['model_variables/3.*'\] and has \[\]"),
        ({"variables": variables(optimizer__momentum=((2,), "float32"))}, "variables", r"has \['optimizer/momentum"),
        (
            {"variables": variables(model_variables__3=((3,), "float32"))},
            "variables",
            r"kernel is float32\[3\]",
        ),
        (
            {"bytes": {"saved_model.pb": 1, "variables/variables.data": 10**6}},
            "size",
            "1000000 bytes for parameters of 8",
        ),
    ],
)
def test_what_isnt_as_declared_is_refused(changes, check, error):
    with pytest.raises(ProofError, match=error) as refused:
        judged(**changes)
    assert refused.value.check == check


def test_unknown_axes_and_ranks_agree_with_any():
    judged(**signature(outputs={"y": (None, "float32")}))
    judged(**signature(outputs={"y": ([None, None], "float32")}))


def test_contents_of_tables_may_take_any_space():
    judged(
        variables=variables(resources__0=((9,), "int64")),
        bytes={"saved_model.pb": 1, "variables/variables.data": 10**6},
    )


def test_an_export_is_refused_before_anybody_sees_it(tmp_path: pathlib.Path):
    values = np.zeros((8, 2), np.float32)

    def preprocess(features):
        doubled = tf.numpy_function(lambda x: x * 2, [features["values"]], tf.float32)
        return {"values": tf.ensure_shape(doubled, (None, 2))}

    pipeline = framework.pipeline_from_arrays({"values": values}, values[:, 0], preprocess=preprocess)
    model = framework.build_model(
        lambda inputs, task: task.logits(keras.layers.Identity()(inputs["values"])), pipeline.interface(), pipeline.task
    )
    with pytest.raises(ProofError, match=r"calls Python|fails on the export"):
        Exporter(model, pipeline).publish(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == []
