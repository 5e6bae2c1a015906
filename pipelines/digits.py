"""Handwritten digits: 1,797 grey images of 8x8 pixels, scikit-learn's copy of the UCI test set.

Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits". The images lie in the scikit-learn package.
"""

import functools

import numpy as np
import tensorflow as tf

import framework
from framework.data import augment
from framework.data.splits import split_source
from framework.extras import require

_MAX = 16.0  # a pixel is the number of set bits in a 4x4 block: 0..16


@framework.register_pipeline(name="digits")
class Digits(framework.Pipeline):
    """uint8 images `[8, 8, 1]` with values 0..16 and their digit; fixed stratified splits of 70, 15 and 15 percent.

    Args:
        shift: Largest shift to the side in training, as a share of the width.
        rotation: Largest rotation in training, in degrees.
        zoom: Largest change of scale in training.
    """

    features = {"image": framework.Feature((8, 8, 1), "uint8")}
    task = framework.tasks.Classification(class_names=[str(digit) for digit in range(10)])

    def __init__(self, shift: float = 0.125, rotation: float = 10.0, zoom: float = 0.1):
        self.shift, self.rotation, self.zoom = shift, rotation, zoom

    def source(self, phase):
        return _splits()[phase]

    def augment(self, features, labels, seeds):
        images = tf.cast(features["image"], tf.float32)
        # Not up or down: digits fill the height, so they would lose their first or last row.
        shift = (0.0, self.shift)
        moved = augment.random_affine(images, seeds, shift=shift, rotation=self.rotation, zoom=self.zoom)
        # Back to what a scanner would have made, so that training sees nothing that a client can't send.
        return {"image": tf.cast(tf.round(moved), tf.uint8)}, labels

    def preprocess(self, features):
        return {"image": tf.cast(features["image"], tf.float32) / _MAX}


@functools.cache
def _splits():
    data = require("sklearn.datasets", extra="samples", purpose="The digits pipeline").load_digits()
    source = framework.ArraySource({"image": data.images.astype(np.uint8)[..., None]}, data.target.astype(np.int64))
    return split_source(source, {"train": 0.7, "validation": 0.15, "test": 0.15})
