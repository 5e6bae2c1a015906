"""Learning curves: how loss, metrics and learning rate went from epoch to epoch."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from framework.report import canvas

# Inches of one panel and of the margins within it; the right one has the curves' names.
_WIDTH, _HEIGHT = 3.75, 2.35
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.68, 1.12, 0.42, 0.36

# Where the largest value is this many times the smallest, a linear axis shows one of the two as a flat line.
_LOG_SCALE_FROM = 1e3
# Above any float32. Treated as infinite, for the sums that lay out an axis overflow near the end of the
# float64 range.
_OFF_THE_SCALE = 1e100
_SMALLEST_TITLE = 6.5
_SINGLE = ("learning_rate", "lr")
# Fractions of a panel's height: what its two curves' NaN and infinite values are marked at, and the room
# above the curves which the marks need.
_MARK_HEIGHTS = (0.94, 0.84)
_MARK_ROOM = 0.22


@dataclasses.dataclass(frozen=True)
class _Curve:
    """One line of a panel: `values` float64 [epochs], `measured` bool [epochs]."""

    name: str
    colour: str
    values: np.ndarray
    measured: np.ndarray

    @property
    def drawable(self) -> np.ndarray:
        """Bool [epochs]: measured, and a number that has a place on an axis."""
        return self.measured & (np.abs(np.nan_to_num(self.values, nan=np.inf)) <= _OFF_THE_SCALE)

    @property
    def unbounded(self) -> np.ndarray:
        """Bool [epochs]: measured, and without a place on an axis."""
        return self.measured & ~self.drawable

    @property
    def last(self) -> float:
        """The last value measured."""
        return float(self.values[self.measured][-1])

    @property
    def ends_unbounded(self) -> bool:
        """Whether the last value measured has no place on an axis."""
        return bool(self.unbounded[np.flatnonzero(self.measured)[-1]])


def learning_curves(
    history: Mapping[str, Sequence[float]],
    path: str | os.PathLike[str],
    *,
    best_epoch: int | None = None,
) -> pathlib.Path:
    """Draws a training history, one panel per quantity with training and validation together.

    The loss comes first and the learning rate last; epochs are counted from 0, as in `history.csv`. Each
    curve ends in its name and last value. A panel of positive values that span more than three decades has a
    logarithmic axis. NaN and infinite values are marked at the upper edge. An epoch at which *every* `val_`
    value is NaN counts as one without validation, and the line passes over it; not so when validation stays
    silent for longer than it ever did before, which is marked as NaN: that is how divergence looks.

    Args:
        history: Name to one value per epoch, as `keras.callbacks.History.history` has it; `val_x` is drawn in
            the panel of `x`. `None` is read as NaN.
        path: The `.png` to write.
        best_epoch: Index into the history of the epoch to mark, counted from 0; `None` marks nothing.

    Returns:
        The path written.

    Raises:
        ValueError: The history is empty or has lists of different lengths or values that aren't numbers,
            `best_epoch` lies outside it, or `path` doesn't end in `.png`.
    """
    target = canvas.png_path(path)
    series = _as_arrays(history)
    num_epochs = len(next(iter(series.values())))
    if best_epoch is not None and not 0 <= best_epoch < num_epochs:
        raise ValueError(
            f"Got best_epoch={best_epoch} for a history of {num_epochs} epochs, expected an index from 0 to "
            f"{num_epochs - 1}. Pass the 0-based index into the history, or None to mark no epoch."
        )
    panels = _panels(series)
    rows, columns = canvas.grid_shape(len(panels))
    with canvas.page(target, width=columns * _WIDTH, height=rows * _HEIGHT) as figure:
        for index, (quantity, curves) in enumerate(panels.items()):
            row, column = divmod(index, columns)
            left, bottom = column * _WIDTH, (rows - 1 - row) * _HEIGHT
            axes = canvas.box(figure, left + _LEFT, bottom + _BOTTOM, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP)
            _draw_panel(axes, curves, best_epoch)
            _draw_header(figure, (left, bottom), quantity, curves, best_epoch)
            if index + columns >= len(panels):
                axes.set_xlabel("epoch (from 0)", color=canvas.INK, fontsize=canvas.TEXT_SIZE, labelpad=2)
    return target


def _as_arrays(history: Mapping[str, Sequence[float]]) -> dict[str, np.ndarray]:
    """Returns name -> float64 [epochs], all of one length."""
    series = {}
    for name, values in history.items():
        try:
            series[name] = np.array(list(values), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"History {name!r} has values that aren't numbers: {error}. Expected one number per epoch. "
                "Leave other records out of the history."
            ) from error
        if series[name].ndim != 1:
            raise ValueError(
                f"History {name!r} has shape {series[name].shape}, expected (epochs,). Pass one number per "
                "epoch, one history entry per quantity."
            )
    lengths = {name: len(values) for name, values in series.items()}
    if not lengths or max(lengths.values()) == 0:
        raise ValueError(
            f"Got a history without epochs, with the names {sorted(lengths)}, expected at least one value of "
            "one quantity. Draw it after the first epoch has ended."
        )
    longest = max(lengths, key=lambda name: lengths[name])
    for name, length in lengths.items():
        if length != lengths[longest]:
            raise ValueError(
                f"History {name!r} has {length} values and {longest!r} has {lengths[longest]}, expected one "
                "value per epoch in each. Put float('nan') at the epochs where it wasn't measured, for "
                "example when validation runs at every second epoch."
            )
    return series


def _panels(series: Mapping[str, np.ndarray]) -> dict[str, list[_Curve]]:
    """Returns quantity -> its curves, in the order of the panels."""
    num_epochs = len(next(iter(series.values())))
    always = np.ones(num_epochs, bool)
    validated = ~_epochs_without_validation(series)
    quantities = sorted(
        dict.fromkeys(name.removeprefix("val_") for name in series),
        key=lambda quantity: (quantity != "loss", quantity in _SINGLE),
    )
    panels: dict[str, list[_Curve]] = {}
    for quantity in quantities:
        curves = panels.setdefault(quantity, [])
        if quantity in series:
            name = "" if quantity in _SINGLE else "train"
            curves.append(_Curve(name, canvas.BLUE, series[quantity], always))
        if f"val_{quantity}" in series:
            curves.append(_Curve("validation", canvas.VERMILLION, series[f"val_{quantity}"], validated))
    return panels


def _epochs_without_validation(series: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns bool [epochs]: True where NaN stands for "no validation ran" and not for a value."""
    validation = [np.isnan(values) for name, values in series.items() if name.startswith("val_")]
    silent = np.all(validation, axis=0) if validation else np.zeros(len(next(iter(series.values()))), bool)
    heard = np.flatnonzero(~silent)
    if not heard.size:
        return np.zeros_like(silent)
    longest_wait = np.diff(heard, prepend=-1).max()
    silent[heard[-1] + longest_wait :] = False
    return silent


