"""A sheet of images, for the eye to judge what a model is fed."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from framework.report import canvas

# Inches.
_CELL, _GAP, _MARGIN, _HEADER, _BETWEEN = 0.9, 0.06, 0.15, 0.26, 0.12
# A picture as tall as Agg can draw; nobody looks through more.
_MAX_HEIGHT = 400.0
# A strip of one pixel would be invisible at its true proportions; what is longer is drawn stretched, and said
# to be.
_MAX_PROPORTION = 6.0
# Groups whose ranges have this much in common, intersection over union, are in one unit and are scaled alike.
_SAME_UNIT = 0.5
_CHANNELS = (1, 3, 4)


@dataclasses.dataclass(frozen=True)
class _Group:
    """Images under one title.

    Attributes:
        title: What they are.
        images: As given, [n, height, width, channels].
        limits: The values drawn as (black, white).
        scaled: Whether the limits were measured and not given by the dtype.
    """

    title: str
    images: np.ndarray
    limits: tuple[float, float]
    scaled: bool


def image_sheet(
    rows: Sequence[tuple[str, np.ndarray]], path: str | os.PathLike[str], *, columns: int = 8
) -> pathlib.Path:
    """Draws titled groups of images one below the other: "as read" above "augmented, epoch 0", say.

    uint8 runs from 0 to 255 and floats within [0, 1] from 0 to 1. Every other range is scaled, lowest value
    black and highest white, and noted in the title; groups in much the same range are scaled alike, or a
    brightness augmentation would vanish. Pixels that are NaN or infinite are magenta.

    Args:
        rows: (title, images) pairs; images are numeric [n, height, width, channels] with 1 (grey), 3 (RGB) or
            4 (RGBA) channels, n > 0. Sizes and dtypes may differ between groups.
        path: The `.png` to write.
        columns: Images side by side; what is more goes on to the next line of the group.

    Returns:
        The path written.

    Raises:
        TypeError: Images aren't numbers.
        ValueError: There is no group, a group has another shape or no image, `columns` is below 1, the sheet
            would be longer than can be drawn, or `path` doesn't end in `.png`.
    """
    target = canvas.png_path(path)
    if columns < 1:
        raise ValueError(f"Got columns={columns}, expected at least 1. Pass columns=8 for the usual sheet.")
    if not rows:
        raise ValueError("Got no rows, expected at least one (title, images) pair. Pass [('as read', images)].")
    groups = _groups([(title, _checked(title, images)) for title, images in rows])
    columns = min(columns, max(len(group.images) for group in groups))
    heights = [_block_height(group.images, columns) for group in groups]
    height = 2 * _MARGIN + sum(heights) + len(groups) * _HEADER + (len(groups) - 1) * _BETWEEN
    if height > _MAX_HEIGHT:
        raise ValueError(
            f"Got {sum(len(group.images) for group in groups)} images, which make a sheet of {height:.0f} "
            f"inches in {columns} columns, expected at most {_MAX_HEIGHT:.0f}. Pass fewer images, for "
            "example images[:64], or more columns."
        )
    # The header needs room even above a single image.
    width = max(2 * _MARGIN + columns * _CELL + (columns - 1) * _GAP, 3.6)
    with canvas.page(target, width=width, height=height) as figure:
        top = height - _MARGIN
        for group, block_height in zip(groups, heights, strict=True):
            _write_header(figure, group, top - 0.16, width)
            _draw_group(figure, group, top - _HEADER, columns)
            top -= _HEADER + block_height + _BETWEEN
    return target


def _checked(title: str, images: np.ndarray) -> np.ndarray:
    images = np.asarray(images)
    if images.ndim != 4 or images.shape[-1] not in _CHANNELS or 0 in images.shape:
        if images.ndim == 3:
            fix = "images[np.newaxis]" if images.shape[-1] in _CHANNELS else "images[..., np.newaxis]"
        else:
            fix = "a batch with at least one image, and images[..., :3] of one with more channels"
        raise ValueError(
            f"Images {title!r} have shape {images.shape}, expected (n, height, width, channels) with n > 0 "
            f"and 1, 3 or 4 channels. Pass {fix}."
        )
    if images.dtype.kind not in "fiub":
        raise TypeError(
            f"Images {title!r} have dtype {images.dtype}, expected uint8 or float. Decode them first, or "
            "convert them: images.astype('float32')."
        )
    return images


def _groups(titled: Sequence[tuple[str, np.ndarray]]) -> list[_Group]:
    """Returns the groups with the limits they are drawn between."""
    ranges = [_natural_limits(images) for _, images in titled]
    shared: list[tuple[float, float]] = []
    for low, high in (_extremes(images) for (_, images), known in zip(titled, ranges, strict=True) if not known):
        for index, (other_low, other_high) in enumerate(shared):
            union = max(high, other_high) - min(low, other_low)
            if min(high, other_high) - max(low, other_low) >= _SAME_UNIT * union:
                shared[index] = (min(low, other_low), max(high, other_high))
                break
        else:
            shared.append((low, high))
    groups = []
    for (title, images), known in zip(titled, ranges, strict=True):
        low, high = _extremes(images)
        limits = known or next(outer for outer in shared if outer[0] <= low and high <= outer[1])
        groups.append(_Group(title, images, limits, scaled=known is None))
    return groups


def _extremes(images: np.ndarray) -> tuple[float, float]:
    finite = images[np.isfinite(images)]
    return (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)


def _natural_limits(images: np.ndarray) -> tuple[float, float] | None:
    """Returns the (black, white) that dtype and values speak for, or `None`: they have to be measured."""
    if images.dtype == np.uint8:
        return 0.0, 255.0
    low, high = _extremes(images)
    return (0.0, 1.0) if images.dtype.kind in "fb" and low >= 0 and high <= 1 else None


def _cell_height(images: np.ndarray) -> float:
    proportion = images.shape[1] / images.shape[2]
    return _CELL * min(max(proportion, 1 / _MAX_PROPORTION), _MAX_PROPORTION)


def _block_height(images: np.ndarray, columns: int) -> float:
    lines = -(-len(images) // columns)
    return lines * _cell_height(images) + (lines - 1) * _GAP


def _write_header(figure: Figure, group: _Group, height: float, width: float) -> None:
    _, rows, columns, channels = group.images.shape
    note = f"{rows}×{columns}×{channels} {group.images.dtype}"
    if group.scaled:
        note += ", drawn from {:.3g} to {:.3g}".format(*group.limits)
    if not 1 / _MAX_PROPORTION <= rows / columns <= _MAX_PROPORTION:
        note += ", stretched"
    room = width - 2 * _MARGIN - canvas.text_width(note) - 0.1
    limit = max(int(room / canvas.text_width("x", canvas.TITLE_SIZE)), 8)
    title = canvas.one_line(group.title, limit)
    canvas.write(figure, _MARGIN, height, title, fontsize=canvas.TITLE_SIZE, fontweight="bold")
    canvas.write(figure, width - _MARGIN, height, note, ha="right", color=canvas.FAINT_INK)


def _draw_group(figure: Figure, group: _Group, top: float, columns: int) -> None:
    """Draws the images of a group below the height `top`, in one axes whose unit is the inch."""
    cell_height, height = _cell_height(group.images), _block_height(group.images, columns)
    width = columns * _CELL + (columns - 1) * _GAP
    axes = canvas.box(figure, _MARGIN, top - height, width, height)
    axes.set_axis_off()
    for index, image in enumerate(group.images):
        line, column = divmod(index, columns)
        left, upper = column * (_CELL + _GAP), height - line * (cell_height + _GAP)
        enlarged = image.shape[1] <= _CELL * canvas.DPI
        axes.imshow(
            _as_rgba(image, group.limits),
            extent=(left, left + _CELL, upper - cell_height, upper),
            origin="upper",
            aspect="auto",
            interpolation="nearest" if enlarged else "antialiased",
        )
        frame = Rectangle((left, upper - cell_height), _CELL, cell_height)
        frame.set(fill=False, edgecolor=canvas.RULE, linewidth=0.5, clip_on=False)
        axes.add_patch(frame)
    axes.set(xlim=(0, width), ylim=(0, height))


def _as_rgba(image: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Returns an image [height, width, channels] as float64 [height, width, 4] in [0, 1]."""
    low, high = limits
    finite = np.isfinite(image)
    values = np.where(finite, image, low).astype(np.float64)
    # A constant group has no range to stretch: mid-grey.
    values = np.clip((values - low) / (high - low), 0, 1) if high > low else np.full_like(values, 0.5)
    rgba = np.ones((*image.shape[:2], 4))
    if image.shape[-1] == 1:
        rgba[..., :3] = values
    else:
        rgba[..., : image.shape[-1]] = values
    rgba[~finite.all(axis=-1)] = (1, 0, 1, 1)
    return rgba
