"""Random splits that stay the same for ever."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from framework.data.sources import ArraySource


def split_source(
    source: ArraySource, shares: Mapping[str, float], *, stratify: bool | None = None, seed: int = 0
) -> dict[str, ArraySource]:
    """Divides a source at random.

    Args:
        source: All examples.
        shares: `{phase: share}`; they sum to 1.
        stratify: Whether every class is divided by these shares. By default where labels are integers `[examples]`.
        seed: See `stratified_split`.

    Raises:
        ValueError: The shares don't sum to 1, aren't positive, or leave a split empty.
    """
    labels = source.arrays.labels
    if stratify is None:
        stratify = isinstance(labels, np.ndarray) and labels.ndim == 1 and labels.dtype.kind in "iub"
    groups = np.unique(labels, return_inverse=True)[1] if stratify else np.zeros(source.num_examples, np.int64)
    return {phase: source.subset(indices) for phase, indices in stratified_split(groups, shares, seed=seed).items()}


def stratified_split(groups: np.ndarray, shares: Mapping[str, float], *, seed: int) -> dict[str, np.ndarray]:
    """Indices of random splits in which every group has its share, up to rounding.

    Args:
        groups: Class ids int `[examples]`; each class is divided by itself.
        shares: `{phase: share}`; they sum to 1.
        seed: The same seed gives the same split, whatever the library versions.

    Returns:
        `{phase: indices int64, ascending}`.

    Raises:
        ValueError: The shares don't leave every split an example.
    """
    if abs(sum(shares.values()) - 1.0) > 1e-9 or min(shares.values()) <= 0:
        raise ValueError(f"Shares must be positive and sum to 1, got {dict(shares)}.")
    # Philox is specified to the bit and NumPy promises its raw stream, which `permutation` doesn't have.
    keys = np.random.Philox(key=seed).random_raw(len(groups))
    # Within a class at random; classes side by side. Then every k-th place decides, so that shares add up over all.
    order = np.lexsort((keys, groups))
    _, sizes = np.unique(groups, return_counts=True)
    place = np.concatenate([(np.arange(count) + 0.5) / count for count in sizes])
    edges = np.cumsum(list(shares.values()))[:-1]
    phase_of = np.searchsorted(edges, place, side="right")
    assigned = {phase: np.sort(order[phase_of == number]) for number, phase in enumerate(shares)}
    empty = [phase for phase, indices in assigned.items() if not len(indices)]
    if empty:
        raise ValueError(f"{len(groups)} examples are too few for the shares {dict(shares)}: {empty} would be empty.")
    return assigned
