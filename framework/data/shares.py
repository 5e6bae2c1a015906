"""Part of a data set by its share: `"train[:10%]"`, `"[10%:20%]"`, `"[:500]"`."""

from __future__ import annotations

import dataclasses
import fractions
import math
import re
from typing import Any

import numpy as np

from framework.data.proportions import spread_order
from framework.data.sources import Source
from framework.data.splits import choose, class_ids

_PLACE = r"(-?\d+(?:\.\d+)?%|-?\d+)?"
_SHARE = re.compile(rf"(\w*)(?:\[\s*{_PLACE}\s*:\s*{_PLACE}\s*\])?")


@dataclasses.dataclass(frozen=True)
class Share:
    """A slice of a data set in percent or in examples, as TensorFlow Datasets writes it.

    >>> share = Share.parse("train[10%:20%]")
    >>> share.phase, share.bounds(1000)
    ('train', (100, 200))

    Attributes:
        phase: The split's name before the bracket; empty where there is none.
        start: Where it begins: `"10%"`, `"500"`, or `"-500"` counted from the end; by default at the beginning.
        stop: Where it ends, which is where the next one begins; by default at the end.
    """

    phase: str = ""
    start: str = ""
    stop: str = ""

    @classmethod
    def parse(cls, text: str | Share) -> Share:
        """Reads `"train"`, `"train[:10%]"`, `"[10%:20%]"`, `"[:500]"` or `"[-500:]"`.

        Raises:
            ValueError: It is written in another way.
        """
        if isinstance(text, Share):
            return text
        match = _SHARE.fullmatch(text.replace(" ", ""))
        if not match or not match.group():
            raise ValueError(
                f"{text!r} isn't a share of a data set. Write 'train[:10%]', '[10%:20%]', '[:500]' or '[-500:]'."
            )
        return cls(*(group or "" for group in match.groups()))

    def bounds(self, num_examples: int) -> tuple[int, int]:
        """The positions `[start, stop)` among so many examples; percents are rounded to the nearest example.

        Raises:
            ValueError: It selects nothing, or reaches beyond the examples that there are.
        """
        start = _position(self.start, num_examples, 0)
        stop = _position(self.stop, num_examples, num_examples)
        if not 0 <= start < stop <= num_examples:
            problem = "selects nothing" if 0 <= stop <= start <= num_examples else "reaches beyond them"
            raise ValueError(f"Of {num_examples} examples {self} is [{start}, {stop}), which {problem}.")
        return start, stop

    def __str__(self) -> str:
        return f"{self.phase}[{self.start}:{self.stop}]"


def _position(text: str, num_examples: int, default: int) -> int:
    if not text:
        return default
    # Exact, so that a slice ends where the next one begins.
    place = fractions.Fraction(text.removesuffix("%"))
    if text.endswith("%"):
        place = place * num_examples / 100
    return math.floor(place + fractions.Fraction(1, 2)) + (num_examples if text.startswith("-") else 0)


def subsample(
    source: Source, share: str | Share, *, stratify: bool | None = None, seed: int = 0, labels: Any = None
) -> Any:
    """A part of a source: `subsample(source, "[:10%]")`.

    Of a random order that depends on the seed alone and over which every class is spread evenly: it doesn't matter
    whether the source is sorted, `[:10%]` is part of `[:20%]`, and `[:10%]` and `[10%:]` have nothing in common.

    Args:
        source: All examples.
        share: Such as `"[:10%]"`, `"train[10%:20%]"`, `"[:500]"` or `"[-500:]"`; a phase's name before it is ignored.
        stratify: See `split_source`.
        seed: The same seed gives the same order.
        labels: See `split_source`.

    Raises:
        ValueError: The share isn't of that form, selects nothing, or reaches beyond the examples that there are.
    """
    start, stop = Share.parse(share).bounds(source.num_examples)
    order = spread_order(class_ids(source, labels, stratify), seed=seed)
    return choose(source, np.sort(order[start:stop]))
