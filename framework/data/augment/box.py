"""Rectangles within images, as masks."""

import tensorflow as tf


def box_mask(images: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Returns which values are inside one rectangle per image; what hangs over the edge is cut off.

    Args:
        images: [batch, height, width, channels].
        top: First row, int32 [batch].
        bottom: Row after the last, int32 [batch].
        left: First column, int32 [batch].
        right: Column after the last, int32 [batch].

    Returns:
        bool [batch, height, width, channels].
    """
    shape = tf.shape(images)
    rows, columns = tf.range(shape[1]), tf.repeat(tf.range(shape[2]), shape[3])
    rows = tf.logical_and(rows >= top[:, tf.newaxis], rows < bottom[:, tf.newaxis])
    columns = tf.logical_and(columns >= left[:, tf.newaxis], columns < right[:, tf.newaxis])
    return tf.reshape(tf.logical_and(rows[:, :, tf.newaxis], columns[:, tf.newaxis, :]), shape)
