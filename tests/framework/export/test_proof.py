"""What isn't what was trained is refused, with what, where, got and expected."""

import json
import math
import shutil

import jsonschema
import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.export import (
    Answers,
    Evaluation,
    Exporter,
    Exports,
    Moment,
    ParityError,
    Proof,
    ProofError,
    Slice,
    fresh_process,
    list_versions,
    publishing,
    read_manifest,
)
from framework.export.formats import FormatError
from framework.export.fresh_process import RefusedError
from framework.export.held_out import Requests, make_request, stored_examples
from framework.export.manifest import schema
from framework.export.proof import thresholds_of
from framework.export.validating import Validation

RNG = np.random.default_rng(0)
VALUES = RNG.normal(size=(50, 4)).astype(np.float32)
LABELS = (VALUES[:, 0] > 0).astype(np.int64)
TASK = tasks.Classification(class_names=["low", "high"])


def linear(inputs, task):
    return task.logits(keras.layers.Identity()(inputs["values"]))


def make(pipeline, builder=linear, **arguments):
    """A compiled model and its exporter."""
    model = framework.build_model(builder, pipeline.interface(), pipeline.task, seed=0)
    compiled = {"loss": pipeline.task.loss(), "metrics": pipeline.task.metrics()}
    model.compile("sgd", **compiled)
    return model, Exporter(model, pipeline, evaluation=Evaluation(8, compiled), **arguments)


@pytest.fixture(scope="module")
def pipeline():
    return framework.pipeline_from_arrays({"values": VALUES}, LABELS, task=TASK, validation=0.4)


@pytest.fixture(scope="module")
def made(pipeline):
    return make(pipeline)


def evaluated(model, pipeline):
    """Keras' metrics of the validation split."""
    dataset = framework.data.evaluate.eval_dataset(pipeline, "validation", batch_size=8)
    return {f"val_{name}": value for name, value in model.evaluate(dataset, return_dict=True, verbose=0).items()}


def prove(exporter, staged):
    return exporter.finish(staged, exporter.prove(staged))


class TestAnswers:
    def test_other_weights_are_told_by_signature_and_example(self, made, tmp_path):
        model, exporter = made
        staged = exporter.stage(tmp_path)
        kernel, bias = model.get_weights()
        try:
            model.set_weights([kernel + 1.0, bias])
            other = exporter.stage(tmp_path)
        finally:
            model.set_weights([kernel, bias])
        shutil.rmtree(staged.model / "variables")
        shutil.copytree(other.model / "variables", staged.model / "variables")
        with pytest.raises(ParityError) as refused:
            prove(exporter, staged)
        assert refused.value.check == "answers"
        assert refused.value.signature == "serving_default"
        message = str(refused.value)
        assert message.startswith("In a batch of 1, output 'logits', example 0: got ")
        assert "it differs from the live model by" in message
        assert "The example is example" in message
        assert "of the validation split" in message
        assert list_versions(tmp_path) == []

    def test_a_request_that_fails_is_told(self, made, tmp_path):
        _, exporter = made
        staged = exporter.stage(tmp_path)
        with np.load(staged.path / "calls.npz") as loaded:
            arrays = dict(loaded)
        index = json.loads(arrays["index"].tobytes())
        call = next(call for call in index if call[0] == "serialized")
        key = call[1][0][1]
        arrays[key] = np.frombuffer(tf.io.serialize_tensor(tf.constant(["no proto"])).numpy(), np.uint8)
        np.savez(staged.path / "calls.npz", **arrays)
        error = r"(?s)can't be called with a batch of 1 real examples, the first of which is example .*'serialized'"
        with pytest.raises(ProofError, match=error):
            prove(exporter, staged)

    @pytest.mark.parametrize("fails", [True, False], ids=["fails", "differs"])
    def test_the_old_loader_is_told_with_the_example(self, made, tmp_path, monkeypatch, fails):
        def call_session(export, signature, inputs):
            if fails:
                raise RefusedError("InvalidArgumentError: no")
            answers = export.call(signature, inputs)
            return {**answers, "logits": answers["logits"] + 1.0}

        monkeypatch.setattr(fresh_process.FreshExport, "call_session", call_session)
        what = "It can't be called with a batch of 1" if fails else "output 'logits', example 0"
        with pytest.raises(
            ProofError, match=rf"(?s)In a session of TensorFlow 1.*{what}.*example .* of the validation .*'answers'.*"
        ) as refused:
            made[1].publish(tmp_path)
        assert refused.value.signature == "serving_default"

    def test_a_damaged_export_doesnt_load(self, made, tmp_path):
        _, exporter = made
        staged = exporter.stage(tmp_path)
        (staged.model / "saved_model.pb").write_bytes(b"")
        with pytest.raises(ProofError, match=r"fails on the export: .*'loads'"):
            prove(exporter, staged)

    def test_a_signature_that_isnt_the_model_is_told_when_it_is_written(self, pipeline, tmp_path):
        class Wrong(tasks.Classification):
            def predictions(self, outputs):
                made = super().predictions(outputs)
                # As TensorFlow traces it once: what changes afterwards in Python isn't in the graph.
                return {**made, "logits": made["logits"] + (0.0 if tf.executing_eagerly() else 1.0)}

        wrong = framework.pipeline_from_arrays({"values": VALUES}, LABELS, task=Wrong(2))
        with pytest.raises(ParityError, match=r"Called by its signature and by Keras, output 'logits', .*is example"):
            make(wrong)[1].stage(tmp_path)

    def test_signatures_without_requests_are_said_to_be_unproven(self, tmp_path):
        class Own(framework.Pipeline):
            features = {"values": framework.Feature((4,), "float32")}
            task = TASK

            def source(self, phase):
                return framework.ArraySource({"values": VALUES}, LABELS)

            @framework.signature({"text": framework.Feature((), "string")})
            def from_text(self, inputs):
                numbers = tf.strings.to_number(tf.strings.split(inputs["text"], ",").to_tensor(shape=(None, 4)))
                return {"values": tf.ensure_shape(numbers, (None, 4))}

        _, exporter = make(Own())
        manifest = read_manifest(tmp_path / str(exporter.publish(tmp_path)))
        assert manifest["proof"]["not_called"] == {"from_text": "nobody knows what clients send to it"}
        jsonschema.validate(manifest, schema())


