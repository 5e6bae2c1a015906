import random

import keras
import pytest

from framework.testing import assert_model_conforms, toy_values


def wants_what_no_toy_has(inputs, task):
    return task.logits(inputs["audio"])


def centres_over_the_batch(inputs, task):
    x = inputs["values"]
    return task.logits(x - keras.ops.mean(x, axis=0, keepdims=True))


def is_not_finite(inputs, task):
    return task.logits(keras.ops.log(inputs["values"]))


def cuts_gradients_off(inputs, task):
    hidden = keras.layers.Dense(4, name="forgotten")(inputs["values"])
    return task.logits(keras.ops.stop_gradient(hidden))


def has_nothing_to_train(inputs, task):
    return keras.ops.sum(inputs["values"], axis=-1, keepdims=True)


def has_gradients_without_end(inputs, task):
    return task.logits(keras.ops.sqrt(keras.layers.Dense(4, kernel_initializer="zeros")(inputs["values"])))


class Moody(keras.layers.Layer):
    """Its state is a Python attribute, of which a checkpoint knows nothing."""

    def __init__(self):
        super().__init__()
        self.mood = random.random()

    def call(self, x):
        return x * self.mood


def hides_state(inputs, task):
    return task.logits(Moody()(inputs["values"]))


class PythonNoise(keras.layers.Layer):
    """Draws from a generator whose state no checkpoint holds."""

    def call(self, x, training=False):
        return x * random.random() if training else x


def draws_from_python(inputs, task):
    return task.logits(PythonNoise()(inputs["values"]))


@pytest.mark.parametrize(
    ("builder", "message"),
    [
        (centres_over_the_batch, "answers an example differently in a batch of 16 and of 1 .*computed over the batch"),
        (is_not_finite, "answers its output with NaN or infinity"),
        (
            cuts_gradients_off,
            r"the loss doesn't depend on the trainable weights \['forgotten/kernel', 'forgotten/bias'\]",
        ),
        (has_nothing_to_train, "has no trainable weights"),
        (has_gradients_without_end, r"the gradients of \[.*kernel.*\] are NaN or infinite at the first step"),
        (hides_state, "0 steps after a checkpoint another model answers its output differently .*keras.Variables"),
        (draws_from_python, "1 steps after a checkpoint another model answers its output differently"),
    ],
)
def test_a_model_that_doesn_t_conform(builder, message):
    with pytest.raises(AssertionError, match=rf"Model '{builder.__name__}'.*{message}"):
        assert_model_conforms(builder, toy_values())


def test_a_model_that_fits_no_toy():
    with pytest.raises(AssertionError, match="'wants_what_no_toy_has' builds on none of the toys; give") as error:
        assert_model_conforms(wants_what_no_toy_has)
    for toy, features in (("table", "colour"), ("images", "image"), ("values", "values")):
        assert any(toy in line and features in line and "'audio'" in line for line in str(error.value).splitlines())


def test_a_model_that_doesn_t_learn():
    def ignores_its_weights(inputs, task):
        return 0.0 * task.logits(inputs["values"])

    with pytest.raises(
        AssertionError, match=r"'ignores_its_weights' doesn't learn: the loss .* after an epoch of ToyValues"
    ):
        assert_model_conforms(ignores_its_weights, toy_values())


def test_a_misspelt_hparam_passes_through():
    with pytest.raises(ValueError, match="no hyper-parameter 'widht'"):
        assert_model_conforms("mlp", hparams={"widht": 3})
