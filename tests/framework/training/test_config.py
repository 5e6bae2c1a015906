import dataclasses
import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from framework.tasks import Objective
from framework.training.config import (
    Checkpoints,
    Divergence,
    Exports,
    Optimization,
    Schedule,
    Stopping,
    plain,
)


class TestErrors:
    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"kind": "linear"}, r"kind must be 'constant' or 'cosine', got 'linear'"),
            ({"warmup": 1.0}, r"warmup is a share in \[0, 1\), got 1\.0"),
            ({"warmup": -0.1}, r"warmup is a share in \[0, 1\), got -0\.1"),
            ({"warmup": math.nan}, r"warmup is a share in \[0, 1\), got nan"),
            ({"final": 1.1}, r"final is a share in \[0, 1\], got 1\.1"),
        ],
    )
    def test_schedule(self, arguments, error):
        with pytest.raises(ValueError, match=error):
            Schedule(**arguments)

    @pytest.mark.parametrize(
        ("arguments", "error"),
        [
            ({"optimizer": "adamm"}, r"Unknown optimizer 'adamm'\. Did you mean 'adam'.*Known: adam, adamw, sgd"),
            ({"learning_rate": 0.0}, r"learning_rate must be positive, got 0\.0"),
            ({"learning_rate": -1}, r"learning_rate must be positive, got -1"),
            ({"learning_rate": math.nan}, r"learning_rate must be positive, got nan"),
            ({"learning_rate": math.inf}, r"learning_rate must be positive, got inf"),
            ({"steps_per_execution": 0}, r"steps_per_execution must be 'auto' or at least 1, got 0"),
            ({"steps_per_execution": 2.0}, r"steps_per_execution must be 'auto' or at least 1, got 2\.0"),
            ({"steps_per_execution": "all"}, r"steps_per_execution must be 'auto' or at least 1, got 'all'"),
            ({"accumulation_steps": 0}, r"accumulation_steps must be at least 1, got 0"),
            (
                {"precision": "float16"},
                r"precision must be one of float32, mixed_float16, mixed_bfloat16, got 'float16'",
            ),
            ({"ema": 1.0}, r"ema is a momentum in \(0, 1\), got 1\.0"),
            ({"ema": 0.0}, r"ema is a momentum in \(0, 1\), got 0\.0"),
            ({"weight_decay": -0.1}, r"weight_decay must not be negative, got -0\.1"),
            ({"clip_norm": -1}, r"clip_norm must not be negative, got -1"),
            ({"clip_value": math.nan}, r"clip_value must not be negative, got nan"),
            (
                {"class_weight": "even"},
                r"class_weight must be a dict of class ids to weights or 'balanced', got 'even'",
            ),
        ],
    )
    def test_optimization(self, arguments, error):
        with pytest.raises(ValueError, match=error):
            Optimization(**arguments)

    def test_optimizer_of_another_kind(self):
        with pytest.raises(TypeError, match=r"optimizer must be a name or a keras\.optimizers\.Optimizer, got 3"):
            Optimization(optimizer=3)
        with pytest.raises(TypeError, match="must be a name or a keras"):
            Optimization(optimizer=keras.optimizers.Adam)

    def test_an_optimizer_object_brings_its_own_settings(self):
        with pytest.raises(ValueError, match=r"given as an object: set learning_rate, clip_norm, ema on it instead"):
            Optimization(optimizer=keras.optimizers.SGD(), learning_rate=0.1, clip_norm=1.0, ema=0.9)
        Optimization(optimizer=keras.optimizers.SGD(), precision="mixed_float16", class_weight="balanced")

    @pytest.mark.parametrize(
        ("settings", "error"),
        [
            ({"optimizer": "adam", "momentum": 0.9}, "'adam' doesn't take these settings: .*momentum"),
            ({"clip_norm": 1.0, "clip_value": 1.0}, "'adamw' doesn't take these settings: Only one of"),
        ],
    )
    def test_settings_that_dont_go_together(self, settings, error):
        with pytest.raises(ValueError, match=error):
            Optimization(**settings).build(10)

    @pytest.mark.parametrize(
        ("kind", "arguments", "error"),
        [
            (Stopping, {"patience": 0}, r"patience must be at least 1 epoch, got 0\. stopping=None never stops early"),
            (Stopping, {"min_delta": -1.0}, "min_delta and start_from_epoch must not be negative"),
            (Stopping, {"start_from_epoch": -1}, "min_delta and start_from_epoch must not be negative"),
            (Checkpoints, {"every_epochs": 0}, r"every_epochs must be positive, got 0"),
            (Checkpoints, {"every_steps": 0}, r"every_steps must be positive, got 0"),
            (Checkpoints, {"every_secs": 0}, r"every_secs must be positive, got 0"),
            (Checkpoints, {"keep": 0}, r"keep must be positive, got 0"),
            (Checkpoints, {"on_error": "ignore"}, r"on_error must be 'warn' or 'raise', got 'ignore'"),
            (Divergence, {"max_rollbacks": -1}, "max_rollbacks must not be negative, got -1"),
            (Divergence, {"factor": 1.0}, r"factor must be in \(0, 1\), got 1\.0"),
            (Exports, {"keep": -1}, r"keep must be None \(all\), 0 \(the best alone\) or a positive number, got -1"),
        ],
    )
    def test_the_others(self, kind, arguments, error):
        with pytest.raises(ValueError, match=error):
            kind(**arguments)

    @pytest.mark.parametrize("kind", [Schedule, Optimization, Stopping, Checkpoints, Divergence, Exports])
    def test_nothing_can_be_changed_afterwards(self, kind):
        made = kind()
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, dataclasses.fields(made)[0].name, None)


