"""What a split looks like: dtypes, ranges, lengths, categories and the balance of its labels, as plain JSON values.

A run keeps the profile of its training split beside its statistics, and every export has it in its manifest;
`framework.data.contract` tells where other data differ from it.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.accumulators import Accumulator, ClassCounts, MissingShare, Moments
from framework.data.counting import Quantiles, Vocabulary, lengths
from framework.data.proportions import words
from framework.data.sources import Example, Source, Subset
from framework.data.statistics import Collector, progress
from framework.features import Feature, describe
from framework.tasks.heads import Heads
from framework.tasks.task import Task

PROFILE = "profile.json"  # that of the training split, in a run directory

# More would not be a look but an epoch: examples, numbers, and files of encoded media.
_MOST_EXAMPLES, _MOST_NUMBERS, _MOST_FILES = 100_000, 30_000_000, 10_000
_SHARES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)
# Text that recurs is a category, and so are integers of which there are few. Others may be names, addresses, numbers of
# accounts: nothing that anybody who gets an export should read in it.
_MOST_CATEGORIES, _MOST_CODES, _MOST_CLASSES = 1_000, 32, 100_000
_LONGEST_CATEGORY = 80  # bytes
_RECURS = 5  # times that at least half of the categories come


def profile_source(
    source: Source,
    features: Mapping[str, Feature],
    task: Task,
    *,
    categories: Collection[str] = (),
    verbose: bool | None = None,
) -> dict[str, Any]:
    """Profiles a split in one pass, with flat memory.

    Of more than 100,000 examples (or 10,000 with files of encoded media) so many are looked at, evenly spread over the
    split, or the first ones of a stream. Encoded media aren't decoded.

    Args:
        source: The split.
        features: What the pipeline declares.
        task: Whose labels these are.
        categories: See `Profiler`.
        verbose: Whether there is a progress bar; by default on a terminal.

    Returns:
        `num_examples`, and what `Profiler.result` has.
    """
    profiler = Profiler(source.spec, features, task, categories=categories)
    for example in progress(_look(source, features), "Looking at the data", verbose=verbose):
        profiler.update(example)
    return {"num_examples": source.num_examples, **profiler.result()}


class Profiler:
    """A profile in the making: sees batches, and can be joined with another one, as accumulators can.

    So it can share a pass with whatever else is learned: `update` takes the batches of `statistics.progress`.

    Args:
        spec: Of the source.
        features: What the pipeline declares. Features that only the source has are profiled too.
        task: Whose labels these are.
        categories: Features whose values are listed though they may not recur: those that are categories in another
            profile, with which this one is compared.
    """

    def __init__(self, spec: Example, features: Mapping[str, Feature], task: Task, *, categories: Collection[str] = ()):
        stored = {name: Feature.of(tensor) for name, tensor in spec.features.items()}
        self._features = {name: features.get(name, feature) for name, feature in stored.items()}
        heads = spec.labels if isinstance(spec.labels, Mapping) else {"": spec.labels}
        self._tasks = {
            f"labels/{head}".rstrip("/"): task.tasks.get(head) if isinstance(task, Heads) else task for head in heads
        }
        self._parts = {name: _parts(feature, self._features[name].is_encoded) for name, feature in stored.items()}
        self._label_parts = {
            name: _label_parts(Feature.of(label)) for name, label in zip(self._tasks, heads.values(), strict=True)
        }
        self._categories = frozenset(categories)
        # Two, since a feature may be called "labels".
        self._collectors = [
            Collector({name: list(parts.values()) for name, parts in collected.items()})
            for collected in (self._parts, self._label_parts)
        ]
        self._count = 0

    def update(self, example: Example) -> None:
        """Adds a batch."""
        self._count += len(tf.nest.flatten(example.features)[0])
        for collector, features in zip(self._collectors, (example.features, {}), strict=True):
            collector.update(example._replace(features=features))

    def merge(self, other: Profiler) -> None:
        """Adds what another one of the same split has seen."""
        self._count += other._count
        for own, others in zip(self._collectors, other._collectors, strict=True):
            own.merge(others)

    def result(self) -> dict[str, Any]:
        """Plain values: `{"profiled": examples looked at, "features": {name: {...}}, "labels": {name: {...}}}`.

        Every feature has `dtype` and `shape`, and where it applies:

            missing         share of the values that are NaN or empty text
            mean, deviation of all its numbers
            quantiles       {share: value}, from the smallest "0" to the largest "1"
            lengths         the same of the texts' bytes, of sequences' steps or of encoded files' bytes
            values          {text or integer: how often}, the most frequent first, of categories: there are neither many
                            nor long ones, and most of them recur, so that others would be a surprise

        A label, named `"labels"` or `"labels/<head>"`, has the `values` of its classes, or what numbers have.
        """
        described = describe(self._features)
        return {
            "profiled": self._count,
            "features": {
                name: described[name] | _summary(self._parts[name], is_category=name in self._categories)
                for name in described
            },
            "labels": {name: _label_summary(self._label_parts[name], task) for name, task in self._tasks.items()},
        }


def _look(source: Source, features: Mapping[str, Feature]) -> Iterable[Example]:
    """The batches that are looked at."""
    has_files = any(name in features and features[name].is_encoded for name in source.spec.features)
    numbers = sum(math.prod(axis or 1 for axis in spec.shape[1:]) for spec in source.spec.features.values())
    most = min(_MOST_FILES if has_files else _MOST_EXAMPLES, max(_MOST_NUMBERS // numbers, 1), source.num_examples)
    batch_size = max(1, min(64 if has_files else 1024, 1_000_000 // numbers, most))
    if most < source.num_examples and source.random_access:
        # One at random from each of as many stretches: steps of one length might always meet the same class.
        within = np.arange(most) + words(most, seed=0) * 2.0**-64
        source = Subset(source, (within * (source.num_examples / most)).astype(np.int64))
    return source.batches(batch_size).take(math.ceil(most / batch_size))


def _parts(feature: Feature, is_encoded: bool) -> dict[str, Accumulator]:
    """What is collected of a feature as it is stored."""
    parts: dict[str, Accumulator] = {}
    if not is_encoded:
        parts["missing"] = MissingShare()
        if feature.dtype == "string":
            parts["values"] = Vocabulary(capacity=_MOST_CATEGORIES)
        else:
            parts["moments"], parts["quantiles"] = Moments("feature"), Quantiles(_SHARES)
            if tf.as_dtype(feature.dtype).is_integer and not feature.shape:
                parts["values"] = Vocabulary(capacity=_MOST_CATEGORIES)
    if feature.dtype == "string" or None in feature.shape:
        parts["lengths"] = Quantiles(_SHARES, of=lengths)
    return parts


def _label_parts(label: Feature) -> dict[str, Accumulator]:
    """What is collected of labels: classes, yes or no for each of several, or numbers."""
    if tf.as_dtype(label.dtype).is_floating:
        return {"moments": Moments("feature"), "quantiles": Quantiles(_SHARES)}
    if len(label.shape) == 1 and label.shape[0] is not None:
        return {"yes": ClassCounts(label.shape[0])}
    return {"values": Vocabulary(capacity=_MOST_CLASSES)}


def _summary(parts: Mapping[str, Any], *, is_category: bool = False) -> dict[str, Any]:
    summary: dict[str, Any] = {}
    if "missing" in parts:
        summary["missing"] = float(parts["missing"].result()["missing"])
    if "moments" in parts:
        mean, deviation = parts["moments"].exact()
        summary |= {"mean": float(mean), "deviation": float(deviation)}
    for name in ("quantiles", "lengths"):
        if name in parts:
            values = parts[name].result()["quantiles"].tolist()
            summary[name] = {f"{share:g}": _plain(value) for share, value in zip(_SHARES, values, strict=True)}
    if "values" in parts:
        counts = parts["values"].counts
        if not parts["values"].error and (is_category or _are_categories(counts, is_text="lengths" in parts)):
            summary["values"] = {_text(value): count for value, count in counts}
    return summary


def _are_categories(counts: Sequence[tuple[Any, int]], *, is_text: bool) -> bool:
    """Whether values recur, apart from missing ones: a few that come often, "" among them, aren't enough."""
    known = [(value, count) for value, count in counts if value != b""]
    if len(known) > (_MOST_CATEGORIES if is_text else _MOST_CODES):
        return False
    if is_text and any(len(value) > _LONGEST_CATEGORY for value, _ in known):
        return False
    return 2 * sum(count >= _RECURS for _, count in known) >= len(known)


def _label_summary(parts: Mapping[str, Any], task: Task | None) -> dict[str, Any]:
    names: Sequence[str] | None = getattr(task, "class_names", None) or getattr(task, "label_names", None)

    def named(number: Any) -> str:
        known = names is not None and isinstance(number, int) and 0 <= number < len(names)
        return names[number] if known else _text(number)  # type: ignore[index]  # names is not None

    if "yes" in parts:
        return {"yes": {named(number): count for number, count in enumerate(parts["yes"].result()["counts"].tolist())}}
    if "values" in parts:
        return {"values": {named(value): count for value, count in parts["values"].counts}}
    return _summary(parts)


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _plain(value: float) -> float | None:
    """What JSON has: it has neither NaN nor infinity."""
    return value if math.isfinite(value) else None
