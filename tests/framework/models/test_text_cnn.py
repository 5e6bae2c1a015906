import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.features import Feature

TEXT_CNN = framework.get_model("text_cnn")
SMALL = {"vocabulary_size": 20, "embedding_size": 4, "filters": 3, "widths": (2, 3)}
TASK = tasks.Classification(3)


def build(interface, **hparams):
    return framework.build_model(TEXT_CNN, interface, TASK, {**SMALL, **hparams}, seed=0)


def test_it_is_what_the_paper_describes():
    model = build({"text": Feature((6,), "int64")})
    ids = np.array([[2, 3, 4, 19, 0, 0], [5, 0, 0, 0, 0, 0]])
    layers = {layer.name: layer.get_weights() for layer in model.layers if layer.get_weights()}
    embedded = layers["text_embedding"][0][ids] * (ids != 0)[..., None]
    found = []
    for width in SMALL["widths"]:
        kernel, bias = layers[f"text_{width}"]
        before = (width - 1) // 2
        padded = np.pad(embedded, [(0, 0), (before, width - 1 - before), (0, 0)])
        windows = np.stack([padded[:, place : place + width] for place in range(6)], axis=1)
        convolved = np.maximum(np.einsum("bpwe,wef->bpf", windows, kernel) + bias, 0)
        found.append((convolved * (ids != 0)[..., None]).max(axis=1))
    kernel, bias = layers["logits"]
    np.testing.assert_allclose(
        model({"text": ids}), np.concatenate(found, axis=1) @ kernel + bias, rtol=1e-4, atol=1e-5
    )


def test_ids_beyond_the_vocabulary_are_unknown():
    model = build({"text": Feature((4,), "int64")})
    np.testing.assert_array_equal(
        model({"text": tf.constant([[20, 99, 2, 0]])}), model({"text": tf.constant([[1, 1, 2, 0]])})
    )


def test_more_padding_makes_no_difference():
    """Of a text that isn't cut, what is beyond its end is silent: answers don't depend on the others of a batch."""
    model = build({"text": Feature((None,), "int64")})
    model.set_weights([weights + 0.5 if weights.ndim == 1 else weights for weights in model.get_weights()])
    ids = np.array([[2, 3, 4]])
    alone = model({"text": ids})
    for padding in (1, 3, 9):
        np.testing.assert_allclose(model({"text": np.pad(ids, [(0, 0), (0, padding)])}), alone, rtol=1e-5)


def test_several_texts_and_heads():
    heads = tasks.Heads({"a": tasks.Classification(3), "b": tasks.Regression()})
    interface = {"title": Feature((4,), "int64"), "body": Feature((8,), "int32")}
    model = framework.build_model(TEXT_CNN, interface, heads, SMALL)
    assert {name: tensor.shape for name, tensor in model.output.items()} == {"a": (None, 3), "b": (None, 1)}
    assert sum(isinstance(layer, keras.layers.Embedding) for layer in model.layers) == 2


@pytest.mark.parametrize("feature", [Feature((), "int64"), Feature((4,), "float32"), Feature((4,), "string")])
def test_other_inputs_are_refused(feature):
    with pytest.raises(ValueError, match=r"text_cnn takes token ids, integers \[batch, tokens\]; 'x' is"):
        build({"x": feature})