def rates(schedule, steps, total, peak=0.5):
    built = schedule.build(peak, total)
    return [float(built(step)) if callable(built) else built for step in steps]


class TestScheduleValues:
    def test_constant(self):
        assert rates(Schedule("constant", warmup=0.0), [0, 50, 100], 100) == [0.5, 0.5, 0.5]

    def test_constant_with_warm_up(self):
        seen = rates(Schedule("constant", warmup=0.1), [0, 1, 5, 9, 10, 11, 99], 100)
        np.testing.assert_allclose(seen, [0, 0.05, 0.25, 0.45, 0.5, 0.5, 0.5], atol=1e-7)

    @pytest.mark.parametrize("final", [0.0, 0.2, 1.0])
    def test_cosine(self, final):
        steps = np.array([0, 1, 25, 50, 99, 100, 150])
        seen = rates(Schedule("cosine", warmup=0.0, final=final), steps, 100)
        cosine = 0.5 * (1 + np.cos(np.pi * np.minimum(steps, 100) / 100))
        np.testing.assert_allclose(seen, 0.5 * ((1 - final) * cosine + final), atol=1e-7)

    @pytest.mark.parametrize("final", [0.0, 0.2])
    def test_cosine_with_warm_up(self, final):
        steps = np.array([0, 5, 10, 11, 55, 99, 100])
        seen = rates(Schedule("cosine", warmup=0.1, final=final), steps, 100)
        cosine = 0.5 * (1 + np.cos(np.pi * np.maximum(steps - 10, 0) / 90))
        expected = np.where(steps < 10, 0.5 * steps / 10, 0.5 * ((1 - final) * cosine + final))
        np.testing.assert_allclose(seen, expected, atol=1e-7)
        assert seen[0] == 0.0
        assert seen[2] == 0.5
        assert seen[-1] == pytest.approx(0.5 * final, abs=1e-7)

    def test_runs_of_a_few_steps(self):
        for total in (1, 2, 3):
            for kind in ("constant", "cosine"):
                seen = rates(Schedule(kind, warmup=0.9), range(total + 1), total)
                assert all(0 <= rate <= 0.5 for rate in seen)


def after(optimization, gradients, value, *, total_steps=1000):
    """A variable's value after some steps."""
    variable = keras.Variable(np.array(value, np.float32))
    optimizer = optimization.build(total_steps)
    for gradient in gradients:
        optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
    return variable.numpy()


SGD = {"optimizer": "sgd", "learning_rate": 0.1, "schedule": Schedule("constant", warmup=0.0)}
G1, G2, W = np.array([3.0, -4.0]), np.array([0.3, 0.4]), np.array([1.0, 2.0])


