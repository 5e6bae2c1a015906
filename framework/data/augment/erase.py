"""Cutout: a rectangle of each image is blanked."""

from collections.abc import Sequence

import tensorflow as tf

from framework.data import random
from framework.data.augment.box import box_mask
from framework.data.augment.images import check_images, check_share, own_seeds, part_of, select, spatial_size
from framework.data.augment.warp import Sampling
from framework.data.random import without_autograph


@without_autograph
def random_erase(
    images: tf.Tensor,
    seeds: tf.Tensor,
    *,
    size: float | Sequence[float] = 0.5,
    fill_value: float = 0.0,
    probability: float = 1.0,
    salt: int | str = "",
) -> tf.Tensor:
    """Blanks a rectangle of each image: DeVries and Taylor, "Improved regularization of CNNs with Cutout", 2017.

    The rectangle's centre is uniform over the pixels, as in the paper, so that part of it may be outside the
    image.

    Args:
        images: uint8 or floating [batch, height, width, channels]; the size may be unknown when tracing.
        seeds: int64 [batch, 2], as from `random.example_seeds`.
        size: The rectangle's share of the image's size, or (of the height, of the width), in (0, 1]; in whole
            pixels, rounded and at least one. The paper has 0.5 on CIFAR-10 and 0.25 on CIFAR-100.
        fill_value: What is put there, in the images' own range. The paper's is the mean.
        probability: Of an image having something erased, in [0, 1].
        salt: Tells two uses on the same seeds apart.

    Returns:
        Images of the same shape and dtype. With probability 0, the input itself.

    Raises:
        TypeError: `images` is neither uint8 nor floating, or `seeds` isn't int64.
        ValueError: `images` isn't of rank 4, or a parameter is outside its range.
    """
    check_images(images, "random_erase")
    Sampling(fill_value=fill_value).check(images.dtype)
    check_share("random_erase", "probability", probability)
    shares = (size, size) if isinstance(size, int | float) else tuple(size)
    if len(shares) != 2 or not all(0.0 < share <= 1.0 for share in shares):
        raise ValueError(
            f"random_erase got size={size!r}; expected a number in (0, 1] or (of the height, of the width)."
        )
    seeds = own_seeds(seeds, "random_erase", salt)
    if not probability:
        return images
    lengths = spatial_size(images)
    drawn = random.uniform(seeds, [3])
    edges = []
    for axis, (length, share) in enumerate(zip(lengths, shares, strict=True)):
        extent = part_of(length, share)
        centre = tf.cast(tf.floor(drawn[:, axis] * tf.cast(length, tf.float32)), tf.int32)
        first = centre - extent // 2
        # An image that is spared has a rectangle of no rows.
        edges += [first, first + tf.where(drawn[:, 2] < probability, extent, 0)]
    mask = box_mask(images, *edges)
    return select(mask, tf.cast(fill_value, images.dtype), images)
