"""What converters could trip over: each case either converts and agrees, or is refused with its reason."""

import os
import pathlib
import pickle
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from framework.export.formats import FormatError
from framework.export.formats.process import ENVIRONMENT
from framework.export.formats.result import FormatResult
from framework.export.formats.running import FormatRunner, open_format

SCRIPT = pathlib.Path(__file__).with_name("odd_models.py")
EXACT = ("frozen", "litert", "onnx", "openvino")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    root = tmp_path_factory.mktemp("odd")
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(root)], env=os.environ | ENVIRONMENT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return pickle.loads((root / "answers.pickle").read_bytes())


def opened(result) -> FormatRunner:
    result.write()
    return open_format(result.path)


@pytest.mark.parametrize(
    ("case", "names"),
    [
        ("checked", EXACT),
        ("branches", EXACT),
        ("loop", EXACT),
        ("half", (*EXACT, "litert_f16", "litert_dynamic", "litert_int8")),
        ("lstm", ("frozen", "onnx", "openvino")),
        ("unrolled", EXACT),
        ("any_size", (*EXACT, "litert_f16", "litert_dynamic")),
        ("same_names", EXACT),
        ("booleans", EXACT),
    ],
)
def test_it_converts_and_agrees(answers, case, names):
    for name in names:
        result = answers[case][name]
        assert isinstance(result, FormatResult), f"{name}: {result}"
        allowed = {"litert_f16": 1e-2, "litert_dynamic": 0.1, "litert_int8": 0.2}.get(name, 1e-5)
        if case == "half" and name != "frozen":
            allowed = max(allowed, 1e-2)  # the SavedModel rounds, the format doesn't
        assert all(difference <= allowed for difference in result.max_difference.values()), (name, result)
        assert all(share == 1.0 for share in result.agreement.values()), (name, result)


def test_half_precision_becomes_float32(answers):
    differences = [answers["half"][name].max_difference["logits"] for name in ("litert", "onnx", "openvino")]
    assert min(differences) > 1e-5
    assert max(differences) - min(differences) < 1e-5
    assert answers["half"]["frozen"].max_difference["logits"] < 1e-5


def test_names_are_kept_where_an_input_and_an_output_share_one(answers):
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    for name in EXACT:
        result = answers["same_names"][name]
        assert result.tensors == {"X": "X_output", "sum": "sum"}
        made = opened(result)(x=x, unused=np.zeros(2, np.int64))
        np.testing.assert_allclose(made["X"], 3.0 * x)
        np.testing.assert_allclose(made["sum"], x.sum(axis=1))


def test_checks_stay_in_the_frozen_graph_alone(answers):
    large = np.full((1, 3), 9.0, np.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="too large"):
        opened(answers["checked"]["frozen"])(x=large)
    for name in ("litert", "onnx", "openvino"):
        np.testing.assert_allclose(opened(answers["checked"][name])(x=large)["y"], 2.0 * large)


def test_a_batch_normalization_is_folded(answers):
    result = answers["any_size"]["frozen"]
    graph = tf.compat.v1.GraphDef.FromString((result.path / result.file).read_bytes())
    operations = {node.op for node in graph.node}
    assert "Conv2D" in operations
    assert not operations & {"Rsqrt", "Sub", "PartitionedCall", "StatefulPartitionedCall"}


@pytest.mark.parametrize("case", ["branches", "loop", "any_size", "half", "lstm"])
def test_a_frozen_graph_is_for_any_machine(answers, case):
    result = answers[case]["frozen"]
    graph = tf.compat.v1.GraphDef.FromString((result.path / result.file).read_bytes())
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert [node.name for node in nodes if node.op.startswith("_") or "Variable" in node.op] == []
    assert [node.name for node in graph.node if node.device or any(name.startswith("_") for name in node.attr)] == []
    assert [node.name for node in graph.node if node.op == "Placeholder"] == list(result.inputs)
    assert set(result.tensors.values()) <= {node.name for node in graph.node}
    assert bool(graph.library.function) == (case in ("branches", "loop", "lstm"))


@pytest.mark.parametrize(
    ("case", "names", "reason"),
    [
        ("lstm", ("litert",), "it has a recurrent layer, which converts with unroll=True alone"),
        ("table", EXACT, "it looks values up in a table, which only a SavedModel can hold"),
        ("text_in", ("litert", "onnx", "openvino"), "its inputs 'word' are text"),
        (
            "text_inside",
            ("litert", "onnx", "openvino"),
            r"it works on text inside \(AsString, StringToHashBucketFast\), as hashing does",
        ),
        ("text_out", ("litert", "onnx", "openvino"), "all outputs of the signature 'serving_default' are text"),
    ],
)
def test_it_is_refused_with_its_reason(answers, case, names, reason):
    for name in names:
        error = answers[case][name]
        assert isinstance(error, FormatError)
        assert error.format == name
        with pytest.raises(FormatError, match=rf"/{case} can't be converted to '{name}': signature .*: {reason}"):
            raise error


@pytest.mark.parametrize("case", ["text_in", "text_inside", "text_out"])
def test_a_frozen_graph_may_have_text(answers, case):
    result = answers[case]["frozen"]
    assert isinstance(result, FormatResult)
    assert result.left_out == ()
    if case == "text_in":
        assert opened(result)(word=["a", "word"])["length"].tolist() == [1, 4]
    if case == "text_out":
        assert opened(result)(x=np.float32([[0.5, 0, 0]]))["name"].tolist() == [b"0.500000"]


def test_what_is_no_number_has_to_be_none_in_the_format_too(answers):
    for name in EXACT:
        assert isinstance(answers["nan"][name], FormatResult)
        assert answers["nan"][name].max_difference == {"y": 0.0}
