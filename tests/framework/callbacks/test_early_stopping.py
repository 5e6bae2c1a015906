import math

import keras
import numpy as np
import pytest

from framework.callbacks import EarlyStopping
from framework.tasks import Objective

NAN = math.nan


def stopped_at(values, *, mode="min", **arguments):
    """The epoch after which training would stop, or `None`."""
    callback = EarlyStopping(Objective("val_x", mode), **arguments)
    callback.set_model(keras.Sequential())
    callback.model.stop_training = False
    callback.on_train_begin()
    for epoch, value in enumerate(values):
        callback.on_epoch_end(epoch, {"loss": 1.0, "val_x": value})
        if callback.model.stop_training:
            return epoch
    return None


def expected(values, *, mode, patience, min_delta, start_from_epoch):
    """By the definition: stop once `patience` epochs in a row brought nothing better by more than `min_delta`.

    The first epoch that is counted is what the others are measured by, were it NaN.
    """
    best, wait = None, 0
    for epoch, value in enumerate(values):
        if epoch < start_from_epoch:
            continue
        value = math.inf if math.isnan(value) else value if mode == "min" else -value
        if best is None or value < best - min_delta:
            best, wait = value, 0
        else:
            wait += 1
            if wait >= patience and epoch > 0:
                return epoch
    return None


@pytest.mark.parametrize(
    ("values", "patience", "stop"),
    [
        ([3, 2, 1, 0], 1, None),
        ([3, 2, 2, 2], 2, 3),
        ([3, 4, 5, 6], 3, 3),
        ([NAN, 3, 2, 1], 1, None),  # Keras' own takes the NaN for the best value, and stops at once
        ([NAN, 3, 2, 2], 1, 3),
        ([NAN, NAN, NAN], 2, 2),
        ([3, NAN, 2, NAN, NAN], 2, 4),
        ([3, NAN, NAN, 2], 3, None),
    ],
)
def test_patience(values, patience, stop):
    assert stopped_at(values, patience=patience) == stop
    assert stopped_at([-value for value in values], mode="max", patience=patience) == stop


def test_keras_own_is_still_fooled_by_a_nan_in_the_first_epoch():
    # When this fails, the subclass is no longer needed.
    callback = keras.callbacks.EarlyStopping(monitor="val_x", mode="min", patience=2)
    callback.set_model(keras.Sequential())
    callback.on_train_begin()
    for epoch, value in enumerate([NAN, 3.0, 2.0]):
        callback.on_epoch_end(epoch, {"val_x": value})
    assert math.isnan(callback.best)
    assert callback.model.stop_training


@pytest.mark.parametrize("mode", ["min", "max"])
def test_random_histories_stop_where_the_definition_says(mode):
    rng = np.random.default_rng(1)
    stops = []
    for _ in range(200):
        values = rng.integers(0, 6, size=12).astype(float)
        values[rng.random(12) < 0.2] = NAN
        arguments = {
            "patience": int(rng.integers(1, 8)),
            "min_delta": float(rng.choice([0.0, 1.0])),
            "start_from_epoch": int(rng.choice([0, 0, 3])),
        }
        stops.append(expected(values, mode=mode, **arguments))
        assert stopped_at(values, mode=mode, **arguments) == stops[-1], (values, arguments)
    assert None in stops
    assert len(set(stops)) > 5


def test_logs_of_others_are_left_alone():
    callback = EarlyStopping(Objective("val_x", "min"), patience=1)
    callback.set_model(keras.Sequential())
    callback.on_train_begin()
    logs = {"val_x": NAN}
    callback.on_epoch_end(0, logs)
    assert math.isnan(logs["val_x"])