class TestOptimizersDoWhatIsAsked:
    def check(self, expected, **settings):
        np.testing.assert_allclose(after(Optimization(**SGD, **settings), [G1, G2], W), expected, rtol=1e-6)

    def test_plain(self):
        self.check(W - 0.1 * G1 - 0.1 * G2)

    def test_weight_decay_is_decoupled_and_scaled_by_the_rate(self):
        first = W * (1 - 0.1 * 0.5) - 0.1 * G1
        self.check(first * (1 - 0.1 * 0.5) - 0.1 * G2, weight_decay=0.5)

    def test_clip_norm_bounds_the_norm_of_all_together(self):
        self.check(W - 0.1 * G1 / 5 - 0.1 * G2, clip_norm=1.0)
        one, two = keras.Variable([0.0]), keras.Variable([0.0])
        optimizer = Optimization(**SGD, clip_norm=1.0).build(10)
        optimizer.apply([tf.constant([3.0]), tf.constant([4.0])], [one, two])
        np.testing.assert_allclose([one.numpy()[0], two.numpy()[0]], [-0.06, -0.08], rtol=1e-6)

    def test_clip_value_bounds_each(self):
        self.check(W - 0.1 * np.array([2.0, -2.0]) - 0.1 * G2, clip_value=2.0)

    def test_momentum(self):
        velocity = -0.1 * G1
        first = W + velocity
        self.check(first + 0.9 * velocity - 0.1 * G2, momentum=0.9)

    def test_accumulation_averages(self):
        self.check(W - 0.1 * (G1 + G2) / 2, accumulation_steps=2)
        np.testing.assert_array_equal(after(Optimization(**SGD, accumulation_steps=2), [G1], W), W)

    def test_schedule_runs_by_batches_accumulated_or_not(self):
        settings = {"optimizer": "sgd", "learning_rate": 0.5, "schedule": Schedule("cosine", warmup=0.0)}
        for accumulation_steps in (1, 2, 5):
            optimizer = Optimization(**settings, accumulation_steps=accumulation_steps).build(10)
            variable = keras.Variable([0.0])
            seen = []
            for _ in range(10):
                seen.append(float(optimizer.learning_rate))
                optimizer.apply([tf.constant([0.0])], [variable])
            expected = 0.25 * (1 + np.cos(np.pi * np.arange(10) / 10))
            np.testing.assert_allclose(seen, expected, atol=1e-6)
            assert float(optimizer.learning_rate) == pytest.approx(0, abs=1e-7)

    def test_averages(self):
        optimizer = Optimization(**SGD, ema=0.75).build(10)
        variable = keras.Variable(W.astype(np.float32))
        for gradient in (G1, G2):
            optimizer.apply([tf.constant(gradient, tf.float32)], [variable])
        optimizer.finalize_variable_values([variable])
        first = W - 0.1 * G1
        np.testing.assert_allclose(variable.numpy(), 0.75 * first + 0.25 * (first - 0.1 * G2), rtol=1e-6)

    @pytest.mark.parametrize(
        ("name", "kind"),
        [
            ("adam", keras.optimizers.Adam),
            ("AdamW", keras.optimizers.AdamW),
            ("sgd", keras.optimizers.SGD),
            ("rmsprop", keras.optimizers.RMSprop),
            ("adagrad", keras.optimizers.Adagrad),
            ("adafactor", keras.optimizers.Adafactor),
            ("lion", keras.optimizers.Lion),
            ("lamb", keras.optimizers.Lamb),
            ("nadam", keras.optimizers.Nadam),
            ("ftrl", keras.optimizers.Ftrl),
        ],
    )
    def test_names(self, name, kind):
        settings = {"weight_decay": 0.01, "clip_value": 2.0, "accumulation_steps": 2, "ema": 0.9}
        optimizer = Optimization(optimizer=name, learning_rate=0.2, schedule=SGD["schedule"], **settings).build(10)
        assert type(optimizer) is kind
        config = optimizer.get_config()
        assert config["learning_rate"] == pytest.approx(0.2)
        assert (config["weight_decay"], config["clipvalue"], config["gradient_accumulation_steps"]) == (0.01, 2.0, 2)
        assert (config["use_ema"], config["ema_momentum"]) == (True, 0.9)

    def test_what_isnt_asked_for_is_keras_default(self):
        built = Optimization(schedule=SGD["schedule"]).build(10).get_config()
        default = keras.optimizers.AdamW(1e-3).get_config()
        assert {**built, "name": ""} == {**default, "name": ""}

    def test_a_keras_schedule_is_taken_as_it_is(self):
        schedule = keras.optimizers.schedules.ExponentialDecay(0.3, 2, 0.5)
        optimizer = Optimization(optimizer="sgd", learning_rate=schedule).build(10)
        assert float(optimizer.learning_rate) == pytest.approx(0.3)
        optimizer.iterations.assign(2)
        assert float(optimizer.learning_rate) == pytest.approx(0.15)

    def test_an_optimizer_object_is_copied_with_all_it_says(self):
        given = keras.optimizers.SGD(0.25, momentum=0.5, nesterov=True, clipnorm=2.0, use_ema=True)
        given.apply([tf.constant([1.0])], [keras.Variable([1.0])])
        optimization = Optimization(optimizer=given)
        built = optimization.build(10)
        assert built is not given
        assert built.get_config() == given.get_config()
        assert (int(built.iterations), int(given.iterations)) == (0, 1)
        assert optimization.uses_ema
        assert not Optimization(optimizer=keras.optimizers.SGD()).uses_ema


