"""Fixed windows over a long series: what lies within one, and what is to be told from it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from framework.data.fetching import FetchingSource
from framework.data.proportions import apportion, check_shares
from framework.data.series import Columns
from framework.data.sources import Example

WINDOW = "window"


@dataclasses.dataclass(frozen=True)
class Window:
    """Which rows of a series an example is made of, counted from its first.

    Attributes:
        length: The rows that the model sees: `[0, length)`.
        label_rows: The rows whose targets are its label.
        stride: Rows from the beginning of a window to that of the next.

    Raises:
        ValueError: `length` or `stride` isn't positive, or there are no label rows.
    """

    length: int
    label_rows: tuple[int, ...]
    stride: int = 1

    def __post_init__(self):
        if self.length < 1 or self.stride < 1:
            raise ValueError(f"length and stride are rows, at least 1; got {self.length} and {self.stride}.")
        if not self.label_rows or min(self.label_rows) < 0:
            raise ValueError(f"The label is made of at least one row of the window or after it, got {self.label_rows}.")

    @property
    def span(self) -> int:
        """The rows that the window and its label take up together."""
        return max(self.length, max(self.label_rows) + 1)

    def starts(self, first: int, last: int, *, missing: np.ndarray | None = None) -> np.ndarray:
        """The first rows, int64, of all windows that lie with their labels within the rows [first, last).

        Args:
            first: Of the rows.
            last: Where they end.
            missing: Rows that no window may include, ascending.
        """
        starts = np.arange(first, last - self.span + 1, self.stride, dtype=np.int64)
        if missing is None or not len(missing):
            return starts
        before, until = np.searchsorted(missing, starts), np.searchsorted(missing, starts + self.span)
        return starts[before == until]


class WindowSource(FetchingSource):
    """Windows of a series by their first rows, gathered when they are asked for.

    The feature is `"window"` float32 `[batch, length, columns]`. A label is one number `[batch]` where it is made of
    one row and one target; otherwise all of them, row after row: `[batch, rows * targets]`.

    Args:
        inputs: What the model sees.
        targets: What labels are made of, of the same series.
        window: The rows of an example.
        starts: First rows int64 `[examples]`, such as `window.starts(0, len(inputs))`.
        label_dtype: `"float32"` for values, `"int64"` for class ids.

    Raises:
        ValueError: There are no windows, or one reaches beyond the series.
    """

    def __init__(
        self, inputs: Columns, targets: Columns, window: Window, starts: np.ndarray, *, label_dtype: str = "float32"
    ):
        starts = np.asarray(starts, np.int64)
        if not len(starts) or starts.min() < 0 or starts.max() + window.span > len(inputs):
            reach = f"from row {starts.min()} to {starts.max() + window.span - 1}" if len(starts) else "none"
            raise ValueError(
                f"A series of {len(inputs)} rows has no such windows of {window.span} rows (label included): {reach}."
            )
        self.inputs, self.targets, self.window, self.starts = inputs, targets, window, starts
        self.num_examples = len(starts)
        self._label_width = len(window.label_rows) * len(targets.chosen)
        label_shape = () if self._label_width == 1 else (self._label_width,)
        self.spec = Example(
            {WINDOW: tf.TensorSpec((None, window.length, len(inputs.chosen)), tf.float32)},
            tf.TensorSpec((None, *label_shape), label_dtype),
        )

    def fetch(self, indices: np.ndarray) -> Example:
        starts = self.starts[indices][:, np.newaxis]
        windows = self.inputs.take(starts + np.arange(self.window.length))
        labels = self.targets.take(starts + np.asarray(self.window.label_rows))
        shape = (len(indices),) if self._label_width == 1 else (len(indices), self._label_width)
        return Example({WINDOW: windows}, labels.reshape(shape))

    def without(self, indices) -> WindowSource:
        kept = np.delete(self.starts, np.asarray(indices, np.int64))
        dtype = self.spec.labels.dtype.name
        return WindowSource(self.inputs, self.targets, self.window, kept, label_dtype=dtype)

    def place(self, index: int) -> str:
        first = int(self.starts[index])
        return f"rows {first} to {first + self.window.span - 1}"

    def fingerprint(self) -> str:
        digest = hashlib.blake2b(repr((self.window, self.inputs.chosen, self.targets.chosen)).encode(), digest_size=16)
        digest.update(self.starts.tobytes())
        first, last = int(self.starts.min()), int(self.starts.max()) + self.window.span
        for columns in (self.inputs, self.targets):
            for _, part in columns.chunks(first, last):
                digest.update(np.ascontiguousarray(part).data)
        return digest.hexdigest()


def split_rows(num_rows: int, shares: Mapping[str, float]) -> dict[str, tuple[int, int]]:
    """Divides rows in the order of time: the first phase gets the oldest, the last the newest.

    Args:
        num_rows: Of the series.
        shares: `{phase: share}`; they sum to 1.

    Returns:
        `{phase: (first, last)}`, the rows [first, last).
    """
    ends = np.cumsum(apportion(num_rows, check_shares(shares)))
    return {phase: (int(begin), int(end)) for phase, begin, end in zip(shares, [0, *ends[:-1]], ends, strict=True)}
