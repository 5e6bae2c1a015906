"""What is exported, and when it is published."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from framework.export.answers import Answers
from framework.export.formats import check_formats
from framework.export.policy import Policy
from framework.export.proof import Proof
from framework.export.slices import Slice, as_slices
from framework.export.warm_up import check_batch_sizes


@dataclasses.dataclass(frozen=True)
class Exports:
    """What is kept for serving.

    Attributes:
        keep: How many of the newest exports stay beside the best, which always does; 0 leaves the best alone, `None`
            deletes none.
        answers: What signatures answer beyond the task's predictions.
        classify_regress: Whether there is a signature for TensorFlow Serving's Classify or Regress calls, too.
        warmup: Sizes of the batches with which TensorFlow Serving warms up, such as `(1, 32)`.
        formats: Further formats, `<export>/formats/<name>`: see `framework.export.formats.FORMATS`.
            They are made of every new best, beside training, which waits where the next one comes before they are done;
            `scripts/export.py --export_formats=...` makes them of the best alone, afterwards.
        format_max_drop: How much worse a further format may be than the SavedModel by the task's metric, as a share of
            its value; beyond, it is left out.
        slices: Parts of the validation split on which metrics are computed by themselves: names of features, or
            `framework.export.Slice`s. They stand in the manifest, and a policy can look at them.
        policy: What a new best must be besides better by the objective.
        proof: How an export is proven before it is published.
    """

    keep: int | None = 1
    answers: Answers = Answers()  # noqa: RUF009  frozen
    classify_regress: bool = False
    warmup: Sequence[int] = ()
    formats: Sequence[str] = ()
    format_max_drop: float = 0.01
    slices: Sequence[Slice | str] = ()
    policy: Policy = Policy()  # noqa: RUF009  frozen
    proof: Proof = Proof()  # noqa: RUF009  frozen

    def __post_init__(self):
        if self.keep is not None and self.keep < 0:
            raise ValueError(f"keep must be None (all), 0 (the best alone) or a positive number, got {self.keep}.")
        check_formats(self.formats)
        if self.format_max_drop < 0:
            raise ValueError(f"format_max_drop must not be negative, got {self.format_max_drop}.")
        for name, value in (
            ("warmup", check_batch_sizes(self.warmup)),
            ("formats", tuple(self.formats)),
            ("slices", as_slices(self.slices)),
        ):
            object.__setattr__(self, name, value)
        if self.policy.max_drop and not self.slices:
            raise ValueError("A policy with max_drop compares slices: name them, Exports(slices=...).")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Exports:
        """What a run's configuration says, as far as it concerns one export: neither slices nor a policy."""
        fields = {field.name for field in dataclasses.fields(cls)} - {"slices", "policy"}
        values = {name: value for name, value in config.items() if name in fields}
        for name, kind in (("answers", Answers), ("proof", Proof)):
            if name in values:
                values[name] = kind(**values[name])
        return cls(**values)
