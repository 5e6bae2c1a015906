"""Predicted against true values, for regression."""

import os
import pathlib
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator

from framework.report import canvas

_SIDE = 3.6
# From here on points hide each other and are counted in hexagons instead.
_MAX_POINTS = 3000


def predicted_against_true(
    targets: np.ndarray, predictions: np.ndarray, path: str | os.PathLike[str], *, name: str = ""
) -> pathlib.Path:
    """Draws each prediction over its true value, with the line on which a perfect model's would lie.

    The title has R^2 = 1 - sum (y - f)^2 / sum (y - mean y)^2 and the mean absolute error. Both axes have one
    range, so that the line is the diagonal. Pairs in which either value is NaN or infinite are left out of
    the picture and of the figures, and the title says how many they are. Above 3,000 examples hexagons show
    how many fall on a place.

    Args:
        targets: True values, numeric [examples] or [examples, 1].
        predictions: Predicted values, of the same shape up to that axis of 1.
        path: The `.png` to write.
        name: What is predicted, with its unit: `"price (EUR)"`. Written on the axes.

    Returns:
        The path written.

    Raises:
        TypeError: Targets or predictions aren't real numbers.
        ValueError: Their shapes don't fit, no pair is finite, or `path` doesn't end in `.png`.
    """
    target = canvas.png_path(path)
    true, predicted = _one_column("targets", targets), _one_column("predictions", predictions)
    if len(true) != len(predicted):
        raise ValueError(
            f"Got {len(true)} targets and {len(predicted)} predictions, expected as many of one as of the "
            "other. Pass both for the same examples, in one order."
        )
    finite = np.isfinite(true) & np.isfinite(predicted)
    if not finite.any():
        raise ValueError(
            f"Got {len(true)} pairs of which none is finite, expected at least one. Look for the epoch at "
            "which the loss became NaN; a smaller learning rate or gradient clipping may help."
        )
    left_out = int(len(true) - finite.sum())
    true, predicted = true[finite], predicted[finite]

    crowded = len(true) > _MAX_POINTS
    with canvas.page(target, width=_SIDE + (1.75 if crowded else 1.0), height=_SIDE + 1.05) as figure:
        axes = canvas.box(figure, 0.8, 0.5, _SIDE, _SIDE)
        _set_limits(axes, true, predicted)
        identity: dict[str, Any] = {
            "color": canvas.VERMILLION,
            "linewidth": 1.0,
            "linestyle": (0, (4, 3)),
            "marker": "",
        }
        axes.plot(axes.get_xlim(), axes.get_xlim(), zorder=4, **identity)
        if not crowded:
            size = 26 if len(true) <= 50 else 12 if len(true) <= 500 else 6
            axes.scatter(true, predicted, s=size, color=canvas.BLUE, alpha=0.45, linewidths=0, marker="o", zorder=3)
        else:
            _draw_hexagons(figure, axes, true, predicted)
        style = {"color": canvas.INK, "fontsize": canvas.TEXT_SIZE + 0.5, **canvas.PLAIN}
        quantity = canvas.one_line(name, 40)
        axes.set_xlabel(f"true {quantity}".strip(), labelpad=3, **style)
        axes.set_ylabel(f"predicted {quantity}".strip(), labelpad=3, **style)
        canvas.write(figure, 0.8, _SIDE + 0.77, _scores(true, predicted), fontsize=canvas.TITLE_SIZE)
        note = f"{len(true):,} examples; dashed: predicted = true"
        note += f"; {left_out:,} not finite, left out" if left_out else ""
        canvas.write(figure, 0.8, _SIDE + 0.58, note, color=canvas.FAINT_INK)
    return target


def _one_column(what: str, values: np.ndarray) -> np.ndarray:
    """Returns the values as float64 [examples], or says what is wrong with them."""
    values = np.asarray(values)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim != 1:
        raise ValueError(
            f"Got {what} of shape {values.shape}, expected (examples,) or (examples, 1). Draw one picture "
            f"for each output: {what}[:, 0], {what}[:, 1], ..."
        )
    if values.dtype.kind not in "fiub":
        raise TypeError(
            f"Got {what} of dtype {values.dtype}, expected real numbers. Convert them first: {what}.astype('float32')."
        )
    return values.astype(np.float64)


def _scores(true: np.ndarray, predicted: np.ndarray) -> str:
    error = f"MAE = {np.abs(true - predicted).mean():.4g}"
    spread = np.square(true - true.mean()).sum()
    if not spread > 0:
        return f"R² undefined, all true values are equal    {error}"
    return f"R² = {1 - np.square(true - predicted).sum() / spread:.4f}    {error}"


def _set_limits(axes: Axes, true: np.ndarray, predicted: np.ndarray) -> None:
    low = float(min(true.min(), predicted.min()))
    high = float(max(true.max(), predicted.max()))
    margin = 0.04 * (high - low) if high > low else 0.1 * abs(high) or 1.0
    low, high = low - margin, high + margin
    axes.set(xlim=(low, high), ylim=(low, high))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(canvas.round_steps(6))
        axis.set_major_formatter(canvas.tick_text(low, high))
    axes.grid(True, which="major", color=canvas.GRID, linewidth=0.8, linestyle="-")


def _draw_hexagons(figure: Figure, axes: Axes, true: np.ndarray, predicted: np.ndarray) -> None:
    low, high = axes.get_xlim()
    hexagons = axes.hexbin(
        true,
        predicted,
        gridsize=48,
        extent=(low, high, low, high),
        bins="log",
        mincnt=1,
        # The palest blues can't be told from the page.
        cmap=ListedColormap(matplotlib.colormaps["Blues"](np.linspace(0.25, 1, 192))),
        linewidths=0.1,
        zorder=3,
    )
    bar = figure.colorbar(hexagons, cax=canvas.box(figure, 0.8 + _SIDE + 0.2, 0.5, 0.12, _SIDE / 2))
    bar.outline.set(color=canvas.RULE, linewidth=0.8)
    bar.locator = LogLocator(base=10)
    bar.formatter = FuncFormatter(lambda value, _: f"{value:g}")
    bar.update_ticks()
    bar.ax.minorticks_off()
    bar.ax.tick_params(which="both", right=True, left=False)
    bar.set_label("examples", color=canvas.INK, fontsize=canvas.TEXT_SIZE, labelpad=3)
