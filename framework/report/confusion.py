"""Confusion matrix: which classes are taken for which."""

import os
import pathlib
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from framework.report import canvas

# Up to here counts are written into the cells; beyond, they are too small to read and the worst are listed
# beside.
_MAX_NUMBERED = 25
_MAX_TICKS = 25
_NUM_LISTED = 12
# Cells side by side that have a pixel of their own.
_MAX_CELLS = 1000
# The share from which a cell is so dark that its count is written in white.
_DARK_FROM = 0.36
_NAME_LIMIT = 24


def count_confusions(labels: np.ndarray, predictions: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts how often each class was predicted for each true class.

    >>> count_confusions(np.array([0, 0, 1]), np.array([0, 1, 1]), num_classes=2)
    array([[1, 1],
           [0, 1]])

    Args:
        labels: True class ids, integer [examples], in [0, num_classes).
        predictions: Predicted class ids, integer [examples], in [0, num_classes).
        num_classes: Size of the matrix, at least 1.

    Returns:
        int64 [num_classes, num_classes]: rows are true classes, columns predicted ones.

    Raises:
        TypeError: Labels or predictions aren't integers.
        ValueError: They aren't one-dimensional and of one length, or an id lies outside [0, num_classes).
    """
    if num_classes < 1:
        raise ValueError(f"Got num_classes={num_classes}, expected at least 1. Pass the number of class names.")
    labels = _class_ids("labels", labels, num_classes)
    predictions = _class_ids("predictions", predictions, num_classes)
    if len(labels) != len(predictions):
        raise ValueError(
            f"Got {len(labels)} labels and {len(predictions)} predictions, expected as many of one as of the "
            "other. Pass both for the same examples, in one order."
        )
    cells = np.bincount(labels * num_classes + predictions, minlength=num_classes**2)
    return cells.reshape(num_classes, num_classes).astype(np.int64)


def confusion_matrix(
    labels: np.ndarray, predictions: np.ndarray, path: str | os.PathLike[str], *, class_names: Sequence[str]
) -> pathlib.Path:
    """Draws which classes are taken for which, for 2 to several hundred classes.

    Rows are true classes, columns predicted ones. Colour is the share of the row, on a square-root scale so
    that a confusion of a few percent can be seen; the row of a class without examples is grey. Up to 25
    classes have their counts and recall written out; more have every second, fifth, ... name, and the most
    frequent confusions in a list.

    Args:
        labels: True class ids, integer [examples], in [0, number of class names).
        predictions: Predicted class ids, integer [examples], in the same range.
        path: The `.png` to write.
        class_names: Name of each class, in the order of the ids.

    Returns:
        The path written.

    Raises:
        TypeError: `class_names` is a single string, or labels or predictions aren't integers.
        ValueError: As `count_confusions`; or there are no examples; or `path` doesn't end in `.png`.
    """
    target = canvas.png_path(path)
    if isinstance(class_names, str):
        raise TypeError(
            f"Got the string {class_names!r} as class_names, expected a sequence of names. Pass [{class_names!r}, ...]."
        )
    names = [canvas.one_line(name, _NAME_LIMIT) for name in class_names]
    counts = count_confusions(labels, predictions, len(names))
    if not counts.sum():
        raise ValueError("Got no examples, expected at least one. Pass the labels and predictions of an evaluation.")

    side = min(max(0.45 * len(names), 2.7), 7.5)
    numbered = len(names) <= _MAX_NUMBERED
    longest = max(canvas.text_width(name) for name in names)
    slanted = longest > 0.95 * side / len(names) * _tick_step(len(names))
    left = 0.5 + longest
    below = 0.4 + (0.1 + 0.71 * longest if slanted else 0.13)
    pairs = [] if numbered else _worst(counts)
    beside = 1.6 if numbered else max(0.4 + _list_width(counts, pairs, names), 1.6)
    with canvas.page(target, width=left + side + beside, height=below + side + 0.5) as figure:
        axes = canvas.box(figure, left, below, side, side)
        image = _draw_cells(axes, counts)
        _draw_names(axes, names, slanted)
        accuracy = f"accuracy {np.trace(counts) / counts.sum():.1%}"
        title = f"{accuracy}  ({np.trace(counts):,} of {counts.sum():,} examples)"
        canvas.write(figure, left, below + side + 0.22, title, fontsize=canvas.TITLE_SIZE)
        bar = canvas.box(figure, left + side + (0.8 if numbered else 0.25), below, 0.13, min(side, 3.6))
        _draw_colour_bar(figure, image, bar)
        if numbered:
            _write_counts(axes, counts, cell_points=72 * side / len(names))
            _write_recall(figure, counts, left + side + 0.52, below + side, side)
        else:
            _write_worst(figure, counts, pairs, names, corner=(left + side + 0.25, below + side - 0.1))
    return target


def _class_ids(what: str, values: np.ndarray, num_classes: int) -> np.ndarray:
    """Returns the values as int64 [examples], or says what is wrong with them."""
    values = np.asarray(values)
    if values.ndim != 1:
        fix = f"{what}.reshape(-1)" if values.ndim == 2 and values.shape[1] == 1 else f"{what}.argmax(axis=-1)"
        raise ValueError(
            f"Got {what} of shape {values.shape}, expected (examples,): one class id for each. Pass {fix}."
        )
    if values.size and values.dtype.kind not in "iub":
        raise TypeError(
            f"Got {what} of dtype {values.dtype}, expected integer class ids. Pass {what}.astype('int64') if "
            "the values are whole numbers, or look names up in the class names first."
        )
    outside = (values < 0) | (values >= num_classes)
    if outside.any():
        raise ValueError(
            f"Got {values[outside][0]} among the {what}, at position {np.flatnonzero(outside)[0]}, expected "
            f"class ids from 0 to {num_classes - 1} for {num_classes} class names. Add the missing class "
            "names, or leave out the ids that stand for no class."
        )
    return values.astype(np.int64)


def _tick_step(num_classes: int) -> int:
    steps = (unit * 10**power for power in range(9) for unit in (1, 2, 5))
    return next(step for step in steps if num_classes <= step * _MAX_TICKS)


def _draw_cells(axes: Axes, counts: np.ndarray) -> AxesImage:
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.ma.masked_array(counts / np.maximum(totals, 1), mask=np.broadcast_to(totals == 0, counts.shape))
    colours = matplotlib.colormaps["Blues"].with_extremes(bad="#e4e4e4")
    edge = len(counts) - 0.5
    image = axes.imshow(
        _darkest(shares),
        cmap=colours,
        norm=PowerNorm(0.5, vmin=0, vmax=1),
        extent=(-0.5, edge, edge, -0.5),
        origin="upper",
        aspect="auto",
        interpolation="nearest",
    )
    for spine in axes.spines.values():
        spine.set_visible(True)
    if len(counts) <= _MAX_NUMBERED:
        # White rules set the cells apart; with more classes they would be wider than the cells deserve.
        edges = np.arange(1, len(counts)) - 0.5
        axes.hlines(edges, -0.5, edge, colors="white", linewidths=0.8, linestyles="-")
        axes.vlines(edges, -0.5, edge, colors="white", linewidths=0.8, linestyles="-")
    return image


def _darkest(shares: np.ma.MaskedArray) -> np.ma.MaskedArray:
    """Returns the largest of the cells that would share a pixel: else lone ones fall between the pixels."""
    block = -(-len(shares) // _MAX_CELLS)
    if block == 1:
        return shares
    starts = np.arange(0, len(shares), block)
    # Shares are never negative, so -1 loses to every cell that is there.
    filled = np.maximum.reduceat(np.maximum.reduceat(shares.filled(-1), starts, axis=0), starts, axis=1)
    return np.ma.masked_less(filled, 0)


def _draw_names(axes: Axes, names: Sequence[str], slanted: bool) -> None:
    ids = list(range(0, len(names), _tick_step(len(names))))
    shown = [names[index] for index in ids]
    axes.set_yticks(ids, shown, **canvas.PLAIN)
    slant: dict[str, Any] = {"rotation": 45, "ha": "right", "va": "top", "rotation_mode": "anchor"}
    axes.set_xticks(ids, shown, **canvas.PLAIN, **(slant if slanted else {}))
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlabel("predicted class", color=canvas.INK, fontsize=canvas.TEXT_SIZE + 0.5, labelpad=4)
    axes.set_ylabel("true class", color=canvas.INK, fontsize=canvas.TEXT_SIZE + 0.5, labelpad=4)


def _draw_colour_bar(figure: Figure, image: AxesImage, axes: Axes) -> None:
    bar = figure.colorbar(image, cax=axes)
    bar.outline.set(color=canvas.RULE, linewidth=0.8)
    bar.set_ticks([0, 0.01, 0.05, 0.1, 0.25, 0.5, 1], labels=["0", "1%", "5%", "10%", "25%", "50%", "100%"])
    bar.ax.tick_params(which="both", right=True, left=False, length=2.5, color=canvas.RULE, labelcolor=canvas.INK)
    bar.ax.minorticks_off()
    bar.set_label("share of the true class", color=canvas.INK, fontsize=canvas.TEXT_SIZE, labelpad=3)


def _write_counts(axes: Axes, counts: np.ndarray, cell_points: float) -> None:
    def text(count: int) -> str:
        return f"{count}" if count < 100_000 else f"{count:.1e}".replace("e+0", "e")

    longest = max(len(text(count)) for count in np.unique(counts))
    size = min(8.5, 0.86 * cell_points / (0.64 * longest))
    dark = counts > _DARK_FROM * counts.sum(axis=1, keepdims=True)
    for row, column in np.argwhere(counts):
        colour = "white" if dark[row, column] else canvas.INK
        style: dict[str, Any] = {"ha": "center", "va": "center_baseline", "fontsize": size, "color": colour}
        axes.text(column, row, text(counts[row, column]), **style)


def _write_recall(figure: Figure, counts: np.ndarray, right: float, top: float, side: float) -> None:
    """Writes each class's recall up to the line `right`, beside its row of a matrix `side` inches high."""
    style: dict[str, Any] = {"ha": "right", "color": canvas.FAINT_INK}
    canvas.write(figure, right, top + 0.06, "recall", **style)
    for row, total in enumerate(counts.sum(axis=1)):
        text = f"{counts[row, row] / total:.1%}" if total else "none"
        height = top - (row + 0.5) * side / len(counts)
        canvas.write(figure, right, height, text, va="center_baseline", **style)


def _worst(counts: np.ndarray) -> list[tuple[int, int]]:
    """Returns the most frequent confusions (true, predicted), worst first, ties in order of the ids."""
    wrong = counts * ~np.eye(len(counts), dtype=bool)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_NUM_LISTED]
    pairs = [divmod(int(cell), len(counts)) for cell in order]
    return [(row, column) for row, column in pairs if wrong[row, column]]


