"""Histograms of the features of tabular data, for the eye to judge what a model is fed."""

import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from framework.report import canvas

# Inches of one panel and of the margins within it.
_WIDTH, _HEIGHT = 2.6, 1.75
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.5, 0.18, 0.34, 0.42
_HEADER, _FOOTER = 0.42, 0.3
_MAX_PANELS = 60
# Whole numbers with at most this many different values have a bin each.
_MAX_WHOLE = 40
# A tail that reaches this many times the width of the middle 90 % beyond it would make one bar of an empty
# panel. A million normal values reach 1.0 times, a million exponential ones 3.7 times.
_LONG_TAIL = 4.0


def feature_sheet(
    samples: Sequence[tuple[str, Mapping[str, np.ndarray]]], path: str | os.PathLike[str]
) -> pathlib.Path:
    """Draws one histogram per numeric feature, the samples over each other: "train" over "validation", say.

    Heights are shares of a sample's values, so that samples of different sizes compare, and all samples have
    the same bins. Whole numbers with few values have a bin each. Long tails are cut; how much lies beyond, is
    missing (NaN) or infinite is written above the panel, for the sample with the most of it. What isn't
    numeric, and the features past the sixtieth, is named at the foot of the page instead.

    Args:
        samples: (title, features) pairs, at most six; features map a name to an array [examples, ...], of
            which all values are counted. A feature may be missing from a sample.
        path: The `.png` to write.

    Returns:
        The path written.

    Raises:
        ValueError: There is no sample, there are more than six, no feature is numeric, or `path` doesn't end
            in `.png`.
    """
    target = canvas.png_path(path)
    if not 1 <= len(samples) <= len(canvas.PALETTE):
        raise ValueError(
            f"Got {len(samples)} samples, expected 1 to {len(canvas.PALETTE)}: more colours can't be told "
            "apart. Draw several sheets, or join samples."
        )
    features = _by_feature(samples)
    numeric = {name: arrays for name, arrays in features.items() if all(map(_is_numeric, arrays))}
    if not numeric:
        raise ValueError(
            f"Got no numeric feature among {sorted(features)}, expected at least one. Pass the features "
            "after their strings have been looked up, or leave this picture out."
        )
    shown = list(numeric)[:_MAX_PANELS]
    rows, columns = canvas.grid_shape(len(shown))
    with canvas.page(target, width=max(columns * _WIDTH, 4), height=_HEADER + rows * _HEIGHT + _FOOTER) as figure:
        titles = [canvas.one_line(title, 30) for title, _ in samples]
        top = _FOOTER + rows * _HEIGHT
        _draw_key(figure, titles, top + 0.18)
        for index, name in enumerate(shown):
            row, column = divmod(index, columns)
            left, bottom = column * _WIDTH, _FOOTER + (rows - 1 - row) * _HEIGHT
            axes = canvas.box(figure, left + _LEFT, bottom + _BOTTOM, _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - _TOP)
            note = _draw_feature(axes, numeric[name])
            height = bottom + _HEIGHT - _TOP
            canvas.write(figure, left + _LEFT, height + 0.2, canvas.one_line(name, 28), fontweight="bold")
            canvas.write(figure, left + _LEFT, height + 0.06, note, color=canvas.FAINT_INK, fontsize=6.5)
            if not column:
                axes.set_ylabel("share", color=canvas.INK, fontsize=canvas.TEXT_SIZE, labelpad=2)
        left_out = [name for name in features if name not in shown]
        if left_out:
            foot = canvas.one_line("not drawn: " + ", ".join(left_out), int(columns * _WIDTH / 0.058))
            canvas.write(figure, _LEFT, 0.12, foot, color=canvas.FAINT_INK)
    return target


def _draw_key(figure: Figure, titles: Sequence[str], height: float) -> None:
    """Writes the titles in one line at a height in inches, each behind a swatch of its colour."""
    page_width, page_height = figure.get_size_inches()
    left = _LEFT
    for title, colour in zip(titles, canvas.PALETTE, strict=False):
        corner = (left / page_width, height / page_height)
        swatch = Rectangle(corner, 0.16 / page_width, 0.08 / page_height, facecolor=colour, edgecolor="none")
        figure.add_artist(swatch)
        canvas.write(figure, left + 0.22, height, title)
        left += 0.22 + canvas.text_width(title) + 0.25


