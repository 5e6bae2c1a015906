"""That the settings of `Optimization` do in a run what they say, against NumPy."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data.ready_made import ReadyMadePipeline
from framework.data.train import train_dataset

RNG = np.random.default_rng(0)
X = RNG.normal(size=(36, 3)).astype(np.float32)
VALUES = (X @ [1.0, -2.0, 0.5] + 0.1 * RNG.normal(size=36)).astype(np.float32)
CLASSES = np.array([0, 0, 0, 2, 2, 0] * 6)
CONSTANT = framework.Schedule("constant", warmup=0.0)
SGD = {"optimizer": "sgd", "learning_rate": 0.05, "schedule": CONSTANT, "steps_per_execution": 1}


def linear(inputs, task):
    return task.logits(inputs["x"])


def hidden(inputs, task):
    return task.logits(keras.layers.Dense(8, activation="relu", name="hidden")(inputs["x"]))


def table(labels, **arguments):
    return framework.pipeline_from_arrays(
        {"x": X[:24]}, labels[:24], validation=({"x": X[24:]}, labels[24:]), **arguments
    )


def train(run_dir, pipeline, settings, builder=linear, **arguments):
    arguments = {"epochs": 3, "batch_size": 8, "stopping": None, "verbose": 0, **arguments}
    optimization = framework.Optimization(**{**SGD, **settings})
    return framework.fit(builder, pipeline, run_dir=run_dir, optimization=optimization, **arguments)


def initial(pipeline):
    return framework.build_model(linear, pipeline.interface(), pipeline.task, seed=0).get_weights()


def exported(run):
    reader = tf.train.load_checkpoint(str(run.export_dir / "variables" / "variables"))
    return [reader.get_tensor(f"model_variables/{index}/.ATTRIBUTES/VARIABLE_VALUE") for index in (0, 1)]


def test_what_is_judged_and_exported_are_the_averaged_weights(tmp_path):
    pipeline = table(VALUES)
    run = train(tmp_path, pipeline, {"ema": 0.8})

    kernel, bias = (weight.astype(np.float64) for weight in initial(pipeline))
    average, seen = None, []
    for step, (inputs, labels) in enumerate(train_dataset(pipeline, batch_size=8, seed=0).take(9)):
        x, y = inputs["x"].numpy(), labels.numpy()[:, np.newaxis]
        error = 2 * (x @ kernel + bias - y) / len(y)
        kernel, bias = kernel - 0.05 * x.T @ error, bias - 0.05 * error.sum(axis=0)
        weights = np.concatenate([kernel.ravel(), bias])
        average = weights if average is None else 0.8 * average + 0.2 * weights
        if step % 3 == 2:
            seen.append(average)
    rmse = [np.sqrt(np.mean((X[24:] @ weights[:3] + weights[3] - VALUES[24:]) ** 2)) for weights in seen]
    raw = np.sqrt(np.mean((X[24:] @ kernel[:, 0] + bias - VALUES[24:]) ** 2))
    assert abs(raw - rmse[-1]) > 0.01

    np.testing.assert_allclose(run.history["val_rmse"], rmse, rtol=1e-5)
    assert run.best.epoch == int(np.argmin(rmse))
    for weights in (exported(run), run.model.get_weights()):
        np.testing.assert_allclose(np.concatenate([w.ravel() for w in weights]), seen[run.best.epoch], rtol=1e-5)


def test_two_accumulated_batches_are_one_of_twice_the_size(tmp_path):
    pipeline = table(VALUES)
    settings = {"weight_decay": 0.1, "clip_norm": 3.0}
    whole = train(tmp_path / "whole", pipeline, settings, batch_size=8)
    halves = train(tmp_path / "halves", pipeline, {**settings, "accumulation_steps": 2}, batch_size=4)
    for one, other in zip(whole.model.get_weights(), halves.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    assert (whole.best.epoch, whole.best.step) == (halves.best.epoch, halves.best.step)
    np.testing.assert_allclose(whole.history["val_loss"], halves.history["val_loss"], rtol=1e-5)


def cross_entropies(logits, labels):
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]


class TestClassWeights:
    # Class 1 isn't in the training split.
    BALANCED = {0: 24 / (2 * 16), 2: 24 / (2 * 8)}

    @pytest.mark.parametrize("given", [{0: 0.25, 2: 4.0}, "balanced"], ids=str)
    def test_training_loss_is_weighted_and_nothing_else_is(self, tmp_path, given):
        pipeline = table(CLASSES, task=tasks.Classification(3))
        run = train(tmp_path, pipeline, {"class_weight": given}, epochs=1, batch_size=24)

        kernel, bias = initial(pipeline)
        weights = self.BALANCED if given == "balanced" else given
        losses = cross_entropies(X[:24] @ kernel + bias, CLASSES[:24])
        weighted = np.mean(losses * [weights[label] for label in CLASSES[:24]])
        assert abs(weighted - losses.mean()) > 0.01
        assert run.history["loss"] == [pytest.approx(weighted, rel=1e-5)]
        correct = np.argmax(X[:24] @ kernel + bias, axis=1) == CLASSES[:24]
        assert run.history["accuracy"] == [pytest.approx(correct.mean())]

        kernel, bias = run.model.get_weights()
        validation = cross_entropies(X[24:] @ kernel + bias, CLASSES[24:]).mean()
        assert run.history["val_loss"] == [pytest.approx(validation, rel=1e-5)]
        assert run.evaluate("validation")["loss"] == pytest.approx(validation, rel=1e-5)

    @pytest.mark.parametrize(
        ("pipeline", "weights", "error"),
        [
            (table(CLASSES), {0: 1.0}, r"has no weight for the classes \[2\]; 1\.0 leaves one as it is"),
            (table(VALUES), "balanced", "needs one integer label an example"),
            (
                ReadyMadePipeline(
                    {"train": framework.ArraySource({"x": X}, CLASSES, np.ones(36))}, tasks.Classification(3)
                ),
                "balanced",
                "can't be combined with the weights that the training split's examples have",
            ),
        ],
        ids=["class without weight", "no classes", "weighted examples"],
    )
    def test_what_cant_be_weighted_is_an_error_before_the_first_step(self, tmp_path, pipeline, weights, error):
        with pytest.raises(ValueError, match=error):
            train(tmp_path, pipeline, {"class_weight": weights})
        assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize("precision", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision_trains_and_exports_float32(tmp_path, precision):
    pipeline = table(VALUES)
    optimizers = []
    note = keras.callbacks.LambdaCallback(on_train_begin=lambda logs: optimizers.append(note.model.optimizer))
    settings = {"precision": precision, "ema": 0.5, "learning_rate": 0.02}
    run = train(tmp_path, pipeline, settings, hidden, callbacks=[note])
    assert run.history["val_loss"][-1] < 0.9 * run.history["val_loss"][0]
    assert run.model.get_layer("hidden").compute_dtype == precision.removeprefix("mixed_")
    assert (type(optimizers[0]).__name__ == "LossScaleOptimizer") == (precision == "mixed_float16")
    assert {variable.dtype for variable in run.model.variables} == {"float32"}

    loaded = tf.saved_model.load(str(run.export_dir))
    answered = loaded.signatures["serving_default"](x=tf.constant(X))["value"]
    assert answered.dtype == tf.float32
    np.testing.assert_allclose(answered, run.predict(X)["value"], rtol=0, atol=1e-5)
    reader = tf.train.load_checkpoint(str(run.export_dir / "variables" / "variables"))
    stored = {name: dtype for name, dtype in reader.get_variable_to_dtype_map().items() if "model_variables" in name}
    assert len(stored) == 4
    assert set(stored.values()) == {tf.float32}
    # The policy was this model's alone.
    assert keras.config.dtype_policy().name == "float32"
    # What is judged is what was exported, also in half precision.
    rmse = np.sqrt(np.mean((answered.numpy()[24:] - VALUES[24:]) ** 2))
    assert run.best.metrics["val_rmse"] == pytest.approx(rmse, rel=1e-3)


def test_steps_of_one_call_give_the_same_bits(tmp_path):
    pipeline = table(CLASSES, task=tasks.Classification(3))
    runs = [
        train(
            tmp_path / str(steps), pipeline, {"steps_per_execution": steps, "optimizer": "adam"}, hidden, batch_size=4
        )
        for steps in (1, 3, "auto")
    ]
    for other in runs[1:]:
        assert other.history == runs[0].history
        for one, another in zip(runs[0].model.get_weights(), other.model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, another)
