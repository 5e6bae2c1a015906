"""What the values of a column look like, block by block, and the kind of column that they speak for."""

from __future__ import annotations

import collections
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from framework.data.tables.values import is_missing, number_of, numbers_of, what_it_is

NUMERIC = "numeric"
BOOLEAN = "boolean"
CATEGORICAL = "categorical"
DATE = "date"
TEXT = "text"
IMAGE = "image"
KINDS = (NUMERIC, BOOLEAN, CATEGORICAL, DATE, TEXT, IMAGE)
_KIND_OF = {"number": NUMERIC, "boolean": BOOLEAN, "date": DATE, "image": IMAGE}

# A share: a few bad cells should be reported as such, and not make words of all numbers.
_MOST = 0.9
# A category has examples to learn from. Where more than half of the values are different most have but one.
_MANY, _MOSTLY_DIFFERENT = 20, 0.5
# Different values that are remembered.
DISTINCT = 100_000
# "007" is how a code is written, not a number.
_CODE = re.compile(r"^[+-]?0\d", re.MULTILINE)


class ColumnScan:
    """What is seen of one column.

    Args:
        typed: Whether its values have types of their own, or all are text.
        missing: Where they are text: what stands for a missing number, boolean or date.

    Attributes:
        num_rows: Rows seen.
        blank: How many of them have nothing: `None`, NaN or no text.
        marked: How many more have one of the words in `missing`.
        words: Those of them that were seen.
        distinct: Different values that are none of these, up to `DISTINCT` of them.
        largest: The largest magnitude of a number.
        text_length: Characters of all values that aren't numbers.
        is_whole: Whether all numbers are integers, and written so.
    """

    def __init__(self, *, typed: bool, missing: Collection[str] = ()):
        self.typed = typed
        self.num_rows = self.blank = self.marked = 0
        self.words: set[str] = set()
        self.distinct: set[Any] = set()
        self.largest = 0.0
        self.text_length = 0
        self.is_whole = True
        self._missing = frozenset() if typed else frozenset(missing)
        self._has_numbers_for_missing = any(number_of(word) is not None for word in self._missing)
        self._counts: collections.Counter[str] = collections.Counter()
        self._has_codes = False
        self._offsets: set[float] = set()
        self._compared = 0  # rows with a value that there were when the last different one was remembered

    def update(self, values: Sequence[Any]) -> None:
        """Looks at the next block's values."""
        if not self._has_numbers_for_missing and self._note_numbers(values):
            self._counts["number"] += len(values)
            known = values
        else:
            known = self._update_one_by_one(values)
        self.num_rows += len(values)
        if len(self.distinct) < DISTINCT:
            self.distinct.update(known)
            self._compared = self.known + self.marked

    def _update_one_by_one(self, values: Sequence[Any]) -> list[Any]:
        """Counts what values are; returns those that are neither missing nor structures."""
        there = [value for value in values if not is_missing(value)]
        known = [value for value in there if value not in self._missing] if self._missing else there
        self.blank += len(values) - len(there)
        if len(known) < len(there):
            self.marked += len(there) - len(known)
            self.words |= self._missing.intersection(there)
        if self._note_numbers(known):
            self._counts["number"] += len(known)
            return known
        plain = [value for value in known if not isinstance(value, (list, dict))]
        self._counts["structure"] += len(known) - len(plain)
        numbers = []
        for value, count in collections.Counter(plain).items():
            what = what_it_is(value, typed=self.typed)
            self._counts[what] += count
            if what == "number":
                numbers.append(value)
            elif isinstance(value, str):
                self.text_length += len(value) * count
        self._note_numbers(numbers)
        return plain

    def _note_numbers(self, values: Sequence[Any]) -> bool:
        """Looks at values that are numbers throughout, in NumPy's own loops; says whether they are."""
        kinds = set(map(type, values))
        if not (kinds <= {int, float} if self.typed else kinds <= {str}):
            return False
        numbers = numbers_of(values)
        if numbers is None or np.isnan(numbers).any():
            return False
        self.largest = max(self.largest, float(np.abs(numbers).max(initial=0.0)))
        if self.typed:
            self.is_whole &= kinds <= {int}
        else:
            text = "\n".join(values)
            self.is_whole &= not set(text) - set("\n-0123456789")
            self._has_codes |= _CODE.search(text) is not None
        if len(self._offsets) < 2:
            offsets = numbers - np.arange(self.num_rows, self.num_rows + len(numbers))
            self._offsets.update(np.unique(offsets)[:2].tolist())
        return True

    @property
    def known(self) -> int:
        """Rows that have neither nothing nor a word for it."""
        return self.num_rows - self.blank - self.marked

    @property
    def is_constant(self) -> bool:
        """Whether all rows have the same value."""
        return len(self.distinct) == 1 and self.known == self.num_rows

    @property
    def is_text(self) -> bool:
        """Whether most rows have a text of their own."""
        different = len(self.distinct) > max(_MANY, _MOSTLY_DIFFERENT * self._compared)
        return different and self._counts["text"] >= _MOSTLY_DIFFERENT * self.known

    @property
    def has_only_integers(self) -> bool:
        """Whether every row has one, in its usual form."""
        return self._counts["number"] == self.num_rows and self.is_whole and not self._has_codes

    @property
    def numbers_rows(self) -> bool:
        """Whether it is 0, 1, 2, ... or 1, 2, 3, ..."""
        return self.has_only_integers and self.num_rows > 2 and self._offsets in ({0.0}, {1.0})

    @property
    def examples(self) -> list[Any]:
        """Two or three of its values, for messages."""
        return sorted(self.distinct, key=str)[:3]

    def kind(self) -> str:
        """The kind that the values speak for; a numeric column of text may still have cells that aren't numbers.

        Raises:
            ValueError: There are lists or objects among them.
        """
        if self._counts["structure"]:
            raise ValueError("has lists, bytes or objects, which no kind of column has")
        known = max(self.known, 1)
        for what, kind in _KIND_OF.items():
            if self._counts[what] / known >= _MOST:
                return CATEGORICAL if kind == NUMERIC and self._has_codes else kind
        return TEXT if self.is_text else CATEGORICAL
