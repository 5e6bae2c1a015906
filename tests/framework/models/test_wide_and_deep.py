import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.features import Feature

WIDE_AND_DEEP = framework.get_model("wide_and_deep")
CATEGORIES = {"colour": Feature((), "string"), "shop": Feature((), "int64")}


def accuracy(**hparams):
    """Of a model that is linear in its categories and, where they are crossed, in their pairs; learned by heart."""
    colours, shops = ["red", "green", "blue"], [3, 14, 15]
    pairs = list(itertools.product(colours, shops))
    labels = np.array([(colours.index(colour) + shops.index(shop)) % 3 == 0 for colour, shop in pairs], np.int64)
    inputs = {
        "colour": tf.constant([colour for colour, _ in pairs]),
        "shop": tf.constant([shop for _, shop in pairs], tf.int64),
    }
    task = tasks.BinaryClassification()
    model = framework.build_model(WIDE_AND_DEEP, CATEGORIES, task, {"widths": (), **hparams}, seed=0)
    model.compile(optimizer=keras.optimizers.Adam(0.1), loss=task.loss(), metrics=task.metrics())
    dataset = tf.data.Dataset.from_tensors((inputs, labels)).cache().repeat(100)
    model.fit(dataset, shuffle=False, verbose=0)
    return model.evaluate(dataset.take(1), return_dict=True, verbose=0)["accuracy"]


def test_only_crossed_categories_tell_pairs_apart():
    # Every colour and every shop is as often yes: only the pair knows.
    assert accuracy(cross=True) == 1.0
    assert accuracy(cross=False) < 0.8


def layer_names(model, kind):
    return {layer.name for layer in model.layers if isinstance(layer, kind)}


def test_every_category_and_pair_has_its_weights():
    interface = CATEGORIES | {"size": Feature((), "string"), "x": Feature((2,))}
    model = framework.build_model(WIDE_AND_DEEP, interface, tasks.Classification(3), {"num_bins": 50})
    assert layer_names(model, keras.layers.HashedCrossing) == {
        "colour_x_shop_hash",
        "colour_x_size_hash",
        "shop_x_size_hash",
    }
    wide = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding) and layer.output_dim == 3]
    assert len(wide) == 6
    assert all(layer.input_dim == 50 for layer in wide)
    deep = [layer for layer in model.layers if isinstance(layer, keras.layers.Embedding) and layer.output_dim == 8]
    assert {layer.name for layer in deep} == {"colour_embedding", "shop_embedding", "size_embedding"}
    uncrossed = framework.build_model(WIDE_AND_DEEP, interface, tasks.Classification(3), {"cross": False})
    assert not layer_names(uncrossed, keras.layers.HashedCrossing)


def test_booleans_are_categories():
    interface = CATEGORIES | {"flag": Feature((), "bool")}
    model = framework.build_model(WIDE_AND_DEEP, interface, tasks.Regression())
    inputs = {
        "colour": tf.constant(["red"] * 2),
        "shop": tf.constant([3, 3], tf.int64),
        "flag": tf.constant([True, False]),
    }
    yes, no = model(inputs).numpy()
    assert yes != no


def test_numbers_alone_and_heads():
    heads = tasks.Heads({"a": tasks.Classification(3), "b": tasks.Regression()})
    for interface in ({"x": Feature((2, 2))}, CATEGORIES):
        model = framework.build_model(WIDE_AND_DEEP, interface, heads, {"widths": (4,), "dropout": 0.1})
        assert {name: tensor.shape for name, tensor in model.output.items()} == {"a": (None, 3), "b": (None, 1)}


def test_several_values_of_a_category_are_refused():
    interface = {"words": Feature((5,), "string")}
    with pytest.raises(ValueError, match=r"wide_and_deep takes categories as \[batch\], 'words' has shape \(None, 5\)"):
        framework.build_model(WIDE_AND_DEEP, interface, tasks.Regression())
