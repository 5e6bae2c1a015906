import json
import math
import threading
import time

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.callbacks import ExportBest
from framework.data.evaluate import eval_dataset
from framework.export import (
    Evaluation,
    Exporter,
    Exports,
    Moment,
    ParityError,
    Policy,
    Proof,
    ProofError,
    Record,
    Slice,
    list_versions,
    read_manifest,
)
from framework.export.formats.errors import FormatInterrupted
from framework.export.parity import Difference
from framework.export.saved_model import SavedModelWriter
from framework.tasks import Objective

RNG = np.random.default_rng(0)
ONE = RNG.normal(size=(16, 2)).astype(np.float32)
TWO = RNG.normal(size=(16, 2)).astype(np.float32)
TARGET = (ONE[:, :1] - 2 * TWO[:, 1:]).astype(np.float32)


def asymmetric(first, second):
    """Tells its inputs apart although they have the same shape."""
    return keras.layers.Dense(1, name="sum")(keras.layers.Subtract()([first, keras.layers.Rescaling(3.0)(second)]))


def single():
    one = keras.Input((2,), name="one")
    return keras.Model(one, keras.layers.Dense(1)(one)), ONE, TARGET, {"one": ONE}


def sequential():
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(3), keras.layers.Dropout(0.5)])
    model.add(keras.layers.Dense(1))
    return model, ONE, TARGET, {"inputs": ONE}


def sequential_built_by_fit():
    return keras.Sequential([keras.layers.Dense(1)]), ONE, TARGET, {"inputs": ONE}


def dict_input():
    # Named against the alphabet, in which tf.nest and SavedModel sort.
    one, two = keras.Input((2,), name="z"), keras.Input((2,), name="a")
    sent = {"z": ONE, "a": TWO}
    return keras.Model({"z": one, "a": two}, asymmetric(one, two)), sent, TARGET, sent


def list_input():
    one, two = keras.Input((2,), name="z"), keras.Input((2,), name="a")
    return keras.Model([one, two], asymmetric(one, two)), [ONE, TWO], TARGET, {"z": ONE, "a": TWO}


def many_outputs():
    one = keras.Input((2,), name="one")
    outputs = [keras.layers.Dense(1, name="y")(one), keras.layers.Dense(1, name="b")(one)]
    return keras.Model(one, outputs), ONE, [TARGET, -TARGET], {"one": ONE}


def named_outputs():
    one = keras.Input((2,), name="one")
    outputs = {"y": keras.layers.Dense(1, name="y")(one), "b": keras.layers.Dense(1, name="b")(one)}
    return keras.Model(one, outputs), ONE, {"y": TARGET, "b": -TARGET}, {"one": ONE}


def named(predicted):
    if isinstance(predicted, dict):
        return predicted
    if isinstance(predicted, list):
        return {f"outputs_{index}": value for index, value in enumerate(predicted)}
    return {"outputs": predicted}


@pytest.mark.parametrize(
    "form",
    [single, sequential, sequential_built_by_fit, dict_input, list_input, many_outputs, named_outputs],
    ids=lambda form: form.__name__,
)
def test_bare_fit_exports_what_the_model_predicts(form, tmp_path):
    model, x, y, sent = form()
    model.compile("sgd", "mse")
    callback = ExportBest(tmp_path / "export", objective="loss")
    model.fit(x, y, batch_size=8, epochs=1, callbacks=[callback], verbose=0)
    assert (callback.best.version, callback.best.epoch, callback.best.step) == (1, 0, 2)

    loaded = tf.saved_model.load(str(tmp_path / "export" / "1"))
    assert list(loaded.signatures) == ["serving_default"]
    answered = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in sent.items()})
    predicted = named(model.predict(x, verbose=0))
    assert set(answered) == set(predicted)
    for name, value in predicted.items():
        np.testing.assert_allclose(answered[name], value, rtol=0, atol=1e-5)


@pytest.fixture(scope="module")
def pipeline():
    return framework.pipeline_from_arrays(
        {"one": ONE, "two": TWO},
        TARGET[:, 0],
        validation=0.25,
        preprocess=lambda features: {"both": tf.concat([features["one"], features["two"]], axis=1)},
    )


