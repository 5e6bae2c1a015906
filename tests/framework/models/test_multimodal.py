import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.features import Feature

MULTIMODAL = framework.get_model("multimodal")
SMALL = {"width": 2, "hidden": 8, "vocabulary_size": 20, "embedding_size": 4, "num_bins": 100}
KINDS = {
    "photo": Feature((9, 7, 3), "float32"),
    "note": Feature((6,), "int64"),
    "price": Feature((), "float32"),
    "readings": Feature((3,), "float32"),
    "shop": Feature((), "int64"),
    "colour": Feature((), "string"),
    "sale": Feature((), "bool"),
}
BATCH = {
    "photo": np.random.default_rng(0).random((2, 9, 7, 3), np.float32),
    "note": np.array([[2, 3, 0, 0, 0, 0], [4, 19, 99, 5, 6, 7]]),
    "price": np.array([1.0, -1.0], np.float32),
    "readings": np.ones((2, 3), np.float32),
    "shop": np.array([1, 2]),
    "colour": np.array(["red", "blue"]),
    "sale": np.array([True, False]),
}


def build(interface, task=None):
    return framework.build_model(MULTIMODAL, interface, task or tasks.Classification(3), SMALL, seed=0)


def answer(model, batch):
    return model({name: tf.constant(value) for name, value in batch.items()}).numpy()


@pytest.mark.parametrize("names", [*([name] for name in KINDS), ["photo", "price"], list(KINDS)])
def test_any_mix(names):
    model = build({name: KINDS[name] for name in names})
    assert model.output.shape == (None, 3)
    assert np.isfinite(answer(model, {name: BATCH[name] for name in names})).all()


@pytest.mark.parametrize("name", list(KINDS))
def test_every_input_counts(name):
    model = build(KINDS)
    other = {"readings": np.zeros((2, 3), np.float32)}.get(name, BATCH[name][::-1])
    assert (answer(model, BATCH) != answer(model, {**BATCH, name: other})).any()


def test_padding_and_unknown_words():
    model = build({"note": KINDS["note"]})
    one, other = answer(model, {"note": np.array([[2, 99, 0, 0, 0, 0], [2, 1, 0, 0, 0, 0]])})
    np.testing.assert_array_equal(one, other)
    # The mean of a text's own words, however much padding follows.
    one, other = answer(model, {"note": np.array([[2, 3, 0, 0, 0, 0], [2, 3, 2, 3, 0, 0]])})
    np.testing.assert_allclose(one, other, rtol=1e-5)


def test_heads():
    model = build(KINDS, tasks.Heads({"a": tasks.Classification(3), "b": tasks.Regression()}))
    assert {name: tensor.shape for name, tensor in model.output.items()} == {"a": (None, 3), "b": (None, 1)}


def test_what_it_has_no_layers_for():
    with pytest.raises(ValueError, match=r"multimodal has no layers for 'x', float32\(None, 4, 2\)"):
        build({"x": Feature((4, 2), "float32")})
