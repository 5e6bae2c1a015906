"""What converters could trip over, and other models of this repository: they convert and agree, or are refused."""

import numpy as np
import odd_models
import pytest
import tensorflow as tf

import framework
from framework import testing
from framework.export import formats
from framework.export.formats import FormatError, FormatResult
from framework.export.formats.running import FormatRunner, open_format
from framework.export.formats.worker import Job

EXACT = ("frozen", "litert", "onnx", "openvino")


def run_of(model, pipeline, run_dir, **hparams):
    return framework.fit(model, pipeline, run_dir=run_dir, epochs=1, hparams=hparams, verbose=0)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    return {
        "wine": run_of("mlp", "wine", root / "wine"),
        "residual": run_of("resnet", "digits", root / "residual", depth=8),
        "hashing": run_of("wide_and_deep", testing.toy_table(), root / "hashing"),
    }


@pytest.fixture(scope="module")
def answers(runs, digits_run, in_one_process, tmp_path_factory):
    jobs = odd_models.jobs(tmp_path_factory.mktemp("odd"))
    for name, run in runs.items():
        real = formats.representative_examples(run.pipeline, 40)
        names = tuple(formats.FORMATS) if name == "wine" else EXACT
        jobs[name] = Job(str(run.export_dir), names, None, real, gated=False)
    jobs["features"] = Job(str(digits_run.export_dir), ("onnx",), "features", {}, gated=False)
    jobs["no_such_signature"] = Job(str(digits_run.export_dir), ("onnx",), "serving", {}, gated=False)
    return in_one_process(jobs)


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
        ("gelu", (*EXACT, "litert_f16", "litert_dynamic", "litert_int8")),
        ("erfc_in_loop", ("frozen", "onnx", "openvino")),
        ("recurrent", ("frozen", "onnx", "openvino")),
        ("unrolled", EXACT),
        ("any_size", EXACT),
        ("same_names", EXACT),
        ("integers", EXACT),
        ("residual", EXACT),
        ("wine", tuple(formats.FORMATS)),
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
        least = 1.0 if name in EXACT else 0.9  # a tie may tip over
        assert all(share >= least for share in result.agreement.values()), (name, result)


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


@pytest.mark.parametrize("case", ["branches", "loop", "any_size", "half", "recurrent"])
def test_a_frozen_graph_is_for_any_machine(answers, case):
    result = answers[case]["frozen"]
    graph = tf.compat.v1.GraphDef.FromString((result.path / result.file).read_bytes())
    nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
    assert [node.name for node in nodes if node.op.startswith("_") or "Variable" in node.op] == []
    assert [node.name for node in graph.node if node.device or any(name.startswith("_") for name in node.attr)] == []
    assert [node.name for node in graph.node if node.op == "Placeholder"] == list(result.inputs)
    assert set(result.tensors.values()) <= {node.name for node in graph.node}
    assert bool(graph.library.function) == (case in ("branches", "loop", "recurrent"))


@pytest.mark.parametrize(
    ("case", "names", "reason"),
    [
        ("recurrent", ("litert",), "it has a recurrent layer, which converts with unroll=True alone"),
        ("table", EXACT, "it looks values up in a table, which only a SavedModel can hold"),
        ("text_in", ("litert", "onnx", "openvino"), "its inputs 'word' are text"),
        (
            "hashing",
            ("litert", "onnx", "openvino"),
            r"its inputs 'colour' are text; signature 'features': it works on text inside \(AsString, StringToHash",
        ),
        ("no_such_signature", ("onnx",), "there is none; there are features, serialized, serving_default"),
        ("text_out", ("litert", "onnx", "openvino"), "all outputs of the signature 'serving_default' are text"),
    ],
)
def test_it_is_refused_with_its_reason(answers, case, names, reason):
    for name in names:
        error = answers[case][name]
        assert isinstance(error, FormatError)
        assert error.format == name
        with pytest.raises(FormatError, match=rf" can't be converted to '{name}': signature '.*': {reason}"):
            raise error


def test_a_frozen_graph_may_have_text(answers, runs):
    assert opened(answers["text_in"]["frozen"])(word=["a", "word"])["length"].tolist() == [1, 4]
    assert opened(answers["text_out"]["frozen"])(x=np.float32([[0.5, 0, 0]]))["name"].tolist() == [b"0.500000"]
    hashing = answers["hashing"]["frozen"]
    assert hashing.signature == "features"
    assert hashing.passed_over == {"serving_default": "it looks values up in a table, which only a SavedModel can hold"}
    assert hashing.agreement == {"class_id": 1.0, "class_name": 1.0}


def test_what_is_no_number_has_to_be_none_in_the_format_too(answers):
    for name in EXACT:
        assert isinstance(answers["nan"][name], FormatResult)
        assert answers["nan"][name].max_difference == {"y": 0.0}


def test_the_signature_can_be_named(answers, digits_run):
    result = answers["features"]["onnx"]
    assert (result.signature, result.inputs) == ("features", {"image": framework.Feature((8, 8, 1), "float32")})
    images = next(iter(digits_run.pipeline.source("test").batches(3))).features["image"].numpy()
    answered = opened(result)(image=images.astype(np.float32) / 16.0)
    expected = digits_run.predict({"image": images})
    np.testing.assert_allclose(answered["probabilities"], expected["probabilities"], rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", list(formats.FORMATS))
def test_a_row_of_numbers(answers, runs, name):
    rows = next(iter(runs["wine"].pipeline.source("test").batches(3))).map(lambda tensor: tensor.numpy()).features
    result = answers["wine"][name]
    assert result.signature == "serving_default"
    allowed = {"litert_f16": 1e-2, "litert_dynamic": 0.1, "litert_int8": 0.2}.get(name, 1e-5)
    answered, expected = opened(result)(**rows), runs["wine"].predict(rows)
    np.testing.assert_allclose(answered["logits"], expected["logits"], rtol=0, atol=allowed)