def linear(inputs, task):
    return task.logits(inputs["both"])


def test_bare_fit_with_a_pipeline_has_its_signatures_and_objective(pipeline, tmp_path):
    model = framework.build_model(linear, pipeline.interface(), pipeline.task)
    model.compile("sgd", pipeline.task.loss(), metrics=pipeline.task.metrics())
    callback = ExportBest(tmp_path, pipeline)
    assert callback.objective == Objective("val_rmse", "min")
    datasets = [eval_dataset(pipeline, phase, batch_size=6) for phase in ("train", "validation")]
    model.fit(datasets[0], validation_data=datasets[1], callbacks=[callback], shuffle=False, verbose=0)

    signatures = tf.saved_model.load(str(tmp_path / "1")).signatures
    assert set(signatures) == {"serving_default", "serialized", "features"}
    answered = signatures["serving_default"](one=tf.constant(ONE), two=tf.constant(TWO))["value"]
    predicted = model.predict({"both": np.concatenate([ONE, TWO], axis=1)}, verbose=0)
    np.testing.assert_allclose(answered, predicted[:, 0], rtol=0, atol=1e-5)


def test_misspelt_monitor_is_an_error_at_the_first_evaluation_that_lists_what_there_is(tmp_path):
    model, x, y, _ = single()
    model.compile("sgd", "mse", metrics=["mae"])
    epochs = []
    count = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: epochs.append(epoch))
    callback = ExportBest(tmp_path, objective="val_losss")
    with pytest.raises(
        LookupError, match=r"'val_losss' isn't in the logs\. Did you mean 'val_loss'.*loss, mae, val_loss"
    ):
        model.fit(x, y, epochs=3, validation_data=(x, y), callbacks=[count, callback], verbose=0)
    assert epochs == [0]
    assert list_versions(tmp_path) == []


@pytest.fixture(scope="module")
def model():
    """A model to which epochs can happen without training."""
    one = keras.Input((2,), name="one")
    model = keras.Model(one, keras.layers.Dense(1)(one))
    model.compile("sgd", "mse")
    return model


def begin(model, directory, **arguments):
    callback = ExportBest(directory, **arguments)
    callback.set_model(model)
    callback.on_train_begin()
    return callback


def play(callback, values, first=0):
    """Lets epochs happen; returns the versions published after each."""
    seen = []
    for epoch, value in enumerate(values, first):
        callback.on_epoch_end(epoch, {"loss": 1.0, callback.objective.monitor: value})
        seen.append(callback.best and callback.best.version)
    return seen


@pytest.mark.parametrize(
    ("monitor", "values", "published"),
    [
        ("val_accuracy", [0.5, 0.7, 0.6, 0.7, 0.8], [1, 2, 2, 2, 3]),
        ("val_loss", [0.5, 0.7, 0.5, 0.4, 0.4], [1, 1, 1, 2, 2]),
        ("val_loss", [math.nan, math.nan, 0.7, math.nan, 0.6], [None, None, 1, 1, 2]),
        ("val_accuracy", [math.nan, 0.1, math.nan], [None, 1, 1]),
        ("val_loss", [math.inf, 3.0], [1, 2]),
    ],
)
def test_only_a_strict_improvement_is_published(model, tmp_path, monitor, values, published):
    callback = begin(model, tmp_path, objective=monitor, exports=Exports(keep=None))
    assert play(callback, values) == published
    assert list_versions(tmp_path) == sorted({version for version in published if version})
    best = json.loads((tmp_path / "best.json").read_text())
    assert (best["version"], best["metrics"][monitor]) == (callback.best.version, callback.best.metrics[monitor])
    assert best["epoch"] == published.index(callback.best.version)


