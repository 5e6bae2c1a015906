"""A column's values as arrays of its raw feature, and which of them are none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from framework.data.tables.columns import Column
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, DATE, IMAGE, NUMERIC
from framework.data.tables.values import boolean_of, date_of, is_missing, number_of, numbers_of, text_of

_EXPECTED = {
    NUMERIC: "a number",
    BOOLEAN: "true or false",
    CATEGORICAL: "text or a number",
    IMAGE: "the path of an image",
    DATE: "an ISO 8601 date such as 2024-05-01 or 2024-05-01T12:30:00Z",
}


def parse_column(values: Sequence[Any], column: Column, missing: Collection[str]) -> tuple[np.ndarray, dict[int, str]]:
    """Raw values `[rows]` of a block of one column.

    Args:
        values: As a `Block` has them.
        column: What they are to be.
        missing: Words that stand for a missing number, boolean or date.

    Returns:
        The array, in the dtype of the raw feature and with an object array of str for text; and why some rows' values
        are none, by their place in the block.
    """
    if column.kind == NUMERIC:
        return parse_numbers(values, missing)
    if column.kind == BOOLEAN:
        floats, faults = parse_each(values, boolean_of, np.nan, np.float32, missing, _EXPECTED[BOOLEAN])
        return floats.astype(column.feature.dtype), faults
    if column.kind == DATE:
        return parse_each(values, date_of, "", object, missing, _EXPECTED[DATE])
    if column.feature.dtype == "int64":
        return parse_each(values, int, 0, np.int64, (), _EXPECTED[CATEGORICAL])  # none is missing, or it would be text
    if column.kind == IMAGE:
        return parse_each(values, text_of, None, object, (), _EXPECTED[IMAGE])
    return parse_each(values, text_of, "", object, (), _EXPECTED[CATEGORICAL])


def parse_numbers(
    values: Sequence[Any], missing: Collection[str], dtype: Any = np.float32
) -> tuple[np.ndarray, dict[int, str]]:
    """Numbers `[rows]`, NaN where one is missing."""
    if not any(number_of(word) is not None for word in missing):
        numbers = numbers_of(values)
        if numbers is not None:
            return numbers.astype(dtype), {}
    numbers = numbers_of([None if is_missing(value) or value in missing else value for value in values])
    if numbers is not None:
        return numbers.astype(dtype), {}
    return parse_each(values, number_of, np.nan, dtype, missing, _EXPECTED[NUMERIC])


def parse_each(
    values: Sequence[Any],
    parse: Callable[[Any], Any],
    nothing: Any,
    dtype: Any,
    missing: Collection[str],
    expected: str,
) -> tuple[np.ndarray, dict[int, str]]:
    """Each value parsed, equal ones once.

    Args:
        values: As a `Block` has them.
        parse: Makes of a value what it stands for, or `None`.
        nothing: What stands in the array for a missing value; with `None` it is a fault too.
        dtype: Of the array.
        missing: Words that stand for a missing value.
        expected: For the message.
    """
    parsed: dict[Any, Any] = {}
    made, faults = [], {}
    filling: Any = 0 if nothing is None else nothing
    for place, value in enumerate(values):
        key = (type(value), value) if value.__hash__ is not None else None
        if key is None or key not in parsed:
            is_nothing = is_missing(value) or (isinstance(value, str) and value in missing)
            parsed[key] = nothing if is_nothing else parse(value)
        if parsed[key] is None:
            faults[place] = f"{value!r:.100} isn't {expected}"
        made.append(filling if parsed[key] is None else parsed[key])
    array = np.empty(len(made), dtype)
    array[:] = made
    return array, faults
