"""Moving pixels, given where to: the deterministic half of the geometric augmentations.

Two ways. `pick` copies whole rows and columns, exactly, for flips and shifts by whole pixels; `warp`
interpolates, for everything else. At batch 128, 28x28x1 uint8, `pick` costs about a third of `warp` with
"nearest".
"""

import dataclasses

import tensorflow as tf

from framework.data.augment.images import from_float

INTERPOLATIONS = ("bilinear", "nearest")
FILLS = ("constant", "reflect", "nearest", "wrap")


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a pixel's value is found where its source lies between pixels or outside of the image.

    Attributes:
        interpolation: "bilinear" or "nearest".
        fill: What is outside: "constant" `k k k | a b c d | k k k`, "reflect" `c b a | a b c d | d c b`,
            "nearest" `a a a | a b c d | d d d`, "wrap" `b c d | a b c d | a b c`. Where an image is interpolated,
            "wrap" is right up to a whole image away: TensorFlow's kernel (2.21) repeats with a wrong period there.
        fill_value: The k of "constant", in the images' own range.

    Raises:
        ValueError: A name isn't one of these.
    """

    interpolation: str = "bilinear"
    fill: str = "constant"
    fill_value: float = 0.0

    def __post_init__(self):
        for name, allowed in (("interpolation", INTERPOLATIONS), ("fill", FILLS)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}; expected one of {', '.join(allowed)}.")

    def check(self, dtype: tf.DType) -> None:
        """Raises a ValueError if images of this dtype can't hold the fill value."""
        if dtype == tf.uint8 and self.fill_value not in range(256):
            raise ValueError(
                f"fill_value is {self.fill_value!r}, but the images are uint8; expected a whole number in 0 ... 255."
            )


def pick(images: tf.Tensor, rows: tf.Tensor | None, columns: tf.Tensor | None, sampling: Sampling) -> tf.Tensor:
    """Returns the images made of the given rows and columns.

    Memory is copied in rows; columns are picked by transposing, picking rows and transposing back, which
    costs half of gathering pixel by pixel.

    Args:
        images: [batch, height, width, channels].
        rows: int32 [batch, new height], which may point outside; None keeps all.
        columns: int32 [batch, new width], which may point outside; None keeps all.
        sampling: `fill` and `fill_value` say what is outside.

    Returns:
        [batch, new height, new width, channels], dtype kept.
    """
    batch, height, width, channels = _shape(images)
    if rows is not None:
        images = _pick_rows(tf.reshape(images, [batch, height, width * channels]), height, rows, sampling)
        height = _shape(rows)[1]
    if columns is not None:
        images = tf.transpose(tf.reshape(images, [batch, height, width * channels]), [0, 2, 1])
        images = _pick_rows(tf.reshape(images, [batch, width, channels * height]), width, columns, sampling)
        width = _shape(columns)[1]
        images = tf.transpose(tf.reshape(images, [batch, width * channels, height]), [0, 2, 1])
    return tf.reshape(images, [batch, height, width, channels])


def warp(images: tf.Tensor, transforms: tf.Tensor, size: tuple, sampling: Sampling) -> tf.Tensor:
    """Returns the images whose pixel (x, y) is the input's at (a x + b y + c, d x + e y + f).

    Args:
        images: uint8 or floating [batch, height, width, channels].
        transforms: float32 [batch, 6], the rows (a, b, c, d, e, f).
        size: (new height, new width), ints or int32 scalars.
        sampling: How values are found between pixels and outside.

    Returns:
        [batch, new height, new width, channels], dtype kept; interpolated uint8 is rounded.
    """
    # The kernel would cut off the fraction of an interpolated uint8. float32 takes it as long.
    interpolated = sampling.interpolation == "bilinear" and images.dtype == tf.uint8
    warped = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32) if interpolated else images,
        transforms=tf.pad(transforms, [[0, 0], [0, 2]]),
        output_shape=tf.cast(size, tf.int32),
        fill_value=tf.constant(sampling.fill_value, tf.float32),
        interpolation=sampling.interpolation.upper(),
        fill_mode=sampling.fill.upper(),
    )
    static = [axis if isinstance(axis, int) else None for axis in size]
    warped.set_shape([images.shape[0], *static, images.shape[3]])
    return from_float(warped, images.dtype) if interpolated else warped


def about_centre(linear: list[tf.Tensor], shift: list[tf.Tensor], size: tuple) -> tf.Tensor:
    """Returns the `transforms` of `warp` that apply a linear map about the images' centre, then a shift.

    Args:
        linear: (a, b, d, e), each float64 [batch]: from an output's place to its input's, both counted from
            the centre.
        shift: (down, right) in pixels, each float64 [batch].
        size: (height, width), ints or int32 scalars.

    Returns:
        float32 [batch, 6].
    """
    a, b, d, e = linear
    centre_y, centre_x = ((tf.cast(length, tf.float64) - 1.0) * 0.5 for length in size)
    y, x = centre_y + shift[0], centre_x + shift[1]
    return transforms_of(a, b, centre_x - (a * x + b * y), d, e, centre_y - (d * x + e * y))


def transforms_of(*numbers: tf.Tensor) -> tf.Tensor:
    """Returns the `transforms` of `warp` made of six columns, each float64 [batch].

    Geometry is computed in float64 and rounded once, here. The last bit of a sine depends on an example's
    place in the batch, the last bit of a sum on how Grappler rewrites the graph; the rounding takes both
    away.
    """
    return tf.cast(tf.stack(numbers, axis=1), tf.float32)


def _shape(tensor: tf.Tensor) -> list[int | tf.Tensor]:
    dynamic = tf.shape(tensor)
    return [dynamic[axis] if length is None else length for axis, length in enumerate(tensor.shape)]


def _pick_rows(table: tf.Tensor, length: int | tf.Tensor, rows: tf.Tensor, sampling: Sampling) -> tf.Tensor:
    """Picks from [batch, length, numbers]."""
    batch, _, width = _shape(table)
    table = tf.reshape(table, [-1, width])
    inside = rows
    if sampling.fill == "nearest":
        inside = tf.clip_by_value(rows, 0, length - 1)
    elif sampling.fill == "wrap":
        inside = tf.math.floormod(rows, length)
    elif sampling.fill == "reflect":
        inside = tf.math.floormod(rows, 2 * length)
        inside = tf.minimum(inside, 2 * length - 1 - inside)
    flat = inside + tf.range(batch)[:, tf.newaxis] * length
    if sampling.fill == "constant":
        # One more row, of the fill value, for all that is outside.
        outside = tf.logical_or(rows < 0, rows >= length)
        flat = tf.where(outside, batch * length, flat)
        table = tf.concat([table, tf.fill([1, width], tf.cast(sampling.fill_value, table.dtype))], axis=0)
    return tf.gather(table, flat)
