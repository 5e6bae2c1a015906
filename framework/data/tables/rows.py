"""Parsed rows, each of which knows its place, and the sources made of them."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from absl import logging

from framework.data.bad_examples import BadExample, BadExampleError, BadExamples, counted
from framework.data.sources import ArraySource
from framework.data.tables.blocks import Block, Fault, Table
from framework.data.tables.columns import Column, Roles
from framework.data.tables.dates import parse_date
from framework.data.tables.labels import Labels
from framework.data.tables.parsing import parse_column, parse_each, parse_numbers
from framework.data.tables.values import date_of, number_of, text_of

# Faults that a message shows.
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Rows:
    """Parsed rows of one table or several, all of which are good.

    Attributes:
        features: `{name: [rows]}`; of images the paths.
        labels: `[rows, ...]`.
        weights: float32 `[rows]`, or `None`.
        groups: Text `[rows]`, or `None`.
        times: float64 `[rows]`, or `None`.
        tables: Where they are from.
        table: Which of these, int64 `[rows]`.
        row: Their number in it, int64 `[rows]`.
    """

    features: dict[str, np.ndarray]
    labels: np.ndarray
    weights: np.ndarray | None
    groups: np.ndarray | None
    times: np.ndarray | None
    tables: Sequence[Table]
    table: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.row)

    def take(self, indices: np.ndarray) -> Rows:
        """The rows at `indices`."""
        return Rows(
            features={name: array[indices] for name, array in self.features.items()},
            labels=self.labels[indices],
            weights=None if self.weights is None else self.weights[indices],
            groups=None if self.groups is None else self.groups[indices],
            times=None if self.times is None else self.times[indices],
            tables=self.tables,
            table=self.table[indices],
            row=self.row[indices],
        )

    def where(self, index: int) -> str:
        """The place of a row, for messages."""
        return self.tables[self.table[index]].where(int(self.row[index]))


class RowSource(ArraySource):
    """Rows in memory that know where they are from."""

    def __init__(self, rows: Rows):
        super().__init__(rows.features, rows.labels, rows.weights)
        self._rows = rows

    def subset(self, indices: np.ndarray) -> RowSource:
        return RowSource(self._rows.take(indices))

    def place(self, index: int) -> str:
        return self._rows.where(index)


def parse_rows(
    tables: Sequence[Table],
    columns: Sequence[Column],
    labels: Labels,
    roles: Roles,
    missing: Collection[str],
    policy: BadExamples,
) -> tuple[Rows, list[BadExample]]:
    """Parses tables that are one after the other.

    Args:
        tables: As they were scanned.
        columns: The features.
        labels: How labels are read.
        roles: Columns that are something else.
        missing: Words that stand for a missing number, boolean or date.
        policy: What becomes of rows that can't be used: the wrong number of columns, a value of another kind, no label.

    Returns:
        The good ones, and those that are left out.

    Raises:
        BadExampleError: Some can't be used; or more than may be skipped, or all.
    """
    parts: list[dict[str, np.ndarray]] = []
    left_out, seen = [], 0
    for number, table in enumerate(tables):
        for block in table.blocks():
            seen += len(block.rows) + len(block.faults)
            arrays, faults = _parse_block(block, columns, labels, roles, missing)
            found = [*block.faults, *(Fault(block.rows[place], *fault) for place, fault in faults.items())]
            left_out += [BadExample(f.row, table.where(f.row), f.kind, f.reason) for f in sorted(found)]
            arrays["table"] = np.full(len(block.rows), number)
            arrays["row"] = np.asarray(block.rows, np.int64)
            good = np.delete(np.arange(len(block.rows)), list(faults))
            parts.append({name: array[good] for name, array in arrays.items()})
    _check_left_out(left_out, seen, policy)
    whole = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    if not len(whole["row"]):
        raise BadExampleError(f"No row of {tables[0].place} can be used.")
    rows = Rows(
        features={column.name: whole[f"feature {column.name}"] for column in columns},
        labels=whole["labels"],
        weights=whole.get("weights"),
        groups=whole.get("groups"),
        times=whole.get("times"),
        tables=tables,
        table=whole["table"],
        row=whole["row"],
    )
    return rows, left_out


def _parse_block(
    block: Block, columns: Sequence[Column], labels: Labels, roles: Roles, missing: Collection[str]
) -> tuple[dict[str, np.ndarray], dict[int, tuple[str, str]]]:
    """Arrays by what they are, and (kind, reason) of the rows that can't be used, by their place in the block."""
    arrays: dict[str, np.ndarray] = {}
    faults: dict[int, tuple[str, str]] = {}

    def add(name: str, title: str, parsed: tuple[np.ndarray, Mapping[int, str]]) -> None:
        arrays[name], wrong = parsed
        for place, reason in wrong.items():
            faults.setdefault(place, ("wrong type", f"column {title!r}: {reason}"))

    for column in columns:
        add(f"feature {column.name}", column.title, parse_column(block.values(column.title), column, missing))
    arrays["labels"], wrong = labels.parse({title: block.values(title) for title in labels.titles})
    faults = wrong | faults
    if roles.weight is not None:
        add("weights", roles.weight, _parse_weights(block.values(roles.weight)))
    if roles.group is not None:
        add("groups", roles.group, parse_each(block.values(roles.group), text_of, "", object, (), "a group's name"))
    if roles.time is not None:
        add("times", roles.time, parse_each(block.values(roles.time), _time_of, None, np.float64, (), "a time"))
    return arrays, faults


def _parse_weights(values: Sequence[Any]) -> tuple[np.ndarray, dict[int, str]]:
    weights, faults = parse_numbers(values, ())
    for place in np.flatnonzero(~(weights >= 0)).tolist():
        faults.setdefault(place, f"{values[place]!r} isn't a weight, which is a number and not negative")
    return weights, faults


def _time_of(value: Any) -> float | None:
    """A number, or days since 1970 of a date."""
    number = number_of(value)
    date = date_of(value) if number is None else None
    return parse_date(date) if date is not None else number


def _check_left_out(left_out: Sequence[BadExample], seen: int, policy: BadExamples) -> None:
    if not left_out:
        return
    shown = "".join(f"\n  {example}" for example in left_out[:_SHOWN])
    more = f"\n  and {len(left_out) - _SHOWN} more" if len(left_out) > _SHOWN else ""
    message = f"{len(left_out)} of {seen} rows can't be used ({counted(left_out)}):{shown}{more}\n"
    if policy.on_error == "raise":
        if any(re.search(r"'-?[\d.]*\d,\d+' isn't a number", example.reason) for example in left_out):
            message += "Numbers with a decimal comma: give path= what pandas.read_csv(..., decimal=',') returns. Or: "
        raise BadExampleError(
            f"{message}Repair them, say what a column is (types=) or which words stand for a missing value (missing=), "
            "or leave them out with on_error='skip'."
        )
    if len(left_out) > policy.max_share * seen:
        raise BadExampleError(
            f"{message}At most a share of {policy.max_share:g} is skipped: repair the data, or raise it."
        )
    logging.warning("%s", f"{message}They are left out.")