class TestMetrics:
    def test_other_metrics_than_keras_reported_are_refused(self, made, pipeline, tmp_path):
        model, exporter = made
        metrics = evaluated(model, pipeline)
        exporter.publish(tmp_path, metrics=metrics)
        wrong = {**metrics, "val_loss": metrics["val_loss"] * 1.01}
        with pytest.raises(ProofError, match=r"loss on 20 of 20 examples of the validation split is .*Keras reported"):
            exporter.publish(tmp_path, metrics=wrong)
        assert list_versions(tmp_path) == [1]

    def test_one_example_may_lie_on_a_threshold(self, made, pipeline, tmp_path):
        model, exporter = made
        metrics = evaluated(model, pipeline)
        exporter.publish(tmp_path, metrics={**metrics, "val_accuracy": metrics["val_accuracy"] - 1 / 20})
        with pytest.raises(ProofError, match="accuracy on 20 of 20"):
            exporter.publish(tmp_path, metrics={**metrics, "val_accuracy": metrics["val_accuracy"] - 2 / 20})

    def test_the_check_can_be_left_out(self, pipeline, tmp_path):
        _, exporter = make(pipeline, exports=Exports(proof=Proof(metrics=False)))
        manifest = read_manifest(tmp_path / str(exporter.publish(tmp_path, metrics={"val_loss": 123.0})))
        assert manifest["proof"]["metrics"] == {"not_computed": "it wasn't asked for"}

    def test_where_nothing_was_evaluated_nothing_is_compared(self, made, pipeline, tmp_path):
        manifest = read_manifest(tmp_path / str(Exporter(made[0], pipeline).publish(tmp_path)))
        assert "nothing was evaluated" in manifest["proof"]["metrics"]["not_computed"]

    def test_a_metric_that_cant_be_made_again_is_said(self, made, pipeline, tmp_path):
        class Share(keras.metrics.Mean):
            def __init__(self, above):
                super().__init__(name="share")

        evaluation = Evaluation(8, {"loss": TASK.loss(), "metrics": [Share(0.5)]})
        exporter = Exporter(made[0], pipeline, evaluation=evaluation)
        manifest = read_manifest(tmp_path / str(exporter.publish(tmp_path)))
        assert "'share' can't be made again" in manifest["proof"]["metrics"]["not_computed"]

    def test_an_example_that_cant_be_sent_is_named(self, tmp_path):
        def preprocess(features):
            small = tf.debugging.assert_less(features["values"], 100.0, message="out of range")
            with tf.control_dependencies([small]):
                return {"values": tf.identity(features["values"])}

        pipeline = framework.pipeline_from_arrays(
            {"values": VALUES.copy()}, LABELS, task=TASK, validation=0.4, preprocess=preprocess
        )
        _, exporter = make(pipeline)
        validation = pipeline.source("validation")
        validation.arrays.features["values"][13, 2] = 101.0
        error = rf"(?s)can't be called with {validation.place(13)} of the validation split: .*out of range"
        with pytest.raises(ProofError, match=error) as refused:
            exporter.publish(tmp_path)
        assert (refused.value.check, refused.value.signature) == ("metrics", "serving_default")

    def test_regularization_isnt_in_an_answer(self, pipeline, tmp_path):
        def regularized(inputs, task):
            return keras.layers.Dense(2, kernel_regularizer="l2")(inputs["values"])

        model, exporter = make(pipeline, regularized)
        manifest = read_manifest(tmp_path / str(exporter.publish(tmp_path, metrics=evaluated(model, pipeline))))
        metrics = manifest["proof"]["metrics"]
        assert metrics["not_compared"].keys() == {"loss"}
        assert metrics["values"]["accuracy"] == pytest.approx(metrics["reported"]["accuracy"])