@pytest.mark.parametrize(("keep", "stay"), [(0, [4]), (1, [4]), (2, [3, 4]), (3, [2, 3, 4]), (None, [1, 2, 3, 4])])
def test_keep(model, tmp_path, keep, stay):
    (tmp_path / "mine").mkdir()
    play(begin(model, tmp_path, objective="val_accuracy", exports=Exports(keep=keep)), [0.1, 0.2, 0.3, 0.2, 0.4])
    assert list_versions(tmp_path) == stay
    assert (tmp_path / "mine").is_dir()


@pytest.mark.parametrize("keep", [0, 1, None])
def test_restart_never_demotes_the_best(model, tmp_path, keep):
    play(begin(model, tmp_path, objective="val_accuracy", exports=Exports(keep=keep)), [0.5, 0.9])
    before = list_versions(tmp_path)
    again = begin(model, tmp_path, objective="val_accuracy", exports=Exports(keep=keep))
    assert again.best == Record(2, 1, 0, {"loss": 1.0, "val_accuracy": 0.9})
    assert play(again, [0.8, 0.9, math.nan], first=2) == [2, 2, 2]
    assert list_versions(tmp_path) == before
    assert play(again, [0.91], first=5) == [3]


def test_the_best_stays_even_when_it_is_the_oldest(model, tmp_path):
    play(begin(model, tmp_path, objective=Objective("val_x", "max"), exports=Exports(keep=None)), [0.3, 0.4, 0.5])
    # Now less is better: the first version is the best, and the only one to stay.
    other_way = begin(model, tmp_path, objective=Objective("val_x", "min"), exports=Exports(keep=0))
    assert other_way.best.version == 1
    assert list_versions(tmp_path) == [1]
    assert play(other_way, [0.35, 0.1], first=3) == [1, 2]


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_what_an_interrupted_writer_left_is_swept(model, tmp_path):
    (tmp_path / ".tmp-7-abc" / "variables").mkdir(parents=True)
    (tmp_path / ".tmp-best.json-xyz").write_text("{")
    begin(model, tmp_path, objective="loss")
    assert names(tmp_path) == [".lock"]


def broken(self, *arguments, **named):
    raise OSError("no space left")