def _list_width(counts: np.ndarray, pairs: Sequence[tuple[int, int]], names: Sequence[str]) -> float:
    lines = [_share(counts, pair) + _arrow(names, pair) for pair in pairs]
    return max((canvas.text_width(line) + 0.1 for line in lines), default=0)


def _share(counts: np.ndarray, pair: tuple[int, int]) -> str:
    return f"{counts[pair]:,} of {counts[pair[0]].sum():,}"


def _arrow(names: Sequence[str], pair: tuple[int, int]) -> str:
    return f"{names[pair[0]]} → {names[pair[1]]}"


def _write_worst(
    figure: Figure,
    counts: np.ndarray,
    pairs: Sequence[tuple[int, int]],
    names: Sequence[str],
    corner: tuple[float, float],
) -> None:
    """Lists the (true, predicted) pairs downwards from the corner, given in inches."""
    left, top = corner
    canvas.write(figure, left, top, "most frequent confusions")
    indent = max((canvas.text_width(_share(counts, pair)) for pair in pairs), default=0)
    for line, pair in enumerate(pairs, start=1):
        height = top - 0.04 - 0.17 * line
        canvas.write(figure, left + indent, height, _share(counts, pair), color=canvas.FAINT_INK, ha="right")
        canvas.write(figure, left + indent + 0.08, height, _arrow(names, pair))
    if not pairs:
        canvas.write(figure, left, top - 0.21, "none", color=canvas.FAINT_INK)