class Live:
    """A signature of the live model in the place of an export's, and a clock that each call puts forward."""

    def __init__(self, exporter):
        self.functions = exporter.signatures.functions
        self.seconds = 0.0

    def call(self, signature, inputs):
        self.seconds += 1.0
        tensors = {name: tf.constant(value) for name, value in inputs.items()}
        return {name: value.numpy() for name, value in self.functions[signature](**tensors).items()}


class TestBudget:
    def validation(self, made, pipeline, live, **arguments):
        model, _ = made
        evaluation = Evaluation(8, {"loss": TASK.loss(), "metrics": TASK.metrics()})
        receivers = framework.data.serving.receivers(pipeline)
        return Validation(pipeline, model, receivers, evaluation=evaluation, clock=lambda: live.seconds, **arguments)

    def progress(self, made, pipeline):
        """Keras' running metrics after each batch."""
        found = []

        class Watch(keras.callbacks.Callback):
            def on_test_batch_end(self, batch, logs=None):
                found.append({name: float(value) for name, value in logs.items()})

        dataset = framework.data.evaluate.eval_dataset(pipeline, "validation", batch_size=8)
        made[0].evaluate(dataset, callbacks=[Watch()], verbose=0)
        assert len(found) == 3
        return found

    def test_a_part_is_compared_with_what_keras_had_after_it(self, made, pipeline):
        live, progress = Live(made[1]), self.progress(made, pipeline)
        validated = self.validation(made, pipeline, live).run(live, progress, budget_secs=1.5)
        assert (validated.examples, validated.of) == (16, 20)
        assert validated.reported == progress[1]
        assert validated.values == pytest.approx(progress[1], rel=1e-5)
        progress[1] = {name: value * 1.2 for name, value in progress[1].items()}
        again = self.validation(made, pipeline, live)
        with pytest.raises(ProofError, match="on 16 of 20 examples"):
            again.run(live, progress, budget_secs=1.5)

    def test_it_goes_on_to_where_keras_said_something(self, made, pipeline):
        live, progress = Live(made[1]), self.progress(made, pipeline)
        progress[0] = progress[1] = {}  # several steps a call
        validated = self.validation(made, pipeline, live).run(live, progress, budget_secs=0.0)
        assert validated.examples == 20

    def test_with_slices_it_goes_to_the_end(self, made, pipeline):
        live, progress = Live(made[1]), self.progress(made, pipeline)
        positive = Slice("positive", lambda features, labels: features["values"][:, 0] > 0)
        validated = self.validation(made, pipeline, live, slices=[positive]).run(live, progress, budget_secs=0.0)
        assert validated.examples == 20
        count = int((pipeline.source("validation").arrays.features["values"][:, 0] > 0).sum())
        assert validated.slices["positive"]["true"]["examples"] == count

    def test_replicas_that_differ_are_a_warning(self, made, pipeline, caplog):
        live = Live(made[1])
        progress = [{"loss": 5.0}] * 3
        validated = self.validation(made, pipeline, live, is_strict=False).run(live, progress, budget_secs=9.0)
        assert validated.reported == {"loss": 5.0}
        assert "BatchNormalization(synchronized=True)" in caplog.text


class TestRequests:
    def test_a_small_split_is_sent_over_again(self, pipeline):
        stored = stored_examples(pipeline, 45)
        first = pipeline.source("validation").arrays.features["values"]
        np.testing.assert_array_equal(stored["values"], np.concatenate([first, first, first])[:45])

    def test_features_that_are_decoded_already_are_no_request_for_encoded_ones(self):
        encoded = framework.data.serving.Receiver({"image": framework.Feature((), "string")}, dict, dict)
        assert make_request(encoded, {"image": np.zeros((1, 4, 4, 1), np.uint8)}) is None
        assert make_request(encoded, {"image": np.array([b"png"], object)}) is not None

    def test_without_a_pipeline_values_are_made_up(self):
        receiver = framework.data.serving.Receiver(
            {"x": framework.Feature((None, 2), "float16"), "text": framework.Feature((), "string")}, dict
        )
        requests = Requests(None, {"serving_default": receiver})
        made = requests.of(3)["serving_default"]
        assert (made["x"].shape, made["x"].dtype, made["text"].tolist()) == ((3, 4, 2), np.float16, [""] * 3)
        assert requests.place(0) == "made up"


