"""What `fit` writes and returns, when it starts, and when it refuses."""

import json
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.training.run_directory import ConfigurationError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(64, 4)).astype(np.float32)
Y = (X[:, 0] + 0.3 * RNG.normal(size=64) > 0).astype(np.int64)
EACH_STEP = framework.Optimization(learning_rate=0.05, steps_per_execution=1)


def tiny(inputs, task, *, width: int = 8, dropout: float = 0.1):
    x = keras.layers.Dense(width, activation="relu")(inputs["x"])
    return task.logits(keras.layers.Dropout(dropout)(x))


def table(x=X, y=Y):
    return framework.pipeline_from_arrays(
        {"x": x[:40]}, y[:40], validation=({"x": x[40:52]}, y[40:52]), test=({"x": x[52:]}, y[52:])
    )


class Counting(keras.callbacks.Callback):
    """Notes what is called, in order."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_begin(self, logs=None):
        self.calls.append("train begins")

    def on_epoch_begin(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} begins")

    def on_test_begin(self, logs=None):
        self.calls.append("test begins")

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(f"epoch {epoch} ends with {sorted(logs)}")

    def on_train_end(self, logs=None):
        self.calls.append("train ends")

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def train(run_dir, pipeline=None, **arguments):
    arguments = {"epochs": 3, "batch_size": 12, "optimization": EACH_STEP, "verbose": 0, **arguments}
    return framework.fit(tiny, pipeline or table(), run_dir=run_dir, **arguments)


@pytest.fixture(scope="module")
def counting():
    return Counting()


@pytest.fixture(scope="module")
def finished(tmp_path_factory, counting):
    return train(tmp_path_factory.mktemp("runs") / "new" / "run", callbacks=[counting], hparams={"width": 6})


def again(finished, **arguments):
    return train(finished.run_dir, **{"callbacks": [Counting()], "hparams": {"width": 6}, **arguments})


class TestWhatIsThereAfterwards:
    def test_directory(self, finished):
        names = {path.name for path in finished.run_dir.iterdir() if not path.name.startswith(".")}
        assert names == {
            "config.json",
            "result.json",
            "statistics.npz",
            "profile.json",
            "history.csv",
            "checkpoints",
            "export",
            "logs",
            "report",
        }
        assert {path.name for path in (finished.run_dir / "report").iterdir()} == {
            "learning_curves.png",
            "train_examples.png",
            "confusion_test.png",
        }
        assert list(finished.run_dir.glob("**/.tmp-*")) == []

    def test_history_is_the_file(self, finished):
        lines = (finished.run_dir / "history.csv").read_text().splitlines()
        assert len(lines) == 4
        assert set(finished.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
        rows = [dict(zip(lines[0].split(","), line.split(","), strict=True)) for line in lines[1:]]
        assert [row["epoch"] for row in rows] == ["0", "1", "2"]
        for name, values in finished.history.items():
            assert [float(row[name]) for row in rows] == values
            assert all(math.isfinite(value) for value in values)

    def test_best_is_the_epoch_of_the_history_with_the_best_objective(self, finished):
        accuracies = finished.history["val_accuracy"]
        assert finished.best.epoch == int(np.argmax(accuracies))
        assert finished.best.step == 4 * (finished.best.epoch + 1)  # ceil(40 / 12) steps an epoch
        assert finished.best.metrics == {name: values[finished.best.epoch] for name, values in finished.history.items()}
        assert finished.export_dir == finished.run_dir / "export" / str(finished.best.version)
        assert (finished.export_dir / "saved_model.pb").exists()
        pointer = json.loads((finished.run_dir / "export" / "best.json").read_text())
        assert (pointer["version"], pointer["epoch"]) == (finished.best.version, finished.best.epoch)
        result = json.loads((finished.run_dir / "result.json").read_text())
        assert (result["epochs"], result["epochs_done"], result["stopped_early"]) == (3, 3, False)

    def test_model_has_the_weights_of_the_best_epoch(self, finished):
        scores = finished.evaluate("validation")
        for name, value in scores.items():
            assert value == pytest.approx(finished.best.metrics[f"val_{name}"], abs=1e-6)

    def test_configuration_is_resolved(self, finished):
        config = json.loads((finished.run_dir / "config.json").read_text())
        assert config["model"]["hparams"] == {"width": 6, "dropout": 0.1}
        assert config["model"]["builder"].endswith("test_fit:tiny")
        assert config["pipeline"]["features"] == {"x": {"shape": [4], "dtype": "float32"}}
        assert config["pipeline"]["task"]["num_classes"] == 2
        assert {phase: data["examples"] for phase, data in config["pipeline"]["data"].items()} == {
            "train": 40,
            "validation": 12,
            "test": 12,
        }
        training = config["training"]
        assert training["objective"] == {"monitor": "val_accuracy", "mode": "max"}
        assert training["optimization"]["learning_rate"] == 0.05
        assert training["optimization"]["schedule"]["kind"] == "cosine"
        assert training["stopping"]["patience"] == 10
        assert training["callbacks"] == ["Counting"]
        assert (config["epochs"], training["batch_size"], training["seed"]) == (3, 12, 0)
        assert config["environment"]["keras"] == keras.__version__
        assert config["environment"]["tensorflow"] == tf.__version__

    @pytest.mark.parametrize("phase", ["train", "validation"])
    def test_tensorboard_has_the_history(self, finished, phase):
        seen = {}
        for path in (finished.run_dir / "logs" / phase).iterdir():
            for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = tf.compat.v1.Event.FromString(record)
                for value in event.summary.value:
                    seen.setdefault(value.tag, {})[event.step] = float(tf.make_ndarray(value.tensor))
        prefix = "val_" if phase == "validation" else ""
        for name in ("loss", "accuracy"):
            history = finished.history[f"{prefix}{name}"]
            assert [seen[f"epoch_{name}"][epoch] for epoch in range(3)] == pytest.approx(history)

    def test_callbacks_of_ones_own_are_called_by_keras(self, counting):
        epoch = [
            ["test begins", f"epoch {number} ends with ['accuracy', 'loss', 'val_accuracy', 'val_loss']"]
            for number in range(3)
        ]
        expected = ["train begins"]
        for number in range(3):
            expected += [f"epoch {number} begins", *epoch[number]]
        assert counting.calls == [*expected, "train ends"]


def stamps(run_dir):
    """When each file was last written; the lock is touched by whoever looks."""
    files = (path for path in run_dir.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in files}


class TestCalledAgain:
    def test_a_finished_run_comes_back_and_nothing_is_written(self, finished):
        before = stamps(finished.run_dir)
        callback = Counting()
        run = again(finished, callbacks=[callback])
        assert stamps(finished.run_dir) == before
        assert callback.calls == []
        assert (run.best, run.history, run.export_dir) == (finished.best, finished.history, finished.export_dir)
        assert run.evaluate("test") == finished.evaluate("test")
        for one, other in zip(run.model.get_weights(), finished.model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_fewer_epochs_are_refused(self, finished):
        with pytest.raises(ConfigurationError, match=r"holds a run of 3 epochs, now 2 are asked for"):
            again(finished, epochs=2)

    @pytest.mark.parametrize(
        ("change", "difference"),
        [
            ({"batch_size": 10}, "training.batch_size: was 12, now 10"),
            ({"seed": 1}, "training.seed: was 0, now 1"),
            ({"hparams": {"width": 7}}, "model.hparams.width: was 6, now 7"),
            ({"objective": "val_loss"}, 'training.objective.monitor: was "val_accuracy", now "val_loss"'),
            ({"callbacks": []}, 'training.callbacks: was ["Counting"], now []'),
            ({"stopping": None}, "training.stopping: was {"),
            (
                {"optimization": framework.Optimization(learning_rate=0.01, steps_per_execution=1)},
                "training.optimization.learning_rate: was 0.05, now 0.01",
            ),
            ({"pipeline": table(x=X + 1)}, "pipeline.data.train.fingerprint: was "),
            ({"pipeline": table(y=1 - Y)}, "pipeline.data.validation.fingerprint: was "),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
    )
    def test_another_configuration_is_refused_by_what_differs(self, finished, change, difference):
        before = stamps(finished.run_dir)
        with pytest.raises(ConfigurationError) as caught:
            again(finished, **change)
        named = str(caught.value).splitlines()[1:-1]
        assert any(line.strip().startswith(difference) for line in named)
        # Nothing is named that doesn't follow from the one change.
        part = difference.partition(":")[0].rpartition(".")[0].partition(".data.")[0]
        assert all(line.strip().startswith(part) for line in named)
        assert stamps(finished.run_dir) == before

    def test_a_call_that_failed_before_the_first_step_can_be_corrected(self, tmp_path):
        with pytest.raises(LookupError, match=r"'val_acuracy' won't be in the logs\. Did you mean 'val_accuracy'"):
            train(tmp_path, objective=framework.Objective("val_acuracy", "max"), epochs=1)
        with pytest.raises(ValueError, match=r"class_weight has no weight for the classes \[1\]"):
            train(tmp_path, optimization=framework.Optimization(class_weight={0: 1.0}), epochs=1)
        assert train(tmp_path, epochs=1).best.epoch == 0


class TestInterruptedWithOtherEpochs:
    class Dies(keras.callbacks.Callback):
        armed = True

        def on_epoch_begin(self, epoch, logs=None):
            if self.armed and epoch == 2:
                raise RuntimeError("killed")

    def test_fewer_than_asked_for_before_are_refused(self, tmp_path):
        with pytest.raises(RuntimeError, match="killed"):
            train(tmp_path, callbacks=[self.Dies()], epochs=4)
        with pytest.raises(ConfigurationError, match=r"holds a run of 4 epochs, now 3 are asked for"):
            train(tmp_path, callbacks=[self.Dies()], epochs=3)


class Half(keras.losses.Loss):
    """Has a name that Keras makes up: another one for each object of the process."""

    def call(self, y_true, y_pred):
        return 0.5 * keras.ops.abs(keras.ops.reshape(y_true, (-1, 1)) - y_pred)


def keras_objects():
    return {
        "optimization": framework.Optimization(
            optimizer=keras.optimizers.AdamW(0.01, clipnorm=1.0), steps_per_execution=1
        ),
        "loss": Half(),
        "metrics": [keras.metrics.MeanSquaredError(name="square"), "mae"],
        "objective": framework.Objective("val_square", "min"),
        "epochs": 2,
    }


@pytest.fixture(scope="module")
def amounts():
    return table(y=X[:, 1] * 2)


@pytest.fixture(scope="module")
def with_objects(amounts, tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), amounts, **keras_objects())


class TestKerasObjects:
    def test_they_are_used(self, with_objects):
        error = X[52:, 1] * 2 - with_objects.predict({"x": X[52:]})["value"]
        assert with_objects.evaluate("test") == {
            "loss": pytest.approx(np.abs(error).mean() / 2, rel=1e-5),
            "square": pytest.approx((error**2).mean(), rel=1e-5),
            "mae": pytest.approx(np.abs(error).mean(), rel=1e-5),
        }
        assert set(with_objects.history) == {"loss", "square", "mae", "val_loss", "val_square", "val_mae"}
        assert with_objects.best.epoch == int(np.argmin(with_objects.history["val_square"]))
        config = json.loads((with_objects.run_dir / "config.json").read_text())["training"]["optimization"]["optimizer"]
        assert (config["class"], config["config"]["clipnorm"]) == ("AdamW", 1.0)

    def test_a_finished_run_is_evaluated_with_them_too(self, with_objects, amounts):
        before = stamps(with_objects.run_dir)
        run = train(with_objects.run_dir, amounts, **keras_objects())
        assert run.evaluate("test") == with_objects.evaluate("test")
        assert stamps(with_objects.run_dir) == before

    def test_loaded_again_they_have_to_be_known(self, with_objects, amounts):
        with pytest.raises(LookupError, match=r"loss or metric 'Half' can't be made again .*custom_object_scope"):
            framework.Run.load(with_objects.run_dir, model=tiny, pipeline=amounts)
        with keras.saving.custom_object_scope({"Half": Half}):
            loaded = framework.Run.load(with_objects.run_dir, model=tiny, pipeline=amounts)
        assert loaded.evaluate("test") == with_objects.evaluate("test")


class TestStopping:
    def test_early(self, tmp_path, capsys):
        still = framework.Optimization(
            optimizer="sgd", learning_rate=1e-12, schedule=framework.Schedule("constant", warmup=0.0)
        )
        arguments = {"optimization": still, "stopping": framework.Stopping(patience=2), "epochs": 9, "verbose": 2}
        run = train(tmp_path, **arguments)
        # The first epoch is the best for good: two more without improvement, and the end.
        assert len(run.history["loss"]) == 3
        assert (run.best.epoch, run.best.version) == (0, 1)
        result = json.loads((tmp_path / "result.json").read_text())
        assert (result["epochs"], result["epochs_done"], result["stopped_early"]) == (9, 3, True)
        assert "Epoch 3/9" in capsys.readouterr().out
        assert train(tmp_path, **arguments).history == run.history

    def test_callback_of_ones_own_may_stop_it(self, tmp_path):
        class Enough(keras.callbacks.Callback):
            def on_epoch_end(self, epoch, logs=None):
                self.model.stop_training = epoch == 1

        run = train(tmp_path, callbacks=[Enough()], epochs=5)
        assert len(run.history["loss"]) == 2
        assert train(tmp_path, callbacks=[Enough()], epochs=5).history == run.history


def test_without_a_validation_split_training_decides(tmp_path, capsys):
    pipeline = framework.pipeline_from_arrays({"x": X}, Y, validation=None)
    run = train(tmp_path, pipeline, epochs=2)
    assert set(run.history) == {"loss", "accuracy"}
    assert run.best.epoch == int(np.argmax(run.history["accuracy"]))
    assert capsys.readouterr().out == ""


class Learns(framework.Pipeline):
    """Counts how often it looks at the training split."""

    features = {"x": framework.Feature((4,))}
    task = framework.tasks.Classification(2)
    learned = 0

    def source(self, phase):
        part = {"train": slice(0, 40), "validation": slice(40, 64)}.get(phase)
        return part and framework.ArraySource({"x": X[part]}, Y[part])

    def learn(self, train):
        type(self).learned += 1
        return framework.data.statistics.moments(train, ["x"])

    def preprocess(self, features):
        return {"x": self.statistics.standardize("x", features["x"])}


def test_statistics_are_learned_once_from_the_training_split_alone(tmp_path):
    run = train(tmp_path, Learns, epochs=1)
    np.testing.assert_allclose(run.pipeline.statistics["x/mean"], X[:40].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(run.pipeline.statistics["x/deviation"], X[:40].std(axis=0), rtol=1e-5)
    train(tmp_path, Learns(), epochs=1)
    assert Learns.learned == 1


@pytest.mark.parametrize("epochs", [0, -1, 2.0, True])
def test_epochs_are_a_positive_integer(tmp_path, epochs):
    with pytest.raises(ValueError, match=f"epochs must be a positive integer, got {epochs}"):
        train(tmp_path, epochs=epochs)
