"""SavedModels with something in them that a converter could trip over, converted in one process. Run as a script.

odd_models.py DIRECTORY: writes `DIRECTORY/answers.pickle`, `{case: {format: FormatResult or FormatError}}`.
"""

import pathlib
import pickle
import sys

import keras
import numpy as np
import tensorflow as tf

from framework.export.formats import FORMATS
from framework.export.formats.worker import ANSWER, JOB, Job, main

ALL = tuple(FORMATS)
EXACT = ("frozen", "litert", "onnx", "openvino")
ROW = {"x": tf.TensorSpec((None, 3), tf.float32, "x")}


def dense(units, **settings):
    layer = keras.layers.Dense(units, **settings)
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


def table(colour):
    keys, values = tf.constant([3, 5], tf.int64), tf.constant([0.25, 0.75])
    found = tf.lookup.StaticHashTable(tf.lookup.KeyValueTensorInitializer(keys, values), 0.0)
    TABLES.append(found)
    return {"y": found.lookup(colour)}


TABLES = []  # kept alive


def cases():
    ids = tf.TensorSpec((None, 6), tf.int32, "ids")
    open_ids = tf.TensorSpec((None, None), tf.int32, "ids")
    image = tf.TensorSpec((None, None, None, 1), tf.uint8, "image")
    half = keras.DTypePolicy("mixed_float16")
    convolution = functional(
        [keras.layers.Conv2D(4, 3, use_bias=False), keras.layers.BatchNormalization(), keras.layers.Flatten()],
        tf.TensorSpec((None, 8, 8, 1), tf.float32, "image"),
    )
    # (function, specs, formats)
    return {
        "checked": (checked, ROW, EXACT),
        "branches": (branches(dense(3)), ROW, EXACT),
        "loop": (loop(dense(3)), ROW, EXACT),
        "half": (functional([keras.layers.Dense(8, dtype=half), keras.layers.Dense(2)], ROW["x"]), ROW, ALL),
        "lstm": (functional([keras.layers.Embedding(9, 4), keras.layers.LSTM(5)], open_ids), {"ids": open_ids}, EXACT),
        "unrolled": (
            functional([keras.layers.Embedding(9, 4), keras.layers.LSTM(5, unroll=True)], ids),
            {"ids": ids},
            EXACT,
        ),
        "any_size": (
            lambda image: convolution(image=tf.image.resize(tf.cast(image, tf.float32) / 255.0, (8, 8))),
            {"image": image},
            ("frozen", "litert", "litert_f16", "litert_dynamic", "onnx", "openvino"),
        ),
        "same_names": (
            # One input isn't used, and an output has the other's name.
            lambda x, unused: {"X": 3.0 * x, "sum": tf.reduce_sum(x, axis=1)},
            {**ROW, "unused": tf.TensorSpec((None,), tf.int64, "unused")},
            EXACT,
        ),
        "booleans": (
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
        "text_inside": (
            lambda x: {"bucket": tf.strings.to_hash_bucket_fast(tf.strings.as_string(x[:, 0]), 7)},
            ROW,
            EXACT,
        ),
        "text_out": (lambda x: {"name": tf.strings.as_string(x[:, 0])}, ROW, EXACT),
        "nan": (lambda x: {"y": tf.math.log(x - 100.0)}, ROW, EXACT),
    }


def save(function, specs, directory):
    concrete = tf.function(function, autograph=False).get_concrete_function(**specs)
    module = tf.Module()
    module.used = list(concrete.variables)
    module.tables = list(TABLES)
    tf.saved_model.save(module, str(directory), signatures={"serving_default": concrete})


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


if __name__ == "__main__":
    root = pathlib.Path(sys.argv[1])
    answers = {}
    for case, (function, specs, names) in cases().items():
        export_dir, work = root / case, root / f"{case}-work"
        save(function, specs, export_dir)
        work.mkdir()
        job = Job(str(export_dir), names, None, {"serving_default": examples(specs)}, gated=False)
        (work / JOB).write_bytes(pickle.dumps(job))
        main(str(work))
        answers[case] = {name: pickle.loads((work / ANSWER.format(name)).read_bytes()) for name in names}
    (root / "answers.pickle").write_bytes(pickle.dumps(answers))
