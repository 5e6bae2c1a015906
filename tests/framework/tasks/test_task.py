import dataclasses
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

from framework.features import Feature
from framework.tasks import Objective, Task
from framework.tasks import task as task_module


@pytest.fixture(scope="module")
def counts():
    """The task that the module's docstring defines."""
    lines = task_module.__doc__.split("\n\n", 2)[2]
    names = {"dataclasses": dataclasses, "Task": Task, "Feature": Feature, "keras": keras, "tf": tf}
    exec(textwrap.dedent(lines), {"__name__": __name__} | names, names)
    return names["Counts"]()


def test_a_task_of_one_s_own_is_four_members(counts, evaluate):
    random = np.random.default_rng(0)
    outputs, labels = random.uniform(0.5, 3.0, (23, 1)), random.poisson(2.0, 23).astype(np.float32)
    got = evaluate(counts, outputs, labels)
    assert got == {"loss": pytest.approx(np.mean(outputs[:, 0] - labels * np.log(outputs[:, 0] + 1e-7)), rel=1e-5)}
    np.testing.assert_allclose(counts.predictions(tf.constant(outputs))["count"], outputs[:, 0])


def test_what_a_task_has_by_default(counts):
    assert counts.objective == Objective("val_loss", "min")
    assert counts.metrics() == []
    assert counts.from_logits is None
    assert counts.describe() == {"type": "Counts"}


def test_logits_are_float32_under_mixed_precision(counts):
    x = keras.Input((4,), dtype="bfloat16")
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        end = counts.logits(x, name="end")
    finally:
        keras.config.set_dtype_policy("float32")
    assert (end.shape, end.dtype) == ((None, 1), "float32")


@pytest.mark.parametrize("shape", [(2,), (1, 1), ()])
def test_outputs_of_another_shape_are_refused(counts, shape):
    wrong = keras.Input(shape)
    with pytest.raises(ValueError, match=r"output of shape \(None.*Counts expects \(None, 1\)\. End it with"):
        counts.check_outputs(wrong)


def test_what_is_no_output_is_refused(counts):
    right = keras.Input((1,))
    assert counts.check_outputs(right) is right
    assert counts.check_outputs({"any name": right}) is right
    with pytest.raises(TypeError, match=r"must return a Keras tensor \[batch, 1\] for Counts, got ndarray"):
        counts.check_outputs(np.zeros((2, 1)))
    with pytest.raises(TypeError, match=r"got a dict of \['a', 'b'\]"):
        counts.check_outputs({"b": right, "a": right})


def test_labels_of_another_shape_are_refused(counts):
    counts.check_labels(np.zeros(3), "here")
    with pytest.raises(ValueError, match=r"Labels in here have shape \(2,\) per example, Counts expects \(\)"):
        counts.check_labels(np.zeros((3, 2)), "here")


def test_a_task_without_its_members_can_t_be_made():
    @dataclasses.dataclass(frozen=True)
    class Unfinished(Task):
        pass

    with pytest.raises(TypeError, match="abstract"):
        Unfinished()
