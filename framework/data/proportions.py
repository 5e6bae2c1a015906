"""Whole numbers, places and orders in proportion, the same whatever the versions of the libraries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np


def check_shares(shares: Mapping[str, float]) -> np.ndarray:
    """The shares as float64 `[splits]`.

    Raises:
        ValueError: They don't sum to 1, or one isn't positive.
    """
    if not shares or abs(sum(shares.values()) - 1.0) > 1e-9 or min(shares.values()) <= 0:
        raise ValueError(f"Shares must be positive and sum to 1, got {dict(shares)}.")
    return np.asarray(list(shares.values()))


def apportion(total: int, shares: Sequence[float] | np.ndarray) -> np.ndarray:
    """Whole numbers int64 that sum to `total` in the proportion of `shares`: largest remainders, ties to the first."""
    exact = np.asarray(shares, np.float64) / np.sum(shares) * total
    counts = np.floor(exact).astype(np.int64)
    # Rounded, so that shares written alike are alike.
    remainders = np.round(exact - counts, 9)
    counts[np.argsort(-remainders, kind="stable")[: total - counts.sum()]] += 1
    return counts


def words(count: int, seed: int, *, skip: int = 0) -> np.ndarray:
    """uint64 `[count]`. NumPy promises Philox's raw stream, which `permutation` doesn't have."""
    return np.random.Philox(key=seed).random_raw(skip + count)[skip:]


def places(sizes: np.ndarray, offsets: float | np.ndarray) -> np.ndarray:
    """Evenly spaced numbers in [0, 1) for the members of each group, group after group."""
    ranks = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return (ranks + np.repeat(np.broadcast_to(offsets, sizes.shape), sizes)) / np.repeat(sizes, sizes)


def spread_order(groups: np.ndarray, *, seed: int) -> np.ndarray:
    """All indices in a random order in which every group is spread evenly: any stretch of it has all groups' shares.

    Args:
        groups: Class ids `[examples]`.
        seed: The same seed gives the same order, whatever the library versions.
    """
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.lexsort((words(len(groups), seed), groups))
    # Every group begins at a place of its own, or all groups of one example would lie in the middle.
    offsets = words(len(sizes), seed, skip=len(groups)) * 2.0**-64
    return order[np.argsort(places(sizes, offsets), kind="stable")]
