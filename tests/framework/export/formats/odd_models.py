"""SavedModels with something in them that a converter could trip over."""

import keras
import numpy as np
import tensorflow as tf

from framework.export.formats import FORMATS
from framework.export.formats.worker import Job

ALL = tuple(FORMATS)
EXACT = ("frozen", "litert", "onnx", "openvino")
ROW = {"x": tf.TensorSpec((None, 3), tf.float32, "x")}


def dense(units):
    layer = keras.layers.Dense(units)
    layer.build((None, 3))
    return layer


def functional(layers, spec):
    """A function around a Keras model of one input."""
    inputs = keras.Input(spec.shape[1:], dtype=spec.dtype.name, name=spec.name)
    x = inputs
    for layer in layers:
        x = layer(x)
    model = keras.Model({spec.name: inputs}, x)
    return lambda **given: {"logits": model(given, training=False)}


def checked(x):
    with tf.control_dependencies([tf.debugging.assert_less(x, 5.0, message="too large")]):
        return {"y": 2.0 * x}


def branches(layer):
    def branch(x):
        y = layer(x)
        low = lambda: tf.cond(tf.reduce_max(y) > 0.0, lambda: y - 1.0, lambda: y - 5.0)  # noqa: E731
        return {"y": tf.cond(tf.reduce_sum(x) > 10.0, lambda: 2.0 * y + 1.0, low)}

    return branch


def loop(layer):
    def looped(x):
        _, y = tf.while_loop(lambda step, y: step < 5, lambda step, y: (step + 1, 0.5 * layer(y) + x), (0, x))
        return {"y": y}

    return looped


TABLES = []  # kept alive


def table(colour):
    keys, values = tf.constant([3, 5], tf.int64), tf.constant([0.25, 0.75])
    TABLES.append(tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0.0))
    return {"y": TABLES[-1].lookup(colour)}


def cases():
    """`{case: (function, specs, formats)}`."""
    ids = tf.TensorSpec((None, 6), tf.int32, "ids")
    open_ids = tf.TensorSpec((None, None), tf.int32, "ids")
    half = [
        keras.layers.Dense(8, "gelu", dtype=keras.DTypePolicy("mixed_float16")),
        keras.layers.Dense(2, dtype="float32"),
    ]
    convolution = functional(
        [keras.layers.Conv2D(4, 3, use_bias=False), keras.layers.BatchNormalization(), keras.layers.Flatten()],
        tf.TensorSpec((None, 8, 8, 1), tf.float32, "image"),
    )
    recurrent = [keras.layers.Embedding(9, 4), keras.layers.LSTM(5)]
    unrolled = [keras.layers.Embedding(9, 4), keras.layers.LSTM(5, unroll=True)]
    return {
        "checked": (checked, ROW, EXACT),
        "branches": (branches(dense(3)), ROW, EXACT),
        "loop": (loop(dense(3)), ROW, EXACT),
        "half": (functional(half, ROW["x"]), ROW, ALL),
        "gelu": (functional([keras.layers.Dense(8, "gelu"), keras.layers.Dense(2)], ROW["x"]), ROW, ALL),
        "erfc_in_loop": (loop(tf.math.erfc), ROW, ("frozen", "onnx", "openvino")),
        "recurrent": (functional(recurrent, open_ids), {"ids": open_ids}, EXACT),
        "unrolled": (functional(unrolled, ids), {"ids": ids}, EXACT),
        "any_size": (
            lambda image: convolution(image=tf.image.resize(tf.cast(image, tf.float32) / 255.0, (8, 8))),
            {"image": tf.TensorSpec((None, None, None, 1), tf.uint8, "image")},
            EXACT,
        ),
        "same_names": (
            # One input isn't used, and an output has the other's name.
            lambda x, unused: {"X": 3.0 * x, "sum": tf.reduce_sum(x, axis=1)},
            {**ROW, "unused": tf.TensorSpec((None,), tf.int64, "unused")},
            EXACT,
        ),
        "integers": (
            lambda yes, count: {"no": tf.logical_not(yes), "count": count + tf.cast(yes, tf.int64)},
            {"yes": tf.TensorSpec((None,), tf.bool, "yes"), "count": tf.TensorSpec((None,), tf.int64, "count")},
            EXACT,
        ),
        "table": (table, {"colour": tf.TensorSpec((None,), tf.int64, "colour")}, EXACT),
        "text_in": (
            lambda word: {"length": tf.strings.length(word)},
            {"word": tf.TensorSpec((None,), tf.string, "word")},
            EXACT,
        ),
        "text_out": (lambda x: {"name": tf.strings.as_string(x[:, 0])}, ROW, EXACT),
        "nan": (lambda x: {"y": tf.math.log(x - 100.0)}, ROW, EXACT),
    }


def jobs(root):
    """Writes the SavedModels; what there is to convert, `{case: Job}`."""
    made = {}
    for case, (function, specs, names) in cases().items():
        concrete = tf.function(function, autograph=False).get_concrete_function(**specs)
        module = tf.Module()
        module.used = list(concrete.variables)
        module.tables = list(TABLES)
        tf.saved_model.save(module, str(root / case), signatures={"serving_default": concrete})
        made[case] = Job(str(root / case), names, None, {"serving_default": examples(specs)}, gated=False)
    return made


def examples(specs):
    rng = np.random.default_rng(0)
    made = {}
    for name, spec in specs.items():
        shape = (40, *(7 if axis is None else axis for axis in spec.shape[1:]))
        if spec.dtype == tf.string:
            made[name] = np.full(shape, "word", object)
        elif spec.dtype.is_floating:
            made[name] = rng.random(shape).astype(np.float32)
        else:
            made[name] = rng.integers(0, 2 if spec.dtype == tf.bool else 6, shape).astype(spec.dtype.as_numpy_dtype)
    return made
