"""The columns that become features: their names, kinds and raw forms."""

from __future__ import annotations

import dataclasses
import decimal
from collections.abc import Collection, Iterable, Mapping, Sequence

import numpy as np

from framework.data.phases import TRAIN
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, DATE, IMAGE, NUMERIC, TEXT, ColumnScan
from framework.data.tables.values import MISSING, number_of
from framework.features import Feature, as_identifier
from framework.media import Image
from framework.registry import did_you_mean

# Beyond these float32 and float64 can't tell all integers apart.
_EXACT_FLOAT32, _EXACT_FLOAT64 = 2.0**24, 2.0**53


@dataclasses.dataclass(frozen=True)
class Roles:
    """Columns that are something else than a feature.

    Attributes:
        label: One, or several that make one label each.
        weight: How much an example counts.
        group: Which examples belong together.
        time: In whose order examples are.
    """

    label: str | Sequence[str]
    weight: str | None = None
    group: str | None = None
    time: str | None = None

    def of(self, role: str) -> tuple[str, ...]:
        """The columns in one role."""
        given = getattr(self, role)
        return () if given is None else (given,) if isinstance(given, str) else tuple(given)

    @property
    def titles(self) -> list[str]:
        """All of them."""
        return [title for role in ("label", "weight", "group", "time") for title in self.of(role)]


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which columns are features, and of what kind.

    Attributes:
        kinds: Those that there may be, of `framework.data.tables.scanning.KINDS`.
        columns: The features; by default all columns but those that are something else.
        drop: Columns that are none.
        types: `{column: kind}`, where the values would be taken for something else.
        missing: What stands for a missing number, boolean or date in files of text.
        image: What columns of images become.
    """

    kinds: Collection[str]
    columns: Sequence[str] | None = None
    drop: Sequence[str] = ()
    types: Mapping[str, str] | None = None
    missing: Sequence[str] = MISSING
    image: Feature = Image()  # noqa: RUF009  frozen

    def __post_init__(self):
        for argument in ("columns", "drop", "missing"):
            if isinstance(getattr(self, argument), str):
                raise ValueError(f"{argument} must be a list, got the text {getattr(self, argument)!r}.")
        if self.columns is not None and len(set(self.columns)) < len(self.columns):
            raise ValueError(f"columns= names a column twice, got {list(self.columns)}.")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column that is a feature.

    Attributes:
        name: The feature's.
        title: As the data have it.
        kind: One of `framework.data.tables.scanning.KINDS`.
        feature: The raw feature, as a client sends it. A missing number is NaN, a missing category, date or text "",
            and a yes or no that may be missing is 1, 0 or NaN.
        missing: In how many of the scanned rows there is nothing.
        is_given: Whether a person said its kind, instead of its values.
    """

    name: str
    title: str
    kind: str
    feature: Feature
    missing: int
    is_given: bool


def choose_columns(
    scans: Mapping[str, Mapping[str, ColumnScan]], choice: Choice, roles: Roles, place: str
) -> list[Column]:
    """Decides what of a table is a feature, and of what kind.

    Args:
        scans: `{phase: {title: scan}}`. Training decides about kinds; whether anything is missing is known of all rows.
        choice: What a person says of them.
        roles: Columns that are no features unless `choice.columns` names them; the label never is.
        place: The training table's name.

    Raises:
        ValueError: A column isn't there, is in two lists, or can't be used as it is; the message has all of these and
            what to write.
    """
    seen, types = scans[TRAIN], choice.types or {}
    titles = choose_titles(seen, choice, roles, place)
    kinds, problems = {}, {}
    for title in titles:
        kinds[title], problem = _kind(seen[title], types.get(title), choice.kinds)
        if problem:
            problems[title] = problem
    if problems:
        listed = "".join(f"\n  {title!r} {problem}" for title, problem in problems.items())
        drop = [*choice.drop, *problems]
        example = next((title for title in problems if seen[title].known), None)
        otherwise = "" if example is None else f", or say what they are, such as types={{{example!r}: 'categorical'}}"
        raise ValueError(
            f"Some columns of {place} can't be used as they are:{listed}\nLeave them out, {drop=}{otherwise}."
        )
    names = feature_names(titles)
    found = []
    for title in titles:
        everywhere = [scan[title] for scan in scans.values()]
        feature = choice.image if kinds[title] == IMAGE else _feature(kinds[title], everywhere)
        is_marked = kinds[title] in (NUMERIC, BOOLEAN, DATE)
        missing = sum(scan.blank + (scan.marked if is_marked else 0) for scan in everywhere)
        found.append(Column(names[title], title, kinds[title], feature, missing, title in types))
    return found


