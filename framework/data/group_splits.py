"""Splits that keep examples together: those of a group, and those of a time."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from framework.data.proportions import apportion, check_shares, words

# A group-aware split is the best of as many random ones as can be looked at in a moment.
_MOST_TRIES, _TRIED_EXAMPLES = 256, 4_000_000


def group_split(
    groups: np.ndarray,
    shares: Mapping[str, float],
    *,
    seed: int,
    labels: np.ndarray | None = None,
    tolerance: float = 0.1,
) -> dict[str, np.ndarray]:
    """Indices of random splits such that all examples of a group are in one of them.

    Of many random divisions the one that is nearest to the shares, over all examples and within every class.

    Args:
        groups: `[examples]`, numbers or text: which examples belong together.
        shares: `{phase: share}`; they sum to 1.
        seed: The same seed gives the same split, whatever the library versions.
        labels: Class ids `[examples]`, to divide classes by these shares too, as far as whole groups can be.
        tolerance: By how much a split's share may be missed, as a share of all examples.

    Returns:
        `{phase: indices int64, ascending}`.

    Raises:
        ValueError: There are fewer groups than splits, or some are too large for the shares to be met.
    """
    values = check_shares(shares)
    names, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    if len(names) < len(values):
        raise ValueError(
            f"{len(names)} groups can't be divided among {len(values)} splits {list(shares)}: no group may be in two."
        )
    _, classes, totals = np.unique(
        np.zeros(len(groups), np.int64) if labels is None else labels, return_inverse=True, return_counts=True
    )
    wanted = np.stack([apportion(total, values) for total in totals], axis=1)
    targets = np.cumsum(wanted.sum(axis=1))[:-1]
    tries = int(np.clip(_TRIED_EXAMPLES // len(groups), 8, _MOST_TRIES))
    best, least = np.zeros(0, np.int64), None
    for keys in words(tries * len(names), seed).reshape(tries, -1):
        order = np.argsort(keys, kind="stable")
        ends = np.cumsum(sizes[order])
        cuts = np.searchsorted(ends, _nearest(ends[:-1], targets), side="right")
        phase_of = np.empty(len(names), np.int64)
        phase_of[order] = np.repeat(np.arange(len(values)), np.diff([0, *cuts, len(names)]))
        held = np.bincount(phase_of[groups] * len(totals) + classes, minlength=wanted.size).reshape(wanted.shape)
        # Whole numbers: a sum of floats could tip over with the next release of a library.
        missed = np.abs(held - wanted).sum() + np.abs((held - wanted).sum(axis=1)).sum()
        if least is None or missed < least:
            best, least = phase_of[groups], missed
    assigned = {phase: np.flatnonzero(best == number) for number, phase in enumerate(shares)}
    largest = int(np.argmax(sizes))
    hint = f"The largest group, {names.tolist()[largest]!r}, has {sizes[largest]} of {len(groups)} examples."
    return _check_met(assigned, shares, tolerance, hint)


def time_split(times: np.ndarray, shares: Mapping[str, float], *, tolerance: float = 0.1) -> dict[str, np.ndarray]:
    """Indices of splits by age: the first gets the oldest examples, the last the newest.

    Examples of the same time are never divided.

    Args:
        times: `[examples]`, numbers or datetime64.
        shares: `{phase: share}` from the oldest to the newest; they sum to 1.
        tolerance: By how much a split's share may be missed, as a share of all examples.

    Returns:
        `{phase: indices int64, ascending}`.

    Raises:
        TypeError: Times are neither numbers nor datetime64.
        ValueError: A time is missing, or so many examples have the same one that the shares can't be met.
    """
    values = check_shares(shares)
    times = np.asarray(times)
    if times.dtype.kind not in "iufM":
        raise TypeError(
            f"times must be numbers or datetime64, got an array of {times.dtype}. "
            "Convert text by np.array(times, 'datetime64[s]')."
        )
    missing = np.flatnonzero(times != times)  # NaN and NaT differ from themselves
    if len(missing):
        raise ValueError(
            f"{len(missing)} times are missing, the first that of example {missing[0]}. Drop or fill them."
        )
    order = np.argsort(times, kind="stable")
    borders = np.flatnonzero(np.diff(times[order])) + 1
    if len(borders) < len(values) - 1:
        raise ValueError(f"{len(borders) + 1} different times can't be divided among {len(values)} splits.")
    cuts = _nearest(borders, np.cumsum(apportion(len(times), values))[:-1])
    assigned = {phase: np.sort(part) for phase, part in zip(shares, np.split(order, cuts), strict=True)}
    return _check_met(assigned, shares, tolerance, "Too many examples have the same time.")


def _nearest(borders: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """For every target the nearest border, each border once and in order."""
    chosen = []
    first = 0
    for number, target in enumerate(targets):
        last = len(borders) - (len(targets) - 1 - number)  # leaves one for each that follows
        first += int(np.argmin(np.abs(borders[first:last] - target)))
        chosen.append(borders[first])
        first += 1
    return np.asarray(chosen, np.int64)


def _check_met(
    assigned: dict[str, np.ndarray], shares: Mapping[str, float], tolerance: float, hint: str
) -> dict[str, np.ndarray]:
    total = sum(map(len, assigned.values()))
    got = {phase: round(len(indices) / total, 4) for phase, indices in assigned.items()}
    if max(abs(got[phase] - share) for phase, share in shares.items()) > tolerance:
        raise ValueError(
            f"The shares {dict(shares)} can't be met: the nearest split has {got}. {hint} "
            f"Choose other shares, or call group_split or time_split with a tolerance above {tolerance:g}."
        )
    return assigned
