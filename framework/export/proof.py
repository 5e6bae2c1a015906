"""The proof of a staged export: what a client would find is what was trained.

In another process, by TensorFlow alone, from scratch: the SavedModel loads, by the loaders of TensorFlow 2 and 1; its
signatures, operations, variables and size are as they should be; each signature answers real requests at batch sizes 1
and 3 as the live model did; the metrics of the validation split, recomputed through a signature, are those that Keras
reported.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from absl import logging

from framework.data.serving import DEFAULT
from framework.export.errors import ParityError, ProofError
from framework.export.fresh_process import FreshExport, FreshProcess, FreshProcessError, RefusedError
from framework.export.graph_checks import check_facts
from framework.export.held_out import Arrays, Call
from framework.export.parity import find_difference, largest_difference
from framework.export.staged import Staged
from framework.export.validating import Validated, Validation
from framework.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Proof:
    """How an export is proven before it is published.

    Attributes:
        budget_secs: Seconds for recomputing the metrics of the validation split; what isn't reached isn't looked at.
        tolerance: Largest difference between a signature's answer and the live model's, as a share of the output's
            largest value (at least 1). By default by the model's precision: 1e-4 in float32, 5e-3 in float16, 2e-2 in
            bfloat16.
        metrics: Whether the validation split's metrics are recomputed and compared.
        modules: What is imported to load an export, because it has custom operations: `("tensorflow_text",)`. Without
            any it is loaded by TensorFlow alone.
    """

    budget_secs: float = 60.0
    tolerance: float | None = None
    metrics: bool = True
    modules: Sequence[str] = ()

    def __post_init__(self):
        if self.budget_secs < 0:
            raise ValueError(f"budget_secs must not be negative, got {self.budget_secs}.")
        if self.tolerance is not None and not self.tolerance > 0:
            raise ValueError(f"tolerance must be positive, got {self.tolerance}.")
        if isinstance(self.modules, str):
            raise TypeError(f"modules is a sequence of names, got {self.modules!r}. Write ({self.modules!r},).")
        object.__setattr__(self, "modules", tuple(self.modules))


@dataclasses.dataclass(frozen=True)
class Proven:
    """What the proof has shown.

    Attributes:
        sizes: Bytes of the export's parts.
        largest_difference: `{signature: largest absolute difference from the live model}`.
        not_called: `{signature: why}`.
        validated: The validation split's metrics, or why there are none.
        seconds: What it took.
    """

    sizes: Mapping[str, int]
    largest_difference: Mapping[str, float]
    not_called: Mapping[str, str]
    validated: Validated | str
    seconds: float

    @property
    def slices(self) -> Mapping[str, Any]:
        """Metrics of parts of the validation split; see `SliceScores`."""
        return self.validated.slices if isinstance(self.validated, Validated) else {}


@dataclasses.dataclass(frozen=True)
class Prover:
    """Proves exports of one model.

    Attributes:
        process: Where they are loaded.
        tolerance: See `Proof`.
        budget_secs: See `Proof`.
        thresholds: Numbers at which the task decides.
        validation: Recomputes metrics; or a text that says why that isn't done.
        place: Says where a held-out example lies.
        interrupted: Set when the process was ended on purpose.
        clock: Seconds that never go back.
    """

    process: FreshProcess
    tolerance: float
    budget_secs: float
    thresholds: Sequence[float]
    validation: Validation | str
    place: Callable[[int], str]
    interrupted: threading.Event
    clock: Callable[[], float] = time.monotonic

    def prove(
        self, staged: Staged, manifest: Mapping[str, Any], then: Callable[[FreshExport], None] | None = None
    ) -> Proven:
        """Proves a staged export.

        Args:
            staged: Which.
            manifest: What it should be.
            then: What else is to be tried while it is loaded.

        Raises:
            ProofError: It isn't what it should be.
            FreshProcessError: There is no process to try it in.
        """
        if self.interrupted.is_set():
            raise FreshProcessError("The process that tries exports was ended on purpose.")
        try:
            return self._prove(staged, manifest, then)
        except FreshProcessError as error:
            if self.interrupted.is_set():
                raise
            # Perhaps the system took its memory, or somebody ended it: not the export's fault, until it happens again.
            logging.warning("%s Trying again.", error)
            return self._prove(staged, manifest, then)

    def _prove(self, staged: Staged, manifest: Mapping[str, Any], then: Callable[[FreshExport], None] | None) -> Proven:
        began = self.clock()
        try:
            with self.process.loaded(staged.model) as export:
                sizes = check_facts(export.facts, manifest)
                largest = self._check_answers(export, staged.calls())
                validated: Validated | str
                if isinstance(self.validation, Validation):
                    validated = self.validation.run(export, staged.progress(), budget_secs=self.budget_secs)
                else:
                    validated = self.validation
                if then is not None:
                    then(export)
        except RefusedError as error:
            raise ProofError(
                "loads",
                f"TensorFlow fails on the export: {error} (Custom operations come with a module: Proof(modules=...).)",
            ) from error
        not_called = dict.fromkeys(set(manifest["signatures"]) - set(largest), "nobody knows what clients send to it")
        return Proven(sizes, largest, not_called, validated, self.clock() - began)

    def _check_answers(self, export: FreshExport, calls: Sequence[Call]) -> dict[str, float]:
        largest: dict[str, float] = {}
        for call in calls:
            answers = self._answers(export.call, call)
            difference = find_difference(answers, call.answers, self.tolerance, thresholds=self.thresholds)
            if difference is not None:
                raise ParityError(
                    "answers",
                    f"In a batch of {call.batch_size}, {difference}. The example is {self.place(difference.row)}.",
                    signature=call.signature,
                )
            largest[call.signature] = max(largest.get(call.signature, 0.0), largest_difference(answers, call.answers))
        self._check_old_loader(export, calls)
        return largest

    def _answers(self, ask: Callable[[str, Arrays], dict[str, Any]], call: Call, how: str = "") -> dict[str, Any]:
        try:
            return ask(call.signature, call.inputs)
        except RefusedError as error:
            raise ProofError(
                "answers",
                f"{how}It can't be called with a batch of {call.batch_size} real examples, the first of which is "
                f"{self.place(0)}: {error}",
                signature=call.signature,
            ) from error

    def _check_old_loader(self, export: FreshExport, calls: Sequence[Call]) -> None:
        """One signature through a session of TensorFlow 1, which is how TensorFlow Serving calls it."""
        for call in calls:
            if call.signature == DEFAULT:
                answers = self._answers(export.call_session, call, "In a session of TensorFlow 1: ")
                difference = find_difference(answers, call.answers, self.tolerance, thresholds=self.thresholds)
                if difference is not None:
                    raise ParityError(
                        "answers",
                        f"In a session of TensorFlow 1, {difference}. The example is {self.place(difference.row)}.",
                        signature=call.signature,
                    )
                return


def thresholds_of(task: Task | None) -> list[float]:
    """The numbers at which a task says yes or no: probabilities and logits."""

    def found(task: Any) -> Iterator[float]:
        threshold = getattr(task, "threshold", None)
        if isinstance(threshold, float) and 0 < threshold < 1:
            yield from (threshold, math.log(threshold / (1 - threshold)))
        for part in getattr(task, "tasks", {}).values():
            yield from found(part)

    return list(found(task))
