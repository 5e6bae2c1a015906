"""What a candidate must be besides the best by the objective to be published."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

from framework.tasks.objective import Objective

Slices = Mapping[str, Mapping[str, Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Candidate:
    """What a policy judges: an export that is proven and not published, or the best one so far.

    Attributes:
        epoch: Counted from 0.
        metrics: The epoch's logs.
        slices: `{slice: {value: {"examples": how many, "metrics": {metric: value}}}}` on the validation split, computed
            from what a signature answers.
    """

    epoch: int
    metrics: Mapping[str, float]
    slices: Slices


@dataclasses.dataclass(frozen=True)
class Policy:
    """Conditions under which an epoch that is better by the objective becomes the best and is published.

    The first candidate has nothing to beat. A refused one is recorded in `refused.json` beside the versions, with the
    reasons. For rules of one's own derive a class with another `refusals`.

    Attributes:
        improve: `{logged value: by how much it must be better than the best's}`, such as `{"val_auc": 0.002}`; a
            negative amount says how much worse it may be.
        max_drop: `{metric: how much worse it may be in any slice}`, such as `{"accuracy": 0.01}`.
        min_examples: Slices with fewer examples aren't held against a candidate: their metrics are noise.
    """

    improve: Mapping[str, float] = dataclasses.field(default_factory=dict)
    max_drop: Mapping[str, float] = dataclasses.field(default_factory=dict)
    min_examples: int = 30

    def __post_init__(self):
        for name in (*self.improve, *self.max_drop):
            Objective.of(name)  # or say that its direction isn't clear
        for name, drop in self.max_drop.items():
            if not drop >= 0:
                raise ValueError(f"max_drop says how much worse {name!r} may be, at least 0, got {drop}.")
        if self.min_examples < 1:
            raise ValueError(f"min_examples must be at least 1, got {self.min_examples}.")

    def refusals(self, candidate: Candidate, best: Candidate) -> list[str]:
        """Why the candidate isn't published; nothing where it is.

        Raises:
            LookupError: A value that must improve isn't logged, or a metric isn't among those of the slices.
        """
        return [*self._not_improved(candidate, best), *self._dropped(candidate, best)]

    def _not_improved(self, candidate: Candidate, best: Candidate) -> Iterator[str]:
        for name, amount in self.improve.items():
            objective = Objective.of(name)
            value, before = objective.read(candidate.metrics), objective.read(best.metrics)
            gained = _gain(objective, value, before)
            if not (gained > amount if amount >= 0 else gained >= amount):
                asked = f"better by more than {amount:g}" if amount >= 0 else f"worse by {-amount:g} at most"
                yield f"{name} is {value:.6g}, the best's {before:.6g}: it must be {asked}."

    def _dropped(self, candidate: Candidate, best: Candidate) -> Iterator[str]:
        for metric, drop in self.max_drop.items():
            objective = Objective.of(metric)
            for where, part in _parts(candidate.slices):
                counterpart = dict(_parts(best.slices)).get(where)
                if counterpart is None or min(part["examples"], counterpart["examples"]) < self.min_examples:
                    continue
                value = objective.read(part["metrics"])
                before = objective.read(counterpart["metrics"])
                lost = -_gain(objective, value, before)
                if lost > drop or math.isnan(lost):
                    yield (
                        f"{metric} on {where} ({part['examples']} examples) is {value:.6g}, the best's {before:.6g}: "
                        f"it may be worse by {drop:g} at most."
                    )


def _gain(objective: Objective, value: float, before: float) -> float:
    return value - before if objective.mode == "max" else before - value


def _parts(slices: Slices) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for name, values in slices.items():
        for value, part in values.items():
            yield f"{name}={value}", part
