"""Parts of the validation split on which metrics are looked at by themselves."""

from __future__ import annotations

import dataclasses
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from framework.data.sources import Example
from framework.export.scoring import Scores
from framework.registry import did_you_mean

Arrays = Mapping[str, np.ndarray]
_MAX_VALUES = 100


@dataclasses.dataclass(frozen=True)
class Slice:
    """Examples that belong together.

        Slice("long", lambda features, labels: features["length"] > 500)
        Slice("shop")

    Attributes:
        name: Of the slice, and of the feature whose values tell examples apart where there is no function.
        function: `function(features, labels)` of a batch as it is stored, NumPy arrays `[batch, ...]`; returns one
            boolean, integer or text an example, `[batch]`. With booleans the slice has the examples that are true;
            otherwise there is one for each value.
    """

    name: str
    function: Callable[[Arrays, Any], Any] | None = None

    def values(self, example: Example) -> list[str | None]:
        """To which part of the slice each example of a batch belongs; `None` where to none.

        Raises:
            LookupError: There is no feature of this name.
            ValueError: What comes out isn't one value an example, or is a number with a fraction.
        """
        if self.function is not None:
            values = np.asarray(self.function(example.features, example.labels))
        elif self.name in example.features:
            values = example.features[self.name]
        else:
            raise LookupError(
                f"There is no feature {self.name!r} to slice by.{did_you_mean(self.name, example.features)} Features: "
                f"{', '.join(sorted(example.features))}. A function may tell examples apart too: Slice(name, function)."
            )
        size = len(next(iter(example.features.values())))
        if values.shape != (size,) or values.dtype.kind not in "biuOSU":
            raise ValueError(
                f"The slice {self.name!r} needs one boolean, integer or text an example, expected shape ({size},), got "
                f"{values.dtype}{values.shape}. Slice(name, function) may divide numbers into ranges."
            )
        if values.dtype.kind == "b":
            return ["true" if value else None for value in values.tolist()]
        return [value.decode(errors="replace") if isinstance(value, bytes) else str(value) for value in values.tolist()]


def as_slices(slices: Iterable[Slice | str]) -> tuple[Slice, ...]:
    """Slices, some of which may be given as the name of a feature.

    Raises:
        TypeError: One is neither.
        ValueError: Two have the same name.
    """
    if isinstance(slices, str):
        raise TypeError(f"slices is a sequence of slices or features' names, got {slices!r}. Write ({slices!r},).")
    made = tuple(Slice(item) if isinstance(item, str) else item for item in slices)
    if not all(isinstance(item, Slice) for item in made):
        raise TypeError(f"slices are Slices or names of features, got {made!r}.")
    names = [item.name for item in made]
    if len(set(names)) < len(names):
        raise ValueError(f"Two slices have the same name: {names}.")
    return made


class SliceScores:
    """Metrics of each part of each slice.

    Args:
        slices: Which there are.
        make: Makes an empty `Scores`.
    """

    def __init__(self, slices: Iterable[Slice], make: Callable[[], Scores]):
        self._slices = tuple(slices)
        self._make = make
        self._scores: dict[tuple[str, str], Scores] = {}
        self._counts: dict[tuple[str, str], int] = {}

    def update(self, example: Example, answers: Arrays) -> None:
        """Adds a batch and what a signature answered to it.

        Raises:
            ValueError: A slice has too many different values.
        """
        for item in self._slices:
            values = np.array(item.values(example), object)
            for value in dict.fromkeys(value for value in values.tolist() if value is not None):
                rows = np.flatnonzero(values == value)
                scores = self._scores_of(item.name, value)
                part = example.map(operator.itemgetter(rows))
                scores.update({name: answer[rows] for name, answer in answers.items()}, part.labels, part.weights)
                self._counts[item.name, value] += len(rows)

    def _scores_of(self, name: str, value: str) -> Scores:
        key = (name, value)
        if key not in self._scores:
            if sum(other == name for other, _ in self._scores) >= _MAX_VALUES:
                raise ValueError(
                    f"The slice {name!r} has more than {_MAX_VALUES} different values. Give it a function that puts "
                    "several into one."
                )
            self._scores[key] = self._make()
            self._counts[key] = 0
        return self._scores[key]

    @property
    def values(self) -> dict[str, dict[str, dict[str, Any]]]:
        """`{slice: {value: {"examples": how many, "metrics": {metric: value}}}}`."""
        found: dict[str, dict[str, dict[str, Any]]] = {item.name: {} for item in self._slices}
        for name, value in sorted(self._scores):
            key = (name, value)
            found[name][value] = {"examples": self._counts[key], "metrics": self._scores[key].values}
        return found