def test_record_moves_only_after_the_export_is_whole(model, tmp_path, monkeypatch):
    callback = begin(model, tmp_path, objective="val_accuracy")
    play(callback, [0.5])
    before = (callback.best, (tmp_path / "best.json").read_bytes(), names(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(SavedModelWriter, "write", broken)
        with pytest.raises(OSError, match="no space left"):
            callback.on_epoch_end(1, {"val_accuracy": 0.9})
    assert (callback.best, (tmp_path / "best.json").read_bytes(), names(tmp_path)) == before
    assert play(callback, [0.6], first=2) == [2]


class TestInTheBackground:
    """While the next epoch trains, an export is proven; what is written aside survives until then."""

    def stop_before_the_proof(self, model, directory, values, monkeypatch):
        """What a process leaves that dies as soon as an export is written aside."""
        callback = begin(model, directory, objective="val_accuracy")
        play(callback, values[:-1])
        with monkeypatch.context() as patch:
            patch.setattr(ExportBest, "_submit", lambda self, *exports: None)
            callback.on_epoch_end(len(values) - 1, {"loss": 1.0, "val_accuracy": values[-1]})

    def test_an_epoch_ends_while_the_proof_goes_on(self, model, tmp_path, monkeypatch):
        callback = begin(model, tmp_path, objective="val_accuracy")
        gate, prove = threading.Event(), Exporter.prove
        monkeypatch.setattr(Exporter, "prove", lambda *arguments: (gate.wait(60), prove(*arguments))[1])
        callback.on_epoch_end(0, {"val_accuracy": 0.5})
        assert list_versions(tmp_path) == []
        assert names(tmp_path) == [".lock", ".staged-1"]
        gate.set()
        assert callback.best.version == 1
        assert names(tmp_path) == [".lock", "1", "best.json", "latest.json"]

    def test_an_error_surfaces_at_the_end_of_the_next_epoch(self, model, tmp_path, monkeypatch):
        callback = begin(model, tmp_path, objective="val_accuracy")
        monkeypatch.setattr(Exporter, "prove", broken)
        callback.on_epoch_end(0, {"val_accuracy": 0.5})
        with pytest.raises(OSError, match="no space left"):
            callback.on_epoch_end(1, {"val_accuracy": 0.1})
        assert list_versions(tmp_path) == []

    def test_an_error_surfaces_at_the_end_of_training_at_the_latest(self, model, tmp_path, monkeypatch):
        callback = begin(model, tmp_path, objective="val_accuracy")
        monkeypatch.setattr(Exporter, "prove", broken)
        callback.on_epoch_end(0, {"val_accuracy": 0.5})
        with pytest.raises(OSError, match="no space left"):
            callback.on_train_end()

    def test_one_that_is_refused_waits_for_another_try(self, model, tmp_path, monkeypatch):
        callback = begin(model, tmp_path, objective="val_accuracy")
        with monkeypatch.context() as patch:
            patch.setattr(
                "framework.export.proof.find_difference", lambda *arguments, **named: Difference("y", 0, 1, 2)
            )
            callback.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})
            with pytest.raises(ParityError, match=r"It waits in .*/\.staged-1 for another try; delete that directory"):
                callback.on_train_end()
        assert begin(model, tmp_path, objective="val_accuracy").best.version == 1

    def test_what_a_process_left_unproven_is_published_by_the_next_one(self, model, tmp_path, monkeypatch):
        self.stop_before_the_proof(model, tmp_path, [0.5, 0.9], monkeypatch)
        assert names(tmp_path) == [".lock", ".staged-2", "1", "best.json", "latest.json"]
        again = begin(model, tmp_path, objective="val_accuracy")
        assert again.best == Record(2, 1, 0, {"loss": 1.0, "val_accuracy": 0.9})
        assert names(tmp_path) == [".lock", "2", "best.json", "latest.json"]
        # The epoch is trained once more, as a run does that has no checkpoint of its end: nothing is published twice.
        assert play(again, [0.9, 0.8], first=1) == [2, 2]

    def test_a_proof_that_was_interrupted_is_made_up_for(self, model, tmp_path, monkeypatch):
        callback = begin(model, tmp_path, objective="val_accuracy")
        reached, process = threading.Event(), callback._exporter._process
        ask = process.ask

        def hanging(command, *arguments):
            if command == "call":
                reached.set()
                time.sleep(0.2)
            return ask(command, *arguments)

        monkeypatch.setattr(process, "ask", hanging)
        callback.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})
        assert reached.wait(60)
        callback.leave()
        monkeypatch.undo()
        assert names(tmp_path) == [".lock", ".staged-1"]
        assert begin(model, tmp_path, objective="val_accuracy").best.version == 1

    def test_formats_that_are_being_made_dont_keep_the_process(self, model, tmp_path, monkeypatch):
        reached = threading.Event()

        def convert(*arguments):
            reached.set()
            interrupted = arguments[-1]
            assert interrupted.wait(60)
            raise FormatInterrupted

        monkeypatch.setattr("framework.export.exporter.complete", convert)
        callback = begin(model, tmp_path, objective="val_accuracy")
        callback.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})
        assert reached.wait(60)
        callback.leave()
        assert names(tmp_path) == [".lock", ".staged-1"]

    @pytest.mark.parametrize("metrics", [{"val_accuracy": 0.5}, {"val_accuracy": 0.4}, {"val_loss": 0.1}])
    def test_what_waits_and_isnt_better_is_deleted(self, model, tmp_path, metrics):
        """As a process leaves it that exports the best once more, or for another objective, and dies."""
        play(begin(model, tmp_path, objective="val_accuracy"), [0.5])
        Exporter(model).stage(tmp_path, Moment(3, 5, metrics))
        assert names(tmp_path) == [".lock", ".staged-2", "1", "best.json", "latest.json"]
        assert begin(model, tmp_path, objective="val_accuracy").best.version == 1
        assert names(tmp_path) == [".lock", "1", "best.json", "latest.json"]

    def test_a_training_that_fails_has_its_last_export_published(self, model, tmp_path):
        callback = begin(model, tmp_path, objective="val_accuracy")
        callback.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})
        with pytest.raises(RuntimeError, match="training fails"), callback.ending():
            raise RuntimeError("training fails")
        assert list_versions(tmp_path) == [1]

    def test_the_next_training_in_a_process_waits_for_the_last_export_of_the_one_before(self, model, tmp_path):
        callback = begin(model, tmp_path, objective="val_accuracy")
        callback.on_epoch_end(0, {"loss": 1.0, "val_accuracy": 0.5})  # and an exception that nobody told it of
        assert begin(model, tmp_path, objective="val_accuracy").best.version == 1


