import math

import keras
import numpy as np
import pytest

from framework.callbacks import NonFiniteLossError, StopOnNonFinite


class PoisonAt(keras.callbacks.Callback):
    """Makes a weight NaN before one step."""

    def __init__(self, epoch, step):
        super().__init__()
        self.when, self.epoch = (epoch, step), None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            self.model.set_weights([np.full_like(weight, math.nan) for weight in self.model.get_weights()])


@pytest.mark.parametrize(("steps_per_execution", "when", "said"), [(1, (1, 2), (1, 2)), (4, (1, 4), (1, 7))])
def test_says_at_which_step_the_loss_was_lost(steps_per_execution, when, said):
    x, y = np.ones((16, 1), np.float32), np.ones((16, 1), np.float32)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse", steps_per_execution=steps_per_execution)
    callbacks = [PoisonAt(*when), StopOnNonFinite("The last good state is in runs/1.")]
    with pytest.raises(NonFiniteLossError) as caught:
        model.fit(x, y, batch_size=2, epochs=3, callbacks=callbacks, verbose=0)
    assert (caught.value.epoch, caught.value.step) == said
    assert str(caught.value).startswith(f"The loss is nan at epoch {said[0]}, step {said[1]} (counted from 0).")
    assert "smaller learning rate" in str(caught.value)
    assert str(caught.value).endswith("The last good state is in runs/1.")


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_neither_nan_nor_infinity_pass(loss):
    callback = StopOnNonFinite()
    callback.on_epoch_begin(4)
    with pytest.raises(ArithmeticError, match=f"The loss is {loss} at epoch 4, step 9") as caught:
        callback.on_train_batch_end(9, {"loss": loss})
    assert not str(caught.value).endswith(" ")


def test_only_the_loss_is_looked_at():
    callback = StopOnNonFinite()
    callback.on_epoch_begin(0)
    for logs in ({"loss": 1e38}, {"loss": 0.0, "metric": math.nan}, {}, None):
        callback.on_train_batch_end(0, logs)
