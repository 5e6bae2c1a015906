"""The validation split once more, through a signature of the export that is being proven."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from absl import logging

from framework.data.phases import VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.serving import DEFAULT, ENCODED, FEATURES, SERIALIZED, Receiver
from framework.export.confusion import Confusions
from framework.export.errors import ProofError
from framework.export.fresh_process import FreshExport, RefusedError
from framework.export.held_out import Arrays, make_request, stored_batches, stored_examples
from framework.export.scoring import Evaluation, NoScoresError, Outputs, Scores
from framework.export.slices import Slice, SliceScores
from framework.export.staged import Progress

# The rawest first: what is decoded and parsed there is proven too.
_PREFERRED = (ENCODED, DEFAULT, SERIALIZED, FEATURES)
# By how much a metric may differ from what Keras reported, as a share of it, by the precision of the model.
TOLERANCES = {"float64": 1e-4, "float32": 1e-3, "float16": 1e-2, "bfloat16": 2e-2}
# And absolutely, for a loss that is nearly 0.
_LOSS_TOLERANCE = 1e-5


@dataclasses.dataclass(frozen=True)
class Validated:
    """What came of it.

    Attributes:
        signature: Through which.
        examples: How many were looked at.
        of: How many there are.
        reported: What Keras reported after these examples, `{metric: value}`.
        values: The same computed from the signature's answers.
        not_compared: `{metric: why}`.
        confusion: See `Confusions`.
        slices: See `SliceScores`.
    """

    signature: str
    examples: int
    of: int
    reported: Mapping[str, float]
    values: Mapping[str, float]
    not_compared: Mapping[str, str]
    confusion: Mapping[str, Any]
    slices: Mapping[str, Any]


class Validation:
    """Recomputes metrics from a signature's answers and compares them with what Keras reported.

    Args:
        pipeline: Whose validation split.
        model: The trained model.
        receivers: How requests are made.
        evaluation: How Keras evaluated.
        slices: On which metrics are computed by themselves.
        tolerance: See `TOLERANCES`; `None` compares nothing.
        is_strict: Whether a difference is an error. Replicas of a strategy that don't share their moving statistics
            evaluate with all of them, while an export has those of the first: then it is a warning.
        clock: Seconds that never go back.

    Raises:
        NoScoresError: Metrics can't be computed from the answers.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        model: keras.Model,
        receivers: Mapping[str, Receiver],
        *,
        evaluation: Evaluation,
        slices: Sequence[Slice] = (),
        tolerance: float | None = TOLERANCES["float32"],
        is_strict: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._pipeline = pipeline
        self._batch_size = evaluation.batch_size
        self._slices = slices
        self._tolerance = tolerance
        self._is_strict = is_strict
        self._clock = clock
        outputs = Outputs(model, pipeline.task)
        self._make_scores = lambda: Scores(outputs, evaluation.compile_arguments)
        self._scores = self._make_scores()
        self._not_compared = _incomparable(model, outputs)
        stored = stored_examples(pipeline, 1)
        ways = ((name, receivers[name]) for name in _PREFERRED if name in receivers)
        usable = [(name, receiver) for name, receiver in ways if make_request(receiver, stored) is not None]
        if not usable:
            raise NoScoresError("Nobody knows what clients send to any signature of the task's: no request=.")
        self.signature, self._receiver = usable[0]

    def run(self, export: FreshExport, progress: Progress, *, budget_secs: float) -> Validated:
        """Goes through the split, in whole batches, until its end or that of the budget.

        With slices it goes to the end in any case: what a policy decides mustn't depend on how fast a machine is.

        Args:
            export: In the fresh process.
            progress: Keras' running metrics after each batch.
            budget_secs: At least one batch is looked at.

        Raises:
            ProofError: A metric isn't what Keras reported, or an example can't be sent.
        """
        began = self._clock()
        self._scores.reset()
        confusions = Confusions(self._pipeline.task)
        by_slice = SliceScores(self._slices, self._make_scores)
        total = self._pipeline.require_source(VALIDATION).num_examples
        examples = batches = 0
        for example in stored_batches(self._pipeline, VALIDATION, self._batch_size):
            answers = self._answers(export, example.features, examples)
            self._scores.update(answers, example.labels, example.weights)
            confusions.update(example.labels, answers)
            by_slice.update(example, answers)
            examples += len(next(iter(example.features.values())))
            batches += 1
            # On to where Keras reported something, to compare with it.
            may_end = bool(_known(progress, batches)) or not any(progress[batches:])
            if self._clock() - began > budget_secs and may_end and not self._slices:
                break
        reported = _known(progress, batches)
        validated = Validated(
            self.signature,
            examples,
            total,
            reported,
            self._scores.values,
            self._not_compared,
            confusions.values,
            by_slice.values,
        )
        if self._tolerance is not None:
            self._compare(validated, self._tolerance)
        return validated

    def _answers(self, export: FreshExport, features: Arrays, first: int) -> Arrays:
        """What the signature answers to a batch, whose first example is the split's `first`."""

        def call(features: Arrays) -> Arrays:
            return export.call(self.signature, make_request(self._receiver, features) or {})

        try:
            return call(features)
        except RefusedError as error:
            size = len(next(iter(features.values())))
            where, why = f"with examples {first} to {first + size - 1}", error
            for row in range(size):
                try:
                    call({name: value[row : row + 1] for name, value in features.items()})
                except RefusedError as alone:
                    where = f"with {self._pipeline.require_source(VALIDATION).place(first + row)}"
                    why = alone
                    break
            raise ProofError(
                "metrics", f"It can't be called {where} of the validation split: {why}", signature=self.signature
            ) from error

    def _compare(self, validated: Validated, tolerance: float) -> None:
        for name, expected in validated.reported.items():
            if name in validated.not_compared or name not in validated.values:
                continue
            got = validated.values[name]
            # One example more or less that lies on a threshold; a loss has none.
            absolute = _LOSS_TOLERANCE if name.endswith("loss") else 1.5 / validated.examples
            allowed = tolerance * abs(expected) + absolute
            if np.isclose(got, expected, rtol=0, atol=allowed, equal_nan=True):
                continue
            message = (
                f"{name} on {validated.examples} of {validated.of} examples of the validation split is {got:.6g} "
                f"through the signature, Keras reported {expected:.6g}: they may differ by {allowed:.2g}."
            )
            if self._is_strict:
                raise ProofError(
                    "metrics",
                    f"{message} Serving doesn't see what evaluation saw. (Proof(metrics=False) leaves this check out.)",
                    signature=validated.signature,
                )
            logging.warning(
                "%s The replicas' moving statistics differ: BatchNormalization(synchronized=True) keeps them alike.",
                message,
            )


def _known(progress: Progress, batches: int) -> Mapping[str, float]:
    """What Keras reported after so many batches; empty where it didn't look just then."""
    return progress[batches - 1] if batches <= len(progress) else {}


def _incomparable(model: keras.Model, outputs: Outputs) -> dict[str, str]:
    """Metrics that can't be told from answers, with the reason."""
    heads = outputs.specs if isinstance(outputs.specs, Mapping) else {}
    found = {f"{head}_loss": "Keras' mean over batches, whatever their size; it is part of loss" for head in heads}
    if model.losses:
        found["loss"] = "the model adds losses of its own, such as regularization, which a signature doesn't answer"
    return found