class TestPolicy:
    def test_a_candidate_that_is_worse_elsewhere_is_refused_and_recorded(self, model, tmp_path):
        exports = Exports(policy=Policy(improve={"val_auc": -0.01}))
        callback = begin(model, tmp_path, objective="val_accuracy", exports=exports)
        for epoch, (accuracy, auc) in enumerate([(0.5, 0.9), (0.6, 0.8), (0.55, 0.895)]):
            callback.on_epoch_end(epoch, {"val_accuracy": accuracy, "val_auc": auc})
        # The last one is held against the first, not against the one that was refused.
        assert callback.best == Record(2, 2, 0, {"val_accuracy": 0.55, "val_auc": 0.895})
        assert names(tmp_path) == [".lock", "2", "best.json", "latest.json", "refused.json"]
        [refused] = json.loads((tmp_path / "refused.json").read_text())
        assert (refused["epoch"], refused["metrics"]) == (1, {"val_accuracy": 0.6, "val_auc": 0.8})
        assert refused["reasons"] == ["val_auc is 0.8, the best's 0.9: it must be worse by 0.01 at most."]
        # Trained once more after a restart, the same epoch is refused once more, and recorded once.
        again = begin(model, tmp_path, objective="val_accuracy", exports=exports)
        again.on_epoch_end(1, {"val_accuracy": 0.6, "val_auc": 0.8})
        assert again.best.version == 2
        assert len(json.loads((tmp_path / "refused.json").read_text())) == 1

    def test_a_candidate_that_loses_on_a_slice_is_refused(self, tmp_path):
        values = np.linspace(-1.0, 1.0, 20).astype(np.float32)
        data = framework.pipeline_from_arrays(values, np.sign(values), validation=0.5)
        network = framework.build_model(
            lambda inputs, task: task.logits(inputs["features"][:, None]), data.interface(), data.task
        )
        compiled = {"loss": data.task.loss(), "metrics": data.task.metrics()}
        network.compile("sgd", **compiled)
        negative = Slice("negative", lambda features, labels: labels < 0)
        policy = Policy(max_drop={"rmse": 0.5}, min_examples=2)
        exports = Exports(slices=[negative], policy=policy, proof=Proof(metrics=False))
        callback = ExportBest(tmp_path, data, exports=exports, evaluation=Evaluation(4, compiled))
        callback.set_model(network)
        callback.on_train_begin()
        for epoch, bias in enumerate((0.0, 1.0, -0.4)):  # what it answers to everything
            network.set_weights([np.zeros((1, 1)), np.full(1, bias)])
            callback.on_epoch_end(epoch, {"val_rmse": 1.0 - 0.1 * epoch})
        assert callback.best.epoch == 2
        parts = read_manifest(tmp_path / str(callback.best.version))["slices"]["negative"]
        assert parts["true"]["metrics"]["rmse"] == pytest.approx(0.6)
        [refused] = json.loads((tmp_path / "refused.json").read_text())
        count = parts["true"]["examples"]
        assert refused["reasons"] == [
            f"rmse on negative=true ({count} examples) is 2, the best's 1: it may be worse by 0.5 at most."
        ]


