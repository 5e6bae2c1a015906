"""Tables as rows: all is looked at once, then it is decided what the columns are, then they are parsed."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence

from framework.data.bad_examples import BadExample, BadExamples
from framework.data.phases import TRAIN
from framework.data.tables.blocks import Table
from framework.data.tables.columns import Choice, Column, Roles, check_titles, choose_columns, choose_titles
from framework.data.tables.labels import Labels, read_labels
from framework.data.tables.memory import check_memory
from framework.data.tables.rows import Rows, parse_rows
from framework.data.tables.scanning import ColumnScan
from framework.registry import did_you_mean
from framework.tasks.task import Task


@dataclasses.dataclass(frozen=True)
class Loaded:
    """Parsed tables.

    Attributes:
        columns: The features.
        labels: How labels were read.
        rows: `{phase: rows}`.
        left_out: Rows that are skipped.
    """

    columns: list[Column]
    labels: Labels
    rows: dict[str, Rows]
    left_out: list[BadExample]


def load(
    tables: Mapping[str, Sequence[Table]], roles: Roles, choice: Choice, task: Task | str | None, policy: BadExamples
) -> Loaded:
    """Reads tables twice: to see what they hold, and to hold it.

    Args:
        tables: `{phase: tables}`; those of `"train"` decide what the columns are.
        roles: Columns that are no features, unless the choice names them.
        choice: Columns that are.
        task: See `read_labels`.
        policy: What becomes of rows that can't be used.

    Raises:
        ValueError: Columns aren't there, aren't what they are said to be, can't be used, or don't fit into memory.
        BadExampleError: Rows can't be used, and aren't to be skipped.
    """
    place = tables[TRAIN][0].place
    scans = {TRAIN: scan_tables(tables[TRAIN], choice.missing)}
    for argument in ("label", "weight", "group", "time"):
        check_titles(roles.of(argument), scans[TRAIN], f"{argument}=", place)
    # Only what is divided needs these.
    others = dataclasses.replace(roles, group=None, time=None)
    used = choose_titles(scans[TRAIN], choice, roles, place)
    for phase, given in tables.items():
        if phase != TRAIN:
            scans[phase] = scan_tables(given, choice.missing, list(dict.fromkeys([*used, *others.titles])))
    columns = choose_columns(scans, choice, roles, place)
    check_memory(columns, list(scans.values()), place)
    labels = read_labels(roles.of("label"), scans[TRAIN], task, choice.missing)
    rows, left_out = {}, []
    for phase, given in tables.items():
        own = roles if phase == TRAIN else others
        rows[phase], bad = parse_rows(given, columns, labels, own, choice.missing, policy)
        left_out += bad
    return Loaded(columns, labels, rows, left_out)


def scan_tables(
    tables: Sequence[Table], missing: Collection[str], titles: Collection[str] | None = None
) -> dict[str, ColumnScan]:
    """Looks at the columns of tables that are one after the other.

    Args:
        tables: All with the same columns, in whatever order.
        missing: Words that stand for a missing number, boolean or date.
        titles: The columns that there must be; by default all that any of the tables has.

    Raises:
        ValueError: A table lacks one of these columns, or there is no row at all.
    """
    if titles is None:
        titles = list(dict.fromkeys(name for table in tables for name in table.names))
    for table in tables:
        _check_columns(table, titles)
    scans = {title: ColumnScan(typed=tables[0].typed, missing=missing) for title in titles}
    for table in tables:
        for block in table.blocks():
            for title, scan in scans.items():
                scan.update(block.values(title))
    if not next(iter(scans.values())).num_rows:
        raise ValueError(f"{tables[0].place} has no row below its columns' names.")
    return scans


def _check_columns(table: Table, titles: Collection[str]) -> None:
    gone = [] if table.is_sparse else [title for title in titles if title not in table.names]
    if gone:
        near = "".join(did_you_mean(title, set(table.names) - set(titles)) for title in gone)
        raise ValueError(f"{table.place} has no column {', '.join(map(repr, gone))}.{near} It has {table.names}.")
