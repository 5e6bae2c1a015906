"""What a single value of a table may be."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
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
    if isinstance(value, (bool, datetime.date)) or (isinstance(value, str) and "_" in value):
        return None  # Python takes 1_000 for a number; in data it is a code
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if abs(number) <= LARGEST else None


def numbers_of(values: Sequence[Any]) -> np.ndarray | None:
    """`number_of` many values at once: float64 `[rows]`, NaN for `None` and NaN; `None` where one is something else."""
    kinds = set(map(type, values))
    if bool in kinds or (str in kinds and "_" in "".join(value for value in values if isinstance(value, str))):
        return None
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return None
    if (np.abs(numbers) > LARGEST).any():
        return None
    # "nan" is a word, which may stand for a missing value or not.
    has_words = str in kinds and any(
        isinstance(values[place], str) for place in np.flatnonzero(np.isnan(numbers)).tolist()
    )
    return None if has_words else numbers


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
    """Text, also of a number or a yes or no; `None` where it is a structure, or has half a character."""
    if isinstance(value, str):
        return value if value.isascii() or _is_unicode(value) else None
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


def _is_unicode(text: str) -> bool:
    """Whether it can be UTF-8: JSON may have half of a character that UTF-16 has in two."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