def test_what_json_hasnt_is_text_in_pointers(model, tmp_path):
    def refuse(name):
        raise AssertionError(f"{name} isn't JSON")

    exports = Exports(policy=Policy(improve={"val_auc": 0.1}))
    callback = begin(model, tmp_path, objective="val_accuracy", exports=exports)
    for accuracy in (0.5, 0.6):
        callback.on_epoch_end(0, {"val_accuracy": accuracy, "val_auc": math.nan})
    callback.on_train_end()
    best, refused = (
        json.loads((tmp_path / name).read_text(), parse_constant=refuse) for name in ("best.json", "refused.json")
    )
    assert best["metrics"] == {"val_accuracy": 0.5, "val_auc": "NaN"}
    assert refused[0]["metrics"] == {"val_accuracy": 0.6, "val_auc": "NaN"}


@pytest.mark.parametrize("validation_freq", [2, [2, 4]])
def test_epochs_between_evaluations_are_not_judged(validation_freq, model, tmp_path):
    callback = begin(model, tmp_path, objective="val_loss", validation_freq=validation_freq)
    callback.on_epoch_end(0, {"loss": 0.1})
    assert callback.best is None
    callback.on_epoch_end(1, {"loss": 0.1, "val_loss": 0.2})
    assert callback.best.epoch == 1
    with pytest.raises(LookupError, match="val_loss"):
        callback.on_epoch_end(3, {"loss": 0.1})


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val_loss", "min"),
        ("loss", "min"),
        ("val_mean_absolute_error", "min"),
        ("val_rmse", "min"),
        ("val_accuracy", "max"),
        ("val_sparse_categorical_accuracy", "max"),
        ("val_auc", "max"),
        ("val_head_f1_score", "max"),
        ("accuracy_loss", "min"),
    ],
)
def test_direction_goes_without_saying(tmp_path, name, mode):
    assert ExportBest(tmp_path, objective=name).objective == Objective(name, mode)


def test_unclear_direction_is_asked_for(tmp_path):
    with pytest.raises(
        ValueError, match=r"Is more or less of 'val_score' better\? Say Objective\('val_score', 'max'\)"
    ):
        ExportBest(tmp_path, objective="val_score")
    assert ExportBest(tmp_path, objective=Objective("val_score", "min")).objective.mode == "min"


def test_neither_objective_nor_pipeline_is_an_error(tmp_path):
    with pytest.raises(TypeError, match="needs an objective, such as 'val_accuracy', or a pipeline"):
        ExportBest(tmp_path)


@pytest.mark.parametrize("steps_per_execution", [1, 8])
def test_a_metric_that_serving_doesnt_reach_is_refused(pipeline, tmp_path, steps_per_execution):
    """What a signature is asked is the split as it is stored; evaluation here sees something else."""
    model = framework.build_model(linear, pipeline.interface(), pipeline.task)
    metrics = pipeline.task.metrics()
    model.compile("sgd", pipeline.task.loss(), metrics=metrics, steps_per_execution=steps_per_execution)
    train = eval_dataset(pipeline, "train", batch_size=6)
    validation = eval_dataset(pipeline, "validation", batch_size=2)
    evaluation = Evaluation(2, {"loss": pipeline.task.loss(), "metrics": pipeline.task.metrics()})
    callback = ExportBest(tmp_path / "same", pipeline, evaluation=evaluation)
    model.fit(train, validation_data=validation, callbacks=[callback], shuffle=False, verbose=0)
    proof = read_manifest(tmp_path / "same" / "1")["proof"]["metrics"]
    assert (proof["signature"], proof["examples"], proof["of"]) == ("serving_default", 4, 4)
    assert proof["values"].keys() == proof["reported"].keys() == {"loss", "rmse", "mae"}
    for name, value in proof["values"].items():
        assert value == pytest.approx(callback.best.metrics[f"val_{name}"], rel=1e-5)

    skewed = validation.map(lambda inputs, labels: ({"both": inputs["both"] * 2}, labels))
    callback = ExportBest(tmp_path / "skewed", pipeline, evaluation=evaluation)
    with pytest.raises(
        ProofError, match=r"on 4 of 4 examples of the validation split is .*, Keras reported .* 'metrics'"
    ):
        model.fit(train, validation_data=skewed, callbacks=[callback], shuffle=False, verbose=0)
    assert list_versions(tmp_path / "skewed") == []
