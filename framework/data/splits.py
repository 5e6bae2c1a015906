"""Splits, folds and shares of a data set that stay the same for ever.

Indices first, as NumPy arrays of what is known of each example:

* `stratified_split`: at random, every class by its share;
* `group_split`: at random, no group (patient, user, film) on both sides;
* `time_split`: the oldest examples first;
* `k_fold`: one of k such divisions for cross-validation.

Then the same of a source: `split_source` and `fold_source`. All that is random comes from the raw stream of NumPy's
Philox generator, which is specified to the bit: the same seed gives the same split whatever the libraries' versions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.group_splits import group_split, time_split
from framework.data.phases import TRAIN, VALIDATION
from framework.data.proportions import apportion, check_shares, places, spread_order, words
from framework.data.sources import ArraySource, Source, Subset


def split_source(
    source: Source,
    shares: Mapping[str, float],
    *,
    stratify: bool | None = None,
    seed: int = 0,
    labels: Any = None,
    groups: Any = None,
    times: Any = None,
) -> dict[str, Any]:
    """Divides a source: at random, or with `times` by age.

    Args:
        source: All examples.
        shares: `{phase: share}`; they sum to 1.
        stratify: Whether every class is divided by these shares. By default where labels are integers `[examples]`.
        seed: See `stratified_split`.
        labels: Class ids `[examples]` where they are known without reading; by default those of the source, which
            are read in a pass over it unless they lie in memory.
        groups: `[examples]`; examples of one group stay together. See `group_split`.
        times: `[examples]`; the first phase gets the oldest examples. See `time_split`.

    Returns:
        `{phase: source}`: `ArraySource`s of one, `Subset`s of any other source.

    Raises:
        ValueError: The shares don't sum to 1, aren't positive, leave a split empty or can't be met; or there are both
            groups and times.
    """
    if groups is not None and times is not None:
        raise ValueError("A split is made by groups or by times; got both.")
    if times is not None:
        parts = time_split(_each(times, source, "times"), shares)
    else:
        classes = class_ids(source, labels, stratify)
        if groups is None:
            parts = stratified_split(classes, shares, seed=seed)
        else:
            parts = group_split(_each(groups, source, "groups"), shares, seed=seed, labels=classes)
    return {phase: choose(source, indices) for phase, indices in parts.items()}


def fold_source(
    source: Source,
    k: int,
    fold: int,
    *,
    stratify: bool | None = None,
    seed: int = 0,
    labels: Any = None,
    groups: Any = None,
) -> dict[str, Any]:
    """`{"train": ..., "validation": ...}` of one of k folds; see `k_fold` and, for the arguments, `split_source`."""
    classes = class_ids(source, labels, stratify)
    groups = None if groups is None else _each(groups, source, "groups")
    parts = k_fold(classes, k, fold, groups=groups, seed=seed)
    return {phase: choose(source, indices) for phase, indices in parts.items()}


def read_labels(source: Source) -> Any:
    """The labels of a source in memory, `[examples, ...]` or a dict of them; those of files take a pass over them."""
    if isinstance(source, ArraySource):
        return source.arrays.labels
    if isinstance(source, Subset):
        return tf.nest.map_structure(lambda labels: labels[source.indices], read_labels(source.source))
    batches = [tf.nest.map_structure(np.asarray, example[1]) for example in source.batches(1024)]
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *batches)


def class_ids(source: Source, labels: Any = None, stratify: bool | None = None) -> np.ndarray:
    """Class ids int64 `[examples]` by which a source is stratified; zeros where it isn't to be.

    Args:
        source: All examples.
        labels: `[examples]` where they are known without reading.
        stratify: By default where labels are given, or are integers `[examples]` in the source.

    Raises:
        ValueError: There isn't one class for each example.
    """
    if stratify is None:
        spec = source.spec.labels
        is_number = isinstance(spec, tf.TensorSpec) and len(spec.shape) == 1
        stratify = labels is not None or (is_number and (spec.dtype.is_integer or spec.dtype.is_bool))
    if not stratify:
        return np.zeros(source.num_examples, np.int64)
    labels = read_labels(source) if labels is None else _each(labels, source, "labels")
    if np.shape(labels) != (source.num_examples,):
        raise ValueError(
            f"Stratifying needs one class for each of {source.num_examples} examples; the labels are "
            f"{source.spec.labels}. Pass labels= with the classes."
        )
    return np.unique(labels, return_inverse=True)[1]


def choose(source: Source, indices: np.ndarray) -> Any:
    """The examples at `indices`: a copy of arrays in memory, a `Subset` of anything else."""
    return source.subset(indices) if isinstance(source, ArraySource) else Subset(source, indices)


def stratified_split(groups: np.ndarray, shares: Mapping[str, float], *, seed: int) -> dict[str, np.ndarray]:
    """Indices of random splits in which every group has its share, up to rounding.

    Groups too small to be in every split are divided together, so that their shares add up over all of them.

    Args:
        groups: Class ids int `[examples]`; each class is divided by itself.
        shares: `{phase: share}`; they sum to 1.
        seed: The same seed gives the same split, whatever the library versions.

    Returns:
        `{phase: indices int64, ascending}`.

    Raises:
        ValueError: The shares don't leave every split an example.
    """
    values = check_shares(shares)
    _, groups, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    # Within a class at random; classes side by side. Then every k-th place decides, so that shares add up over all.
    order = np.lexsort((words(len(groups), seed), groups))
    place = places(sizes, 0.5)
    phase_of = np.searchsorted(np.cumsum(values)[:-1], place, side="right")
    held = np.zeros((len(sizes), len(values)), np.int64)
    np.add.at(held, (groups[order], phase_of), 1)
    small = np.flatnonzero((held == 0).any(axis=1)[groups[order]])
    if len(small):
        spread = small[spread_order(groups[order[small]], seed=seed)]
        phase_of[spread] = np.repeat(np.arange(len(values)), apportion(len(small), values))
    assigned = {phase: np.sort(order[phase_of == number]) for number, phase in enumerate(shares)}
    empty = [phase for phase, indices in assigned.items() if not len(indices)]
    if empty:
        raise ValueError(f"{len(groups)} examples are too few for the shares {dict(shares)}: {empty} would be empty.")
    return assigned


def k_fold(
    labels: np.ndarray, k: int, fold: int, *, groups: np.ndarray | None = None, seed: int = 0
) -> dict[str, np.ndarray]:
    """Indices of training and validation for one of k folds of a cross-validation.

    Every example is in the validation split of exactly one fold. The folds are as equal as can be, in every class.

    Args:
        labels: Class ids `[examples]`; zeros where nothing is to be stratified.
        k: Number of folds, at least 2.
        fold: Which of them, in [0, k).
        groups: `[examples]`; no group is on both sides.
        seed: The same in all folds of one cross-validation.

    Returns:
        `{"train": indices, "validation": indices}`, int64 and ascending.

    Raises:
        ValueError: `k` or `fold` is out of range, or there are too few examples or groups.
    """
    if k < 2 or not 0 <= fold < k:
        raise ValueError(f"Folds are numbered from 0 to k - 1, and k is at least 2; got fold {fold} of k={k}.")
    if groups is not None:
        parts = group_split(groups, {str(number): 1.0 / k for number in range(k)}, seed=seed, labels=labels)
        validation = parts[str(fold)]
    elif len(labels) < k:
        raise ValueError(f"{len(labels)} examples are too few for {k} folds.")
    else:
        # Dealt out like cards, class after class: folds differ by one example at most, in every class and over all.
        order = np.lexsort((words(len(labels), seed), np.unique(labels, return_inverse=True)[1]))
        validation = np.sort(order[fold::k])
    return {TRAIN: np.setdiff1d(np.arange(len(labels)), validation), VALIDATION: validation}


def _each(values: Any, source: Source, what: str) -> np.ndarray:
    values = np.asarray(values)
    if len(values) != source.num_examples:
        raise ValueError(f"Got {len(values)} {what} for {source.num_examples} examples; expected one for each.")
    return values
