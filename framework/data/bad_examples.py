"""Examples that can't be used: how each is named, and what becomes of them."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable
from typing import Literal


class BadExampleError(ValueError):
    """An example can't be read, parsed or decoded, or has a label that the task hasn't."""


@dataclasses.dataclass(frozen=True)
class BadExamples:
    """What becomes of examples that can't be used.

    Attributes:
        on_error: `"raise"` names the first one and stops. `"skip"` looks at every example once before step 0, leaves
            the bad ones out of every split, and says in the log, the progress line and the history how many.
        max_share: Largest share of a split that may be skipped; more is an error.
    """

    on_error: Literal["raise", "skip"] = "raise"
    max_share: float = 0.01

    def __post_init__(self):
        if self.on_error not in ("raise", "skip"):
            raise ValueError(f"on_error must be 'raise' or 'skip', got {self.on_error!r}.")
        if not 0 <= self.max_share < 1:
            raise ValueError(f"max_share is a share in [0, 1), got {self.max_share}.")


@dataclasses.dataclass(frozen=True)
class BadExample:
    """One of them.

    Attributes:
        index: In its source, counted from 0.
        place: Where it lies: a file and offset, a path, a row.
        kind: Such as `"corrupt record"`, `"missing feature"`, `"undecodable image"`, `"not an image"`,
            `"label out of range"`.
        reason: What was got and what was expected.
    """

    index: int
    place: str
    kind: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind} ({self.reason})"


def count_kinds(bad: Iterable[BadExample]) -> dict[str, int]:
    """How many there are of each kind, the most frequent first."""
    return dict(collections.Counter(example.kind for example in bad).most_common())


def counted(bad: Iterable[BadExample]) -> str:
    """How many there are of each kind, in words."""
    return ", ".join(f"{count} {kind}" for kind, count in count_kinds(bad).items())