def _by_feature(samples: Sequence[tuple[str, Mapping[str, np.ndarray]]]) -> dict[str, list[np.ndarray]]:
    """Returns name -> one array per sample, empty where a sample doesn't have the feature."""
    names = dict.fromkeys(name for _, features in samples for name in features)
    return {name: [np.asarray(features.get(name, ())).ravel() for _, features in samples] for name in names}


def _is_numeric(values: np.ndarray) -> bool:
    return values.dtype.kind in "fiub"


def _draw_feature(axes: Axes, arrays: Sequence[np.ndarray]) -> str:
    """Draws the histograms of one feature; returns what they don't show."""
    finite = [values[np.isfinite(values)].astype(np.float64) for values in arrays]
    whole = all(values.dtype.kind in "iub" for values in arrays if values.size)
    edges = _edges(finite, whole=whole)
    tallest = 0.0
    for values, drawn, colour in zip(arrays, finite, canvas.PALETTE, strict=False):
        if values.size:
            shares = np.histogram(drawn, edges)[0] / values.size
            tallest = max(tallest, float(shares.max()))
            axes.stairs(shares, edges, color=colour, linewidth=1.2, fill=False, baseline=None)
            axes.stairs(shares, edges, color=colour, linewidth=0, fill=True, alpha=0.12)
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.06 * tallest or 1)
    axes.xaxis.set_major_locator(canvas.round_steps(4, whole=whole))
    axes.yaxis.set_major_locator(canvas.round_steps(4))
    axes.xaxis.set_major_formatter(canvas.tick_text(float(edges[0]), float(edges[-1])))
    axes.yaxis.set_major_formatter(canvas.tick_text(0, tallest))
    return _not_shown(arrays, finite, edges)


def _edges(samples: Sequence[np.ndarray], *, whole: bool) -> np.ndarray:
    """Returns the edges of the bins for the samples' finite values, float64 [bins + 1]."""
    values = np.concatenate(samples)
    if not values.size:
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    if whole and high - low < _MAX_WHOLE:
        return np.arange(low - 0.5, high + 1)
    # Rice's rule, for the smallest sample: more bins would show its noise.
    smallest = min(sample.size for sample in samples if sample.size)
    num_bins = min(max(round(2 * smallest ** (1 / 3)), 8), 40)
    if high == low:
        reach = 0.5 * abs(low) or 0.5
        return np.linspace(low - reach, low + reach, num_bins // 2 * 2 + 2)
    middle_low, middle_high = (float(value) for value in np.percentile(values, (5, 95)))
    width = middle_high - middle_low
    if width > 0 and max(middle_low - low, high - middle_high) > _LONG_TAIL * width:
        low, high = max(low, middle_low - width), min(high, middle_high + width)
    return np.linspace(low, high, num_bins + 1)


def _not_shown(arrays: Sequence[np.ndarray], finite: Sequence[np.ndarray], edges: np.ndarray) -> str:
    """Says which share of a sample isn't in its histogram, at most over the samples."""
    shares = {"NaN": 0.0, "infinite": 0.0, "beyond the axis": 0.0}
    for values, drawn in zip(arrays, finite, strict=True):
        if values.size:
            beyond = np.count_nonzero((drawn < edges[0]) | (drawn > edges[-1]))
            shares["NaN"] = max(shares["NaN"], float(np.isnan(values).mean()))
            shares["infinite"] = max(shares["infinite"], float(np.isinf(values).mean()))
            shares["beyond the axis"] = max(shares["beyond the axis"], beyond / values.size)
    up_to = "up to " if sum(values.size > 0 for values in arrays) > 1 else ""
    return ", ".join(f"{up_to}{max(share, 0.001):.1%} {what}" for what, share in shares.items() if share)
