"""The page each picture of the report is drawn on: one look, and one way to reach the disk.

Every colour, width and font size is given explicitly and neither pyplot nor `rc_context` is used, so drawing
neither depends on nor changes matplotlib's global state: a notebook's dark style stays in the notebook. The
font family alone is the reader's own (`rcParams["font.family"]`), because only they know which of theirs has
the glyphs of their class names.
"""

import contextlib
import io
import math
import os
import pathlib
import threading
from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import Formatter, FuncFormatter, MaxNLocator, ScalarFormatter

from framework import files

DPI = 150

INK = "#222222"
FAINT_INK = "#767676"
RULE = "#b0b0b0"
GRID = "#ececec"

# Okabe and Ito, "Color Universal Design" (2008): told apart under every common form of colour blindness.
# Their yellow is left out, being too pale for a line on white.
BLUE = "#0072B2"
VERMILLION = "#D55E00"
PALETTE = (BLUE, VERMILLION, "#009E73", "#CC79A7", "#56B4E9", "#E69F00")

TITLE_SIZE = 9.0
TEXT_SIZE = 7.5

# For text that comes from the user: a class called "$5 bill" is no formula, "under_score" no LaTeX.
PLAIN: dict[str, Any] = {"parse_math": False, "usetex": False}

# Matplotlib's artists aren't thread-safe (its FAQ, "Work with threads"), and reports may be drawn beside
# training.
_DRAWING = threading.Lock()


def png_path(path: str | os.PathLike[str]) -> pathlib.Path:
    """Returns `path` as a `pathlib.Path` that is sure to end in `.png`.

    Raises:
        ValueError: The name doesn't end in `.png`.
    """
    target = pathlib.Path(path)
    if target.suffix.lower() != ".png":
        suggestion = target.with_suffix(".png") if target.name else target / "picture.png"
        raise ValueError(
            f"Got the path {str(path)!r}, expected a file name that ends in '.png', the only format "
            f"written here. Pass {str(suggestion)!r} instead."
        )
    return target


@contextlib.contextmanager
def page(path: pathlib.Path, *, width: float, height: float) -> Iterator[Figure]:
    """Yields a white figure to draw on; writes it to `path` when the block ends without an error.

    The picture is rendered in memory and takes its place (in a directory made if missing) in one step:
    readers see the earlier picture or the whole new one, and an error leaves the earlier one as it was. One
    page is drawn at a time in a process.

    Args:
        path: File to write, as `png_path` returns it.
        width: Inches; the picture has `DPI` pixels to the inch.
        height: Inches.
    """
    with _DRAWING:
        figure = Figure(figsize=(width, height), dpi=DPI, facecolor="white", edgecolor="none")
        figure.set_layout_engine("none")
        agg = FigureCanvasAgg(figure)
        yield figure
        png = io.BytesIO()
        # Not `savefig`, which would let the reader's `savefig.*` settings crop or recolour the page.
        agg.print_png(png)
        path.parent.mkdir(parents=True, exist_ok=True)
        with files.replacing(path) as temporary:
            temporary.write_bytes(png.getvalue())


def box(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Returns axes placed in inches from the bottom left corner of the page, in the house look."""
    page_width, page_height = figure.get_size_inches()
    axes = figure.add_axes(
        (left / page_width, bottom / page_height, width / page_width, height / page_height), facecolor="white"
    )
    axes.grid(False, which="both")
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set(visible=side in ("left", "bottom"), color=RULE, linewidth=0.8)
    axes.tick_params(
        which="both",
        direction="out",
        length=2.5,
        width=0.8,
        pad=2.5,
        color=RULE,
        labelcolor=INK,
        labelsize=TEXT_SIZE,
        bottom=True,
        left=True,
        top=False,
        right=False,
    )
    axes.tick_params(which="minor", bottom=False, left=False, top=False, right=False)
    return axes


def write(figure: Figure, left: float, bottom: float, text: str, **style: Any) -> None:
    """Writes `text` at a point given in inches from the bottom left corner of the page."""
    page_width, page_height = figure.get_size_inches()
    style = {"color": INK, "fontsize": TEXT_SIZE, "va": "baseline", **PLAIN, **style}
    figure.text(left / page_width, bottom / page_height, text, **style)


def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Returns a generous estimate, in inches, of the width of `text` set at `size` points."""
    return 0.62 * size / 72 * len(text)


def one_line(text: object, limit: int) -> str:
    """Returns `text` on one line of at most `limit` characters.

    What is too long loses its middle: names that belong together often differ only at their end.
    """
    printable = "".join(character if character.isprintable() else " " for character in str(text))
    line = " ".join(printable.split())
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 2
    return f"{line[: limit - 1 - tail].rstrip()}…{line[len(line) - tail :].lstrip()}"


def grid_shape(num_panels: int) -> tuple[int, int]:
    """Returns (rows, columns) of a compact grid with room for `num_panels`."""
    columns = 2 if num_panels == 4 else min(num_panels, 3) if num_panels <= 9 else 4
    return -(-num_panels // columns), columns


def round_steps(num_ticks: int, *, whole: bool = False) -> MaxNLocator:
    """Returns a locator of at most about `num_ticks` ticks at round values, or at whole ones."""
    return MaxNLocator(num_ticks, steps=[1, 2, 5, 10] if whole else [1, 2, 2.5, 5, 10], integer=whole, min_n_ticks=1)


def tick_text(low: float, high: float) -> Formatter:
    """Returns a formatter for an axis from low to high, without offsets or factors to add in the head."""
    largest = max(abs(low), abs(high))
    if 1e-3 <= largest < 1e6:
        formatter = ScalarFormatter(useOffset=False, useMathText=False, useLocale=False)
        formatter.set_scientific(False)
        return formatter
    span = high - low
    digits = 3 if span <= 0 else min(max(3, 2 + math.ceil(math.log10(largest / span))), 15)
    # A tick meant as 0 can come as 1e-17 of the span.
    return FuncFormatter(lambda value, _: f"{0.0 if abs(value) < 1e-9 * span else value:.{digits}g}")