@pytest.mark.parametrize("factor", [1.0, 0.25])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd", "learning_rate": 0.4, "schedule": Schedule("constant", warmup=0.0)},
        {"optimizer": "sgd", "learning_rate": 0.4, "schedule": Schedule("cosine", warmup=0.0)},
        {"optimizer": keras.optimizers.SGD(0.4)},
        {"optimizer": keras.optimizers.SGD(keras.optimizers.schedules.CosineDecay(0.4, 10))},
    ],
)
def test_factor_multiplies_whatever_rate_there_is(settings, factor):
    optimizer = Optimization(**settings).build(10, factor=factor)
    assert float(optimizer.learning_rate) == pytest.approx(0.4 * factor)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert float(again.learning_rate) == pytest.approx(0.4 * factor)


class Watching(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        pass


class WatchingTheOldWay(keras.callbacks.Callback):
    def on_batch_begin(self, batch, logs=None):
        pass


class TestStepsPerExecution:
    @pytest.mark.parametrize(("steps", "chosen"), [(1, 1), (7, 7), (32, 32), (64, 32), (60, 30), (37, 1), (74, 2)])
    def test_auto_takes_the_largest_divisor_up_to_32(self, steps, chosen):
        assert Optimization().choose_steps_per_execution(steps, []) == chosen

    @pytest.mark.parametrize("watcher", [Watching(), WatchingTheOldWay()])
    def test_auto_lets_a_callback_see_every_batch(self, watcher):
        calls_at_epochs = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)
        assert Optimization().choose_steps_per_execution(64, [calls_at_epochs]) == 32
        assert Optimization().choose_steps_per_execution(64, [calls_at_epochs, watcher]) == 1
        assert Optimization(steps_per_execution=4).choose_steps_per_execution(64, [watcher]) == 4

    def test_what_doesnt_divide_the_epoch_is_an_error(self):
        assert Optimization(steps_per_execution=5).choose_steps_per_execution(20, []) == 5
        error = r"steps_per_execution=8 doesn't divide the 20 steps of an epoch\. Divisors: 1, 2, 4, 5, 10, 20; or use"
        with pytest.raises(ValueError, match=error):
            Optimization(steps_per_execution=8).choose_steps_per_execution(20, [])


def test_the_same_optimizer_made_again_is_the_same_configuration():
    # Keras calls the second one of a process "adam_w_1".
    first, second = keras.optimizers.AdamW(0.5), keras.optimizers.AdamW(0.5)
    assert first.name != second.name
    assert plain(Optimization(optimizer=first)) == plain(Optimization(optimizer=second))
    assert plain(Optimization(optimizer=first)) != plain(Optimization(optimizer=keras.optimizers.AdamW(0.25)))


def test_configuration_as_json_holds_it():
    assert plain(Optimization(optimizer=keras.optimizers.SGD(0.5)))["optimizer"]["config"]["learning_rate"] == 0.5
    assert plain(Optimization(class_weight={0: 1.0}))["class_weight"] == {"0": 1.0}
    assert plain({"a": (1, np.float32(0.5), None), 2: Objective("loss", "min"), "f": plain}) == {
        "a": [1, 0.5, None],
        "2": {"monitor": "loss", "mode": "min"},
        "f": "plain",
    }
    assert plain(Stopping) == "Stopping"
    assert plain(object()) == "<builtins.object>"
