"""What a single value of a table may be."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np

from framework.data.tables.dates import format_date, parse_date

# What stands in files of text for a number, a yes or no, or a date that isn't known. Of categories and texts it is
# nothing but the empty one: "NA" may be a country, "None" an answer.
MISSING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "?", "-")
_IMAGES = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp")
_YES = {"true", "yes", "t", "y", "1"}
_NO = {"false", "no", "f", "n", "0"}
LARGEST = float(np.finfo(np.float32).max)


def is_missing(value: Any) -> bool:
    """Whether it stands for nothing: `None`, NaN or no text."""
    return value is None or value != value or (isinstance(value, str) and not value)


def number_of(value: Any) -> float | None:
    """A number that float32 can hold, or `None`."""
    if isinstance(value, (bool, datetime.date)):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None


def boolean_of(value: Any) -> float | None:
    """1 or 0 for true, yes, t, y, 1 and their opposites in any case, or `None`."""
    word = str(value).lower().removesuffix(".0")
    return 1.0 if word in _YES else 0.0 if word in _NO else None


def date_of(value: Any) -> str | None:
    """An ISO 8601 date, or `None`."""
    if isinstance(value, datetime.date):
        value = format_date(value)
    return value if isinstance(value, str) and parse_date(value) is not None else None


def text_of(value: Any) -> str | None:
    """Text, also of a number or a yes or no; `None` where it is a list or another structure."""
    if isinstance(value, str):
        return value
    if isinstance(value, datetime.date):
        return format_date(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # which it was before a missing value in its column made it a float
    return str(value) if isinstance(value, (bool, int, float)) else None


def what_it_is(value: Any, *, typed: bool) -> str:
    """`"number"`, `"boolean"`, `"date"`, `"image"` (a file's name), `"text"` or `"structure"`.

    Args:
        value: One that isn't missing.
        typed: Whether text is meant as text.
    """
    if isinstance(value, bool):
        return "boolean"
    if number_of(value) is not None and not (typed and isinstance(value, str)):
        return "number"
    if date_of(value) is not None:
        return "date"
    if not isinstance(value, str):
        return "text" if isinstance(value, (int, float)) else "structure"  # a number that float32 can't hold
    # "Yes" and "no" may be two answers of several; true and false can't.
    if not typed and value.lower() in ("true", "false"):
        return "boolean"
    return "image" if value.lower().endswith(_IMAGES) else "text"
