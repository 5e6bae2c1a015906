"""Whether an export's answers are those of the live model."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import keras
import numpy as np

from framework.building import inner_layers

Arrays = Mapping[str, np.ndarray]

# Largest difference by the precision in which a model computes, as a share of the output's largest value (at least 1).
# The same weights and the same processor leave what TensorFlow's optimizer changes by reordering a graph.
_TOLERANCES = {"float64": 1e-8, "float32": 1e-4, "float16": 5e-3, "bfloat16": 2e-2}
_SHORTEST_FIRST = ("bfloat16", "float16", "float32", "float64")


@dataclasses.dataclass(frozen=True)
class Difference:
    """One element in which an answer isn't the expected one.

    Attributes:
        output: Its name.
        row: Index of the example in the batch.
        got: The element, or the whole answer's form where that differs.
        expected: Likewise.
        by: Absolute difference of numbers, or `None`.
        allowed: The largest one allowed, or `None`.
    """

    output: str
    row: int
    got: object
    expected: object
    by: float | None = None
    allowed: float | None = None

    def __str__(self) -> str:
        text = f"output {self.output!r}, example {self.row}: got {_plain(self.got)}, expected {_plain(self.expected)}"
        if self.by is None or self.allowed is None:
            return text
        return f"{text}; it differs from the live model by {self.by:.3g}, allowed {self.allowed:.3g}"


def precision_of(model: keras.Model) -> str:
    """The shortest floating dtype in which a layer of the model computes."""
    found = {str(layer.compute_dtype) for layer in inner_layers(model)}
    return next((dtype for dtype in _SHORTEST_FIRST if dtype in found), "float32")


def tolerance_for(precision: str) -> float:
    """The largest difference between two ways of computing the same in this precision."""
    return _TOLERANCES[precision]


def find_difference(
    got: Arrays, expected: Arrays, tolerance: float, *, thresholds: Sequence[float] = ()
) -> Difference | None:
    """The worst difference between two answers to the same request, or `None`.

    Numbers may differ by `tolerance`, as a share of the largest one in the output, at least of 1. Class ids, names and
    other decisions must be the same, except where the numbers leave the decision open: see `_is_open`.

    Args:
        got: `{output: [batch, ...]}`.
        expected: Likewise.
        tolerance: See `tolerance_for`.
        thresholds: At which numbers decisions are made, besides multiples of a half.
    """
    if set(got) != set(expected):
        return Difference("*", 0, sorted(got), sorted(expected))
    for name in expected:
        one, other = got[name], expected[name]
        if one.shape != other.shape or _kind(one) != _kind(other):
            return Difference(name, 0, f"{one.dtype}{one.shape}", f"{other.dtype}{other.shape}")
    worst = max((_worst(name, got[name], expected[name], tolerance) for name in expected), key=_excess, default=None)
    if worst is not None and _excess(worst) > 1:
        return worst
    for name in expected:
        if _is_number(expected[name]):
            continue
        different = np.asarray(got[name] != expected[name])
        different &= ~_is_open(expected, different.shape, tolerance, thresholds)
        if different.any():
            place = tuple(np.argwhere(different)[0])
            return Difference(name, int(place[0]), got[name][place], expected[name][place])
    return None


def largest_difference(got: Arrays, expected: Arrays) -> float:
    """The largest absolute difference among all finite numbers of two answers."""
    largest = 0.0
    for name, value in expected.items():
        if _is_number(value):
            with np.errstate(invalid="ignore"):
                differences = np.abs(_wide(got[name]) - _wide(value))
            largest = max(largest, float(differences[np.isfinite(differences)].max(initial=0.0)))
    return largest


def _worst(name: str, got: np.ndarray, expected: np.ndarray, tolerance: float) -> Difference | None:
    """The element that is furthest off."""
    if not _is_number(expected) or not expected.size:
        return None
    got, expected = _wide(got), _wide(expected)
    allowed = tolerance * max(1.0, float(np.abs(expected[np.isfinite(expected)]).max(initial=0.0)))
    with np.errstate(invalid="ignore"):
        differences = np.abs(got - expected)
    same = (got == expected) | (np.isnan(got) & np.isnan(expected))
    differences = np.where(same, 0.0, np.nan_to_num(differences, nan=np.inf, posinf=np.inf))
    place = np.unravel_index(int(np.argmax(differences)), differences.shape)
    row = int(place[0]) if place else 0
    return Difference(name, row, got[place], expected[place], float(differences[place]), allowed)


def _excess(difference: Difference | None) -> float:
    if difference is None or difference.by is None or difference.allowed is None:
        return -1.0
    return difference.by / difference.allowed


def _is_open(expected: Arrays, shape: tuple[int, ...], tolerance: float, thresholds: Sequence[float]) -> np.ndarray:
    """Which elements of a decision, bool of `shape`, rest on numbers too near to each other to be told apart.

    The largest numbers of one more axis that are nearly equal leave an argmax open; one that nearly is a threshold or a
    multiple of a half, a threshold or a rounding. Where a number can't be assigned to an element of the decision, such
    as to one of the `k` best, it counts for all of its example.
    """
    is_open = np.zeros(shape, bool)
    for value in expected.values():
        if not _is_number(value) or not value.size:
            continue
        value = _wide(value)
        margin = 2 * tolerance * max(1.0, float(np.abs(value[np.isfinite(value)]).max(initial=0.0)))
        places = [np.round(2 * value) / 2, *(np.full_like(value, threshold) for threshold in thresholds)]
        near = np.any([np.abs(value - place) <= margin for place in places], axis=0)
        if value.shape == shape:
            is_open |= near
        elif value.shape[:-1] == shape:
            is_open |= _is_tied(value, 1, margin)
        elif value.shape[: len(shape)] == shape:
            is_open |= near.reshape(*shape, -1).any(axis=-1)
        else:
            best = shape[-1] if len(shape) == value.ndim else 1
            rows = near if value.ndim == 1 else _is_tied(value, best, margin)
            rows = rows.reshape(len(rows), -1).any(axis=1)
            is_open |= rows.reshape(-1, *[1] * (len(shape) - 1))
    return is_open


def _is_tied(value: np.ndarray, best: int, margin: float) -> np.ndarray:
    """Whether among the `best` largest on the last axis one is nearly the next, bool `[...]` without that axis."""
    largest = np.sort(np.nan_to_num(value), axis=-1)[..., ::-1][..., : best + 1]
    return (largest[..., :-1] - largest[..., 1:] <= margin).any(axis=-1)


def _wide(array: np.ndarray) -> np.ndarray:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _kind(array: np.ndarray) -> str:
    return "text" if array.dtype.kind in "OSU" else array.dtype.name


def _is_number(array: np.ndarray) -> bool:
    """Whether it is floating: bfloat16 and its like have a kind of their own in NumPy."""
    return array.dtype.kind in "fc" or (array.dtype.kind == "V" and "float" in array.dtype.name)


def _plain(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode(errors="replace")[:80]
    return value.item() if isinstance(value, np.generic) else value
