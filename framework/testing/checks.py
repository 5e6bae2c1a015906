"""What the assertions on models and pipelines share."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.phases import PHASES, TRAIN
from framework.data.pipeline import Pipeline

BATCH_SIZE = 16
# Grappler rewrites what a signature computes (measured: 5e-7 apart); more than this is another computation.
_TOLERANCE = 1e-5


def require(condition: bool | np.bool, message: str) -> None:
    """Raises `AssertionError`, also under `python -O`."""
    if not condition:
        raise AssertionError(message)


def require_equal(got: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Equal, or for floats nearly so."""
    got, expected = np.asarray(got), np.asarray(expected)
    require(got.shape == expected.shape, f"{what}: got shape {got.shape}, expected {expected.shape}.")
    if expected.dtype.kind == "f":
        with contextlib.suppress(AssertionError):
            np.testing.assert_allclose(got, expected, rtol=_TOLERANCE, atol=_TOLERANCE)
            return
        require(False, f"{what}: by up to {np.nanmax(np.abs(got - expected)):.3g}, allowed {_TOLERANCE:g}.")
    differing = int(np.sum(got != expected))
    require(not differing, f"{what}: {differing} of {expected.size} values.")


def to_numpy(values: Any) -> Any:
    """The same structure of arrays."""
    return tf.nest.map_structure(lambda value: value.numpy(), values)


def joined(batches: Sequence[np.ndarray]) -> np.ndarray:
    """Several batches as one; where sequences are as long as the longest of a batch, shorter ones are padded."""
    longest = np.max([batch.shape[1:] for batch in batches], axis=0, initial=0)
    return np.concatenate([_padded(batch, longest) for batch in batches])


def _padded(batch: np.ndarray, longest: np.ndarray) -> np.ndarray:
    missing = longest - batch.shape[1:]
    if not missing.any():
        return batch
    filling = np.array(b"" if batch.dtype == object else 0, batch.dtype)
    return np.pad(batch, [(0, 0), *((0, int(count)) for count in missing)], constant_values=filling)


def held_out(pipeline: Pipeline, size: int) -> dict[str, np.ndarray]:
    """Stored features of the first examples that weren't trained on, or of training ones where there are no others."""
    phase = next(phase for phase in (*PHASES[1:], TRAIN) if pipeline.has(phase))
    return to_numpy(next(iter(pipeline.require_source(phase).stored.batches(size))).features)


def named_labels(labels: Any) -> dict[str, np.ndarray]:
    """Labels by a name for messages, which no feature has."""
    if isinstance(labels, Mapping):
        return {f"the label {head!r}": to_numpy(value) for head, value in labels.items()}
    return {"the label": to_numpy(labels)}
