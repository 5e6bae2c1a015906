"""Tables as blocks of rows, each row with its place."""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

# Rows of a block: enough that NumPy's own loops do the work, few enough that a block is small.
BLOCK = 8192


class Fault(NamedTuple):
    """A row that can't be used.

    Attributes:
        row: Its number in its table.
        kind: Such as `"wrong number of columns"`.
        reason: What was got and what was expected.
    """

    row: int
    kind: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Block:
    """Some rows of a table.

    Attributes:
        columns: `{name: values}`, Python values: text, numbers, booleans, dates, `None` where there is none.
        rows: Each one's number in its table.
        faults: Rows that are left out, since they have not the form of the others.
    """

    columns: dict[str, list[Any]]
    rows: list[int]
    faults: Sequence[Fault] = ()

    def values(self, name: str) -> list[Any]:
        """Those of a column; `None` throughout where no row has it."""
        return self.columns[name] if name in self.columns else [None] * len(self.rows)


class Table(abc.ABC):
    """One file or frame, which can be read as often as needed.

    Attributes:
        place: What it is called in messages.
        unit: What a row's number counts: `"line"` from 1, or `"row"` from 0.
        typed: Whether its values have types of their own; otherwise all of them are text.
        is_sparse: Whether a row may leave a column out that others have.
        names: Of its columns, in order.
        folder: What paths in it are relative to.
    """

    place: str
    folder: str = "."
    unit: str = "row"
    typed: bool = True
    is_sparse: bool = False
    names: list[str]

    @abc.abstractmethod
    def blocks(self) -> Iterator[Block]:
        """Its rows in order."""

    def where(self, row: int) -> str:
        """The place of a row."""
        return f"{self.place}, {self.unit} {row}"


def in_blocks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    """Consecutive rows in lists."""
    rows = iter(rows)
    while block := list(itertools.islice(rows, BLOCK)):
        yield block


def check_names(names: Sequence[str], place: str) -> list[str]:
    """The columns' names; one without is called by its number, `"column_1"`.

    Raises:
        ValueError: There are none, or two are the same.
    """
    if not any(names):
        raise ValueError(f"{place} is empty; expected at least the columns' names.")
    names = [name or f"column_{number}" for number, name in enumerate(names, 1)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{place} has two columns with the name {', '.join(map(repr, twice))}. Rename one of them.")
    return names