def test_a_process_that_dies_once_costs_nothing(made, tmp_path, monkeypatch):
    _, exporter = made
    staged, process = exporter.stage(tmp_path), fresh_process.shared()
    ask, died = process.ask, []

    def dying(command, *arguments):
        if command == "call" and not died:
            died.append(process._process.pid)
            process.kill()
        return ask(command, *arguments)

    monkeypatch.setattr(process, "ask", dying)
    prove(exporter, staged)
    assert died
    assert list_versions(tmp_path) == [1]


def test_another_format_is_made_before_the_export_is_published(pipeline, tmp_path):
    _, exporter = make(pipeline, exports=Exports(formats=("saved_model", "frozen")))
    staged = exporter.stage(tmp_path)
    (staged.model / "formats" / "frozen").mkdir(parents=True)  # a process died over it
    prove(exporter, staged)
    path = staged.target
    manifest = read_manifest(path)
    jsonschema.validate(manifest, schema())
    assert manifest["formats_refused"] == {}
    assert [row["format"] for row in manifest["formats"]] == ["saved_model", "frozen"]
    assert (path / "formats" / "frozen" / "frozen_graph.pb").exists()
    assert "## Formats" in (path / "model_card.md").read_text()


def test_a_format_that_cannot_be_had_is_a_warning(pipeline, tmp_path, monkeypatch, caplog):
    _, exporter = make(pipeline, exports=Exports(formats=("onnx",)))
    refused = FormatError("onnx", "It has the operations Odd, which the format doesn't know.")
    monkeypatch.setattr(publishing, "convert_all", lambda *arguments, **named: {"onnx": refused})
    staged = exporter.stage(tmp_path)
    prove(exporter, staged)
    assert read_manifest(staged.target)["formats_refused"] == {"onnx": str(refused)}
    assert f"published without the format 'onnx'. {refused}" in caplog.text


def test_thresholds_are_those_of_the_task_and_its_heads():
    heads = tasks.Heads({"a": tasks.BinaryClassification(threshold=0.7), "b": tasks.MultiLabelClassification(2)})
    assert thresholds_of(heads) == pytest.approx([0.7, math.log(7 / 3), 0.5, 0.0])
    assert thresholds_of(TASK) == thresholds_of(None) == []


@pytest.mark.parametrize(
    ("arguments", "error"),
    [({"budget_secs": -1.0}, "budget_secs must not be negative"), ({"tolerance": 0.0}, "tolerance must be positive")],
)
def test_impossible_settings(arguments, error):
    with pytest.raises(ValueError, match=error):
        Proof(**arguments)


def test_a_format_that_needs_examples_needs_a_pipeline(made):
    with pytest.raises(ValueError, match=r"litert_int8 .* needs a pipeline"):
        Exporter(made[0], exports=Exports(formats=("litert_int8",)))


def test_slices_need_a_validation_split(tmp_path):
    pipeline = framework.pipeline_from_arrays({"values": VALUES}, LABELS, task=TASK, validation=None)
    with pytest.raises(ValueError, match="Slices are parts of the validation split, and there is none"):
        make(pipeline, exports=Exports(slices=("values",)))


def test_slices_need_an_evaluation(made, pipeline):
    with pytest.raises(ValueError, match=r"computed as Keras evaluates: say how, evaluation="):
        Exporter(made[0], pipeline, exports=Exports(slices=("values",)))


def test_a_policy_of_slices_needs_slices():
    from framework.export import Policy

    with pytest.raises(ValueError, match=r"compares slices: name them, Exports\(slices=\.\.\.\)"):
        Exports(policy=Policy(max_drop={"accuracy": 0.1}))


def test_settings_come_back_from_a_configuration():
    from framework.training.config import plain

    exports = Exports(keep=None, answers=Answers(top_k=2), warmup=(1,), proof=Proof(budget_secs=5.0), slices=("x",))
    found = Exports.from_config(json.loads(json.dumps(plain(exports))))
    assert (found.keep, found.answers, found.warmup, found.proof) == (None, Answers(top_k=2), (1,), exports.proof)
    assert found.slices == ()


def test_the_moment_of_a_staged_export(made, tmp_path):
    staged = made[1].stage(tmp_path, Moment(4, 9, {"loss": 0.5}))
    assert staged.version == 1
    assert made[1].stage(tmp_path).version == 2  # the first one still waits