def choose_titles(seen: Collection[str], choice: Choice, roles: Roles, place: str) -> list[str]:
    """The columns that are features, of those that the training table has.

    Raises:
        ValueError: A column isn't there, is in two lists, or none is left.
    """
    types = choice.types or {}
    for argument, titles in (("columns", choice.columns or ()), ("drop", choice.drop), ("types", types)):
        check_titles(titles, seen, f"{argument}=", place)
    unknown = {title: kind for title, kind in types.items() if kind not in choice.kinds}
    if unknown:
        raise ValueError(f"types= has {unknown}; this pipeline's kinds are {', '.join(choice.kinds)}.")
    both = {*(choice.columns or ()), *types} & {*choice.drop, *roles.of("label")}
    if both:
        raise ValueError(f"{sorted(both)} can't be features by columns= or types= and be in drop= or label= as well.")
    apart = {*choice.drop, *(() if choice.columns else roles.titles)}
    titles = [title for title in choice.columns or seen if title not in apart]
    if not titles:
        raise ValueError(f"No column of {place} is left as a feature: of {list(seen)} none isn't in {sorted(apart)}.")
    return titles


def check_titles(titles: Iterable[str], there: Collection[str], what: str, place: str) -> None:
    """Checks that columns are there.

    Raises:
        ValueError: One isn't; the message has the near ones.
    """
    for title in titles:
        if title not in there:
            raise ValueError(
                f"{what} names the column {title!r}, which {place} doesn't have.{did_you_mean(title, there)} "
                f"It has {list(there)}."
            )


def feature_names(titles: Iterable[str]) -> dict[str, str]:
    """Names for columns which a signature can have, no two of them alike but for case."""
    names: dict[str, str] = {}
    taken: set[str] = set()
    for title in titles:
        name = wanted = as_identifier(title)
        number = 2
        while name.lower() in taken:
            name, number = f"{wanted}_{number}", number + 1
        names[title] = name
        taken.add(name.lower())
    return names


def renamed(columns: Iterable[Column]) -> dict[str, str]:
    """`{feature: column}` of those that have another name as a feature."""
    return {column.name: column.title for column in columns if column.name != column.title}


def _kind(scan: ColumnScan, given: str | None, allowed: Collection[str]) -> tuple[str, str | None]:
    """The kind, and what stands in the way of using it."""
    if not scan.known and (given in (None, NUMERIC, BOOLEAN, DATE) or not scan.marked):
        return NUMERIC, "has no value in any row"
    try:
        kind = given or scan.kind()
    except ValueError as error:
        return TEXT, str(error)
    if kind == NUMERIC and (merged := _merged(scan)):
        return kind, merged
    if given:
        return kind, None
    if scan.is_constant:
        return kind, f"is {scan.examples[0]!r} in every row"
    if scan.numbers_rows:
        return kind, "numbers the rows"
    if kind == TEXT and TEXT not in allowed:
        shown = ", ".join(map(repr, scan.examples))
        return kind, f"has another text in nearly every row ({shown:.100}), which is no category"
    if kind == IMAGE and IMAGE not in allowed:
        return kind, f"has names of image files such as {scan.examples[0]!r}; the pipeline 'multimodal' reads them"
    return kind, None


def _merged(scan: ColumnScan) -> str | None:
    """What is lost in float32, where it is more than rounding."""
    if scan.largest <= _EXACT_FLOAT32:
        return None
    numbers = {value: number for value in scan.distinct if (number := number_of(value)) is not None}
    kept = len(np.unique(np.array(list(numbers.values())).astype(np.float32)))
    # Exact: what float32 can't tell apart, float64 may not either.
    if 2 * kept > len({decimal.Decimal(value) if isinstance(value, str) else value for value in numbers}):
        return None
    return f"has numbers up to {scan.largest:.15g} that float32 can't tell apart"


def _feature(kind: str, scans: Sequence[ColumnScan]) -> Feature:
    complete = not any(scan.blank or scan.marked for scan in scans)
    if kind == NUMERIC:
        return Feature((), "float32")
    if kind == BOOLEAN:
        return Feature((), "bool" if complete else "float32")
    are_integers = all(scan.has_only_integers and scan.largest < _EXACT_FLOAT64 for scan in scans)
    if kind == CATEGORICAL and complete and are_integers:
        return Feature((), "int64")
    return Feature((), "string")
