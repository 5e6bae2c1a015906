"""Whether a converted model answers as the SavedModel does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from framework.export.formats.running import FormatRunner
from framework.features import Feature

_BATCH_SIZES = (1, 3, 32)
_OPEN_AXIS = 8  # length of an axis that may have any


def made_up(inputs: Mapping[str, Feature], count: int = 8) -> dict[str, np.ndarray]:
    """Examples where there are no real ones: numbers from 0 to 1, integers 0 and 1, empty text."""
    rng = np.random.default_rng(0)
    return {name: _made_up(feature, count, rng) for name, feature in inputs.items()}


def _made_up(feature: Feature, count: int, rng: np.random.Generator) -> np.ndarray:
    shape = (count, *(_OPEN_AXIS if axis is None else axis for axis in feature.shape))
    if feature.dtype == "string":
        return np.full(shape, "", object)
    if feature.dtype == "bool":
        return rng.random(shape) < 0.5
    values = rng.random(shape) if "float" in feature.dtype else rng.integers(0, 2, shape)
    return values.astype(feature.spec().dtype.as_numpy_dtype)


def take(examples: Mapping[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
    """The first `count` examples, beginning anew where there are fewer."""
    return {name: values[np.arange(count) % len(values)] for name, values in examples.items()}


def answers(run: FormatRunner, examples: Mapping[str, np.ndarray]) -> dict[int, dict[str, np.ndarray]]:
    """What it answers to batches of 1, 3 and 32 examples, by their size."""
    return {count: run(**take(examples, count)) for count in _BATCH_SIZES}


def compare(
    expected: Mapping[int, Mapping[str, np.ndarray]],
    answered: Mapping[int, Mapping[str, np.ndarray]],
    tolerance: float | None,
) -> dict[str, Any]:
    """Compares `answers`.

    Args:
        expected: The SavedModel's.
        answered: A format's, which may leave outputs out.
        tolerance: The largest difference of an output, as a share of its largest value or of 1, whichever is larger;
            `None` where a metric will decide.

    Returns:
        `max_difference`, `{output: absolute}` of floats, and `agreement`, `{output: share of equal values}` of others.

    Raises:
        ValueError: Another shape or dtype, no number where there was one, or a larger difference.
    """
    differences: dict[str, float] = {}
    equal: dict[str, list[np.ndarray]] = {}
    for count, outputs in answered.items():
        for name, other in outputs.items():
            truth = expected[count][name]
            where = f"output {name!r}, batch of {count}"
            if truth.shape != other.shape or truth.dtype != other.dtype:
                raise ValueError(
                    f"{where}: it answers {other.dtype}{other.shape}, the SavedModel {truth.dtype}{truth.shape}"
                )
            if truth.dtype.kind not in "fV":  # bfloat16 is V to NumPy
                equal.setdefault(name, []).append((truth == other).ravel())
            else:
                difference = _difference(truth, other, where, tolerance)
                differences[name] = max(differences.get(name, 0.0), difference)
    agreement = {name: float(np.concatenate(parts).mean()) for name, parts in equal.items()}
    return {"max_difference": differences, "agreement": agreement}


def _difference(truth: np.ndarray, other: np.ndarray, where: str, tolerance: float | None) -> float:
    truth, other = truth.astype(np.float64), other.astype(np.float64)
    known = np.isfinite(truth)
    if not np.array_equal(known, np.isfinite(other)):
        raise ValueError(f"{where}: it isn't a number where the SavedModel's answer is one, or the other way round")
    truth, other = truth[known], other[known]
    difference = float(np.abs(truth - other).max(initial=0.0))
    scale = max(1.0, float(np.abs(truth).max(initial=0.0)))
    if tolerance is not None and difference > tolerance * scale:
        raise ValueError(
            f"{where}: it differs from the SavedModel by {difference:.3g}, allowed is {tolerance * scale:.3g}"
        )
    return difference
