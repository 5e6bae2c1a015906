"""Small SavedModels of plain TensorFlow, whose answers are plain arithmetic."""

import pathlib
from collections.abc import Sequence

import tensorflow as tf


class Arithmetic(tf.Module):
    """Signatures of every kind around one variable.

    Args:
        offset: Of `serving_default`, by which versions can be told from each other.
    """

    def __init__(self, offset: float = 0.0):
        super().__init__()
        self.offset = tf.Variable(offset)
        initializer = tf.lookup.KeyValueTensorInitializer(["cat", "dog"], tf.constant([1, 2], tf.int64))
        self.table = tf.lookup.StaticHashTable(initializer, 0)

    # "z" before "a": names aren't sorted.
    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.float32, "z"), tf.TensorSpec([None], tf.uint8, "a")])
    def serving_default(self, z, a):
        sums = tf.reduce_sum(z, axis=1)
        return {
            "total": sums + tf.cast(a, tf.float32) + self.offset,
            "difference": sums - tf.cast(a, tf.float32),
            "batch": tf.fill([tf.shape(z)[0]], tf.shape(z)[0]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def half(self, x):
        return {"y": x / 2}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def root(self, x):
        tf.debugging.assert_non_negative(x, "x must not be negative")
        return {"y": tf.sqrt(x)}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, "tokens")])
    def reversed(self, tokens):
        return {"tokens": tf.reverse(tokens, [1]), "sum": tf.reduce_sum(tokens, 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "name")])
    def look_up(self, name):
        return {"id": self.table.lookup(name), "name_bytes": name, "name": name}

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 1], tf.uint8, "image")])
    def pixels(self, image):
        return {"mean": tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image")])
    def encoded(self, image):
        def mean(one):
            return tf.reduce_mean(tf.cast(tf.io.decode_image(one, 1, expand_animations=False), tf.float32))

        return {"mean": tf.map_fn(mean, image, fn_output_signature=tf.float32)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def whole(self, x):
        return {"sum": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([2, 3], tf.float32, "matrix"), tf.TensorSpec([], tf.float32, "factor")])
    def unbatched(self, matrix, factor):
        return {"product": matrix * factor}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def classify(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        classes = tf.tile([["no", "yes"]], [tf.shape(x)[0], 1])
        return {"classes": classes, "scores": tf.stack([1 - x, x], 1)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "inputs")])
    def regress(self, inputs):
        x = tf.io.parse_example(inputs, {"x": tf.io.FixedLenFeature([], tf.float32)})["x"]
        return {"outputs": x / 2 + self.offset}


NAMES = "serving_default half root reversed look_up pixels encoded whole unbatched classify regress".split()


def save_arithmetic(directory: pathlib.Path, names: Sequence[str] = NAMES, offset: float = 0.0) -> pathlib.Path:
    """Writes `Arithmetic`, with the method names that `classify` and `regress` need; returns `directory`."""
    module = Arithmetic(offset)
    tf.saved_model.save(module, str(directory), signatures={name: getattr(module, name) for name in names})
    updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
    for name in {"classify", "regress"} & set(names):
        updater.replace_method_name(name, f"tensorflow/serving/{name}")
    updater.save()
    return directory