def _draw_panel(axes: Axes, curves: Sequence[_Curve], best_epoch: int | None) -> None:
    num_epochs = len(curves[0].values)
    drawable = np.concatenate([curve.values[curve.drawable] for curve in curves])
    low, high = _set_scale(axes, drawable, marked=any(curve.unbounded.any() for curve in curves))
    axes.set_xlim(-0.5 if num_epochs == 1 else 0, max(num_epochs - 1, 0.5))
    axes.xaxis.set_major_locator(canvas.round_steps(6, whole=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))
    axes.grid(True, axis="y", which="major", color=canvas.GRID, linewidth=0.8, linestyle="-")
    if best_epoch is not None:
        axes.axvline(
            best_epoch,
            color=canvas.RULE,
            linewidth=0.9,
            linestyle=(0, (4, 3)),
            marker="",
            zorder=1.5,
            clip_on=False,
        )
    for order, curve in enumerate(curves):
        _draw_curve(axes, curve, best_epoch)
        _mark_unbounded(axes, curve, _MARK_HEIGHTS[order])
    _name_curves(axes, curves, low, high)


def _set_scale(axes: Axes, values: np.ndarray, *, marked: bool) -> tuple[float, float]:
    """Sets the y axis for the values, float64 [any number], with room for marks above them if there are any.

    Returns:
        The limits, as logarithms to base 10 if the axis is logarithmic.
    """
    if not values.size:
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_locator(NullLocator())
        return 0.0, 1.0
    low, high = float(values.min()), float(values.max())
    # Below 1e-100 the margin would leave the float64 range.
    logarithmic = low > 1 / _OFF_THE_SCALE and high / low > _LOG_SCALE_FROM
    if logarithmic:
        low, high = math.log10(low), math.log10(high)
    constant = high - low <= 1e-9 * max(abs(low), abs(high))
    margin = (0.12 * abs(high) or 1.0) if constant else 0.06 * (high - low)
    low, high = low - margin, high + margin
    if marked:
        high = low + (high - low) / (1 - _MARK_ROOM)
    if logarithmic:
        axes.set_yscale("log")
        axes.set_ylim(10**low, 10**high)
        axes.yaxis.set_major_locator(LogLocator(base=10, numticks=6))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.yaxis.set_minor_locator(NullLocator())
    else:
        axes.set_ylim(low, high)
        axes.yaxis.set_major_locator(canvas.round_steps(5))
        axes.yaxis.set_major_formatter(canvas.tick_text(low, high))
    return low, high


