"""What RandAugment does to values alone: Pillow's `ImageOps` and `ImageEnhance.Sharpness`, for uint8 batches."""

import tensorflow as tf

from framework.data.augment.images import from_float, select


def autocontrast(images: tf.Tensor) -> tf.Tensor:
    """Stretches each channel of each image to the whole of 0 ... 255; one without contrast stays.

    Args:
        images: uint8 [batch, height, width, channels].

    Returns:
        uint8 of the same shape.
    """
    values = tf.cast(images, tf.int32)
    low = tf.reduce_min(values, axis=[1, 2])[:, :, tf.newaxis]
    span = tf.reduce_max(values, axis=[1, 2])[:, :, tf.newaxis] - low
    levels = tf.range(256)
    stretched = tf.clip_by_value((levels - low) * 255 // tf.maximum(span, 1), 0, 255)
    return _look_up(images, tf.where(span > 0, stretched, levels))


def equalize(images: tf.Tensor) -> tf.Tensor:
    """Makes the histogram of each channel of each image as flat as a table of values can.

    Args:
        images: uint8 [batch, height, width, channels].

    Returns:
        uint8 of the same shape.
    """
    shape = tf.shape(images)
    planes = tf.reshape(tf.transpose(tf.cast(images, tf.int32), [0, 3, 1, 2]), [-1, shape[1] * shape[2]])
    histogram = tf.math.bincount(planes, minlength=256, maxlength=256, axis=-1)
    total = shape[1] * shape[2]
    levels = tf.range(256)
    brightest = tf.reduce_max(tf.where(histogram > 0, levels, 0), axis=1)
    step = (total - tf.gather(histogram, brightest, batch_dims=1))[:, tf.newaxis] // 255
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    tables = tf.minimum((below + step // 2) // tf.maximum(step, 1), 255)
    return _look_up(images, tf.reshape(tf.where(step > 0, tables, levels), [shape[0], -1, 256]))


def solarize(images: tf.Tensor, threshold: float) -> tf.Tensor:
    """Inverts the values from the threshold on.

    Args:
        images: uint8 [batch, height, width, channels].
        threshold: In [0, 256]; 256 inverts none.

    Returns:
        uint8 of the same shape.
    """
    return select(tf.cast(images, tf.float32) < threshold, images, 255 - images)


def posterize(images: tf.Tensor, bits: int) -> tf.Tensor:
    """Keeps the given number of upper bits of each value.

    Args:
        images: uint8 of any shape.
        bits: In 0 ... 8.

    Returns:
        uint8 of the same shape.
    """
    return tf.bitwise.bitwise_and(images, tf.constant(256 - 2 ** (8 - bits), tf.uint8))


def adjust_sharpness(images: tf.Tensor, factors: tf.Tensor) -> tf.Tensor:
    """Moves each image away from (factor above 1) or towards its smoothed form (below); the outermost pixels stay.

    Args:
        images: uint8 [batch, height, width, channels], at least 3 pixels high and wide.
        factors: float32 [batch]; 0 is Pillow's `ImageFilter.SMOOTH`, 1 the image.

    Returns:
        uint8 of the same shape.
    """
    values = tf.cast(images, tf.float32)
    ends = [(None, -2), (1, -1), (2, None)]
    rows = sum(values[:, first:last] for first, last in ends)
    inner = values[:, 1:-1, 1:-1]
    around = sum(rows[:, :, first:last] for first, last in ends)
    smooth = tf.floor((around + 4.0 * inner) * (1.0 / 13.0) + 0.5)
    change = (1.0 - factors)[:, tf.newaxis, tf.newaxis, tf.newaxis] * (smooth - inner)
    return from_float(values + tf.pad(change, [[0, 0], [1, 1], [1, 1], [0, 0]]), tf.uint8)


def _look_up(images: tf.Tensor, tables: tf.Tensor) -> tf.Tensor:
    """Replaces each value by its entry in the table of its image and channel, integers [batch, channels, 256]."""
    shape = tf.shape(images)
    table_starts = tf.reshape(tf.range(shape[0] * shape[3]) * 256, [shape[0], 1, 1, shape[3]])
    flat = tf.reshape(tf.cast(tables, tf.uint8), [-1])
    return tf.gather(flat, table_starts + tf.cast(images, tf.int32))
