"""Mixing two examples into one: mixup and CutMix.

These two are the exception to the rule: an example's partner is another of its own batch. Whom and how much
it takes depends on its seed, what it gets on who is there. The same batch mixes the same way; an example in
another batch won't.
"""

import math

import tensorflow as tf

from framework.data import random
from framework.data.augment.box import box_mask
from framework.data.augment.images import check_images, from_float, own_seeds, select, times, to_float
from framework.data.random import without_autograph

# A proposal is accepted with a probability of at least 0.95: that none of 8 is happens once in 10**10.
_PROPOSALS = 8


@without_autograph
def mixup(
    images: tf.Tensor,
    labels: tf.Tensor,
    seeds: tf.Tensor,
    *,
    num_classes: int,
    alpha: float = 0.2,
    salt: int | str = "",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each example with another of its batch: Zhang et al., "mixup: Beyond Empirical Risk Minimization", 2018.

    Args:
        images: uint8 or floating [batch, height, width, channels].
        labels: Class ids, integers [batch]; or probabilities, floating [batch, num_classes].
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        num_classes: Number of classes.
        alpha: An example keeps a share drawn from Beta(alpha, alpha); above 0.
        salt: Tells two uses on the same seeds apart.

    Returns:
        (images of the same shape and dtype, labels float32 [batch, num_classes]).

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, `labels` has another shape, or a parameter is outside its range.
    """
    check_images(images, "mixup")
    labels = _soft_labels("mixup", labels, num_classes)
    seeds = own_seeds(seeds, "mixup", salt)
    share, partner = tf.cast(_beta("mixup", seeds, alpha), tf.float32), _partners(seeds)
    mixed = _blend(tf.reshape(to_float(images), [tf.shape(images)[0], -1]), partner, share)
    mixed = tf.reshape(from_float(mixed, images.dtype), tf.shape(images))
    return mixed, _blend(labels, partner, share)


@without_autograph
def cutmix(
    images: tf.Tensor,
    labels: tf.Tensor,
    seeds: tf.Tensor,
    *,
    num_classes: int,
    alpha: float = 1.0,
    salt: int | str = "",
) -> tuple[tf.Tensor, tf.Tensor]:
    """Pastes a rectangle of another of the batch into each image: Yun et al., "CutMix", 2019.

    The rectangle has the image's aspect ratio and its centre is uniform. Labels are mixed by the area that is
    really covered, part of the rectangle being outside the image at times.

    Args:
        images: uint8 or floating [batch, height, width, channels].
        labels: Class ids, integers [batch]; or probabilities, floating [batch, num_classes].
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        num_classes: Number of classes.
        alpha: The share of the area an image is to keep is drawn from Beta(alpha, alpha); above 0.
        salt: Tells two uses on the same seeds apart.

    Returns:
        (images of the same shape and dtype, labels float32 [batch, num_classes]).

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, `labels` has another shape, or a parameter is outside its range.
    """
    check_images(images, "cutmix")
    labels = _soft_labels("cutmix", labels, num_classes)
    seeds = own_seeds(seeds, "cutmix", salt)
    side = tf.sqrt(1.0 - _beta("cutmix", seeds, alpha))
    partner = _partners(seeds)
    centre = tf.cast(random.uniform(random.fold_in(seeds, "centre"), [2]), tf.float64)
    edges = []
    covered = 1.0
    for axis in range(2):
        length = tf.cast(tf.shape(images)[1 + axis], tf.float64)
        # floor(x + 1/2) rather than tf.round: halves go up, so that a rectangle's two edges round alike.
        first, last = (
            tf.clip_by_value(tf.floor((centre[:, axis] + half * side) * length + 0.5), 0.0, length)
            for half in (-0.5, 0.5)
        )
        edges += [tf.cast(first, tf.int32), tf.cast(last, tf.int32)]
        covered = covered * ((last - first) / length)
    mixed = select(box_mask(images, *edges), tf.gather(images, partner), images)
    return mixed, _blend(labels, partner, tf.cast(1.0 - covered, tf.float32))


def _soft_labels(function: str, labels: tf.Tensor, num_classes: int) -> tf.Tensor:
    if not isinstance(num_classes, int) or num_classes < 2:
        raise ValueError(f"{function} got num_classes={num_classes!r}; expected an int of 2 or more.")
    labels = tf.convert_to_tensor(labels)
    expected = [None] if labels.dtype.is_integer else [None, num_classes]
    if labels.shape.rank is None or not labels.shape.is_compatible_with(expected):
        raise ValueError(
            f"{function} got labels of shape {labels.shape} and dtype {labels.dtype.name}; expected class ids, "
            f"integers [batch], or probabilities, floating [batch, {num_classes}]. See tf.squeeze for more axes."
        )
    return tf.one_hot(labels, num_classes) if labels.dtype.is_integer else tf.cast(labels, tf.float32)


def _partners(seeds: tf.Tensor) -> tf.Tensor:
    """Returns another example of the batch for each, int32 [batch]; in a batch of one, itself."""
    size = tf.shape(seeds)[0]
    ahead = random.integers(random.fold_in(seeds, "partner"), [], 1, tf.maximum(size, 2))
    return (tf.range(size) + ahead) % size


def _blend(values: tf.Tensor, partner: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Returns a share [batch] of each row of [batch, numbers], the rest from the partner's."""
    return times(share, values) + times(1.0 - share, tf.gather(values, partner))


def _beta(function: str, seeds: tf.Tensor, alpha: float) -> tf.Tensor:
    """Draws from Beta(alpha, alpha), float64 [batch], as G1 / (G1 + G2) of two gamma variates.

    Gamma after Marsaglia and Tsang, "A Simple Method for Generating Gamma Variables", 2000, with a fixed number
    of proposals of which the first accepted is taken. Gamma(alpha) is drawn as Gamma(alpha + 1) U^(1 / alpha).
    """
    if not 0.0 < alpha < math.inf:
        raise ValueError(f"{function} got alpha={alpha!r}; expected a finite number above 0.")
    d = alpha + 1.0 - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    # In float64, so that rounding takes the last bit of log away, which depends on the place in the batch.
    normals = tf.cast(random.normal(random.fold_in(seeds, "normal"), [2, _PROPOSALS]), tf.float64)
    uniforms = tf.cast(random.uniform(random.fold_in(seeds, "uniform"), [2, _PROPOSALS + 1]), tf.float64)
    uniforms = tf.math.log(1.0 - uniforms)
    cubes = tf.maximum(1.0 + c * normals, 1e-12) ** 3
    accepted = uniforms[:, :, :-1] < 0.5 * normals**2 + d * (1.0 - cubes + tf.math.log(cubes))
    first = tf.argmax(tf.cast(accepted, tf.int32), axis=2)
    log_gamma = tf.math.log(tf.gather(cubes, first, batch_dims=2)) + uniforms[:, :, -1] * (1.0 / alpha)
    return tf.sigmoid(log_gamma[:, 0] - log_gamma[:, 1])