def _draw_curve(axes: Axes, curve: _Curve, best_epoch: int | None) -> None:
    epochs = np.flatnonzero(curve.drawable)
    # A line hides where it was measured; what is sparse, or has nothing to join, is shown as points too.
    sparse = len(epochs) <= 2 or not curve.measured.all()
    style: dict[str, Any] = {
        "color": curve.colour,
        "linewidth": 1.5,
        "linestyle": "-",
        "clip_on": False,
        "zorder": 3,
    }
    # Values not measured are passed over; values that aren't numbers break the line.
    broken = np.split(np.flatnonzero(curve.measured), np.flatnonzero(~curve.drawable[curve.measured]))
    for part in broken:
        part = part[curve.drawable[part]]
        lone = len(part) == 1
        axes.plot(part, curve.values[part], marker="o" if sparse or lone else "", markersize=3.2, **style)
    if best_epoch is not None and curve.drawable[best_epoch]:
        axes.plot(
            [best_epoch],
            [curve.values[best_epoch]],
            marker="o",
            markersize=5,
            markerfacecolor="white",
            markeredgewidth=1.4,
            markeredgecolor=curve.colour,
            linestyle="",
            clip_on=False,
            zorder=4,
        )


def _mark_unbounded(axes: Axes, curve: _Curve, height: float) -> None:
    """Marks, at a height given as a fraction of the axes, the epochs whose value has no place on the axis."""
    epochs = np.flatnonzero(curve.unbounded)
    if not epochs.size:
        return
    edge = axes.get_xaxis_transform()
    axes.plot(
        epochs,
        np.full(len(epochs), height),
        transform=edge,
        color=curve.colour,
        marker="x",
        markersize=3.6,
        markeredgewidth=1.1,
        linestyle="",
        clip_on=False,
        zorder=3,
    )
    if curve.ends_unbounded:
        return  # the curve's name stands beside the last mark and says what it means
    values = curve.values[epochs]
    what = "NaN" if np.isnan(values).all() else "NaN or inf" if np.isnan(values).any() else "inf"
    to_the_left = epochs[0] > (len(curve.values) - 1) / 2
    axes.annotate(
        what,
        xy=(epochs[0] if to_the_left else epochs[-1], height),
        xycoords=edge,
        xytext=(-5 if to_the_left else 5, 0),
        textcoords="offset points",
        ha="right" if to_the_left else "left",
        va="center",
        color=curve.colour,
        fontsize=canvas.TEXT_SIZE,
    )


def _name_curves(axes: Axes, curves: Sequence[_Curve], low: float, high: float) -> None:
    """Writes each curve's name and last value beside its end, moved apart where two ends meet."""
    heights = []
    for curve, mark_height in zip(curves, _MARK_HEIGHTS, strict=False):
        if curve.ends_unbounded:
            heights.append(mark_height)
            continue
        end = curve.values[curve.drawable][-1]
        heights.append(((math.log10(end) if axes.get_yscale() == "log" else end) - low) / (high - low))
    line_height = 0.095
    if len(heights) == 2 and abs(heights[0] - heights[1]) < line_height:
        middle = min(max(sum(heights) / 2, line_height / 2), 1 - line_height / 2)
        upper = int(heights[1] > heights[0])
        heights[upper], heights[1 - upper] = middle + line_height / 2, middle - line_height / 2
    for curve, height in zip(curves, heights, strict=True):
        axes.annotate(
            f"{curve.name} {_number(curve.last)}".strip(),
            xy=(1, height),
            xycoords="axes fraction",
            xytext=(6, 0),
            textcoords="offset points",
            va="center_baseline",
            color=curve.colour,
            fontsize=canvas.TEXT_SIZE,
        )


def _draw_header(
    figure: Figure,
    corner: tuple[float, float],
    quantity: str,
    curves: Sequence[_Curve],
    best_epoch: int | None,
) -> None:
    """Writes the quantity and its value at the best epoch above the panel with this lower left corner."""
    left, bottom = corner
    height = bottom + _HEIGHT - _TOP + 0.1
    note = ""
    if best_epoch is not None:
        # The last curve is validation where there is one, which is what a best epoch is chosen by.
        measured = curves[-1].measured[best_epoch]
        value = f": {_number(curves[-1].values[best_epoch])}" if measured else ""
        note = f"best epoch {best_epoch}{value}"
    canvas.write(figure, left + _WIDTH - 0.1, height, note, ha="right", color=canvas.FAINT_INK)
    room = _WIDTH - _LEFT - 0.2 - canvas.text_width(note)
    title = canvas.one_line(quantity, int(room / canvas.text_width("x", _SMALLEST_TITLE)))
    size = min(canvas.TITLE_SIZE, room / canvas.text_width(title, 1))
    canvas.write(figure, left + _LEFT, height, title, fontsize=size, fontweight="bold")


def _number(value: float) -> str:
    return "NaN" if math.isnan(value) else f"{value:.4g}"
