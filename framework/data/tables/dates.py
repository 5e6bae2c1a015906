"""Dates as clients write them, ISO 8601, in Python and in a graph.

`2024-05-01`, `2024-05-01T12:30`, `2024-05-01 12:30:15.25`, with `Z` or an offset such as `+02:00` after a time; without
one it is taken for UTC.
"""

from __future__ import annotations

import datetime
import re

import numpy as np
import tensorflow as tf

_PATTERN = (
    r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
    r"(?:[T ]([01]\d|2[0-3]):([0-5]\d)(?::([0-5]\d(?:\.\d{1,6})?))?(Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)?)?"
)
_DATE = re.compile(_PATTERN, re.ASCII)
_UTC = datetime.UTC
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=_UTC)
_MICROSECONDS = 86_400_000_000
YEAR = 365.2425


def parse_date(text: str) -> float | None:
    """Days since 1970-01-01 UTC, or `None` where it isn't a date of this form or there is no such day."""
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=_UTC) if moment.tzinfo is None else moment
        return (moment - _EPOCH) // datetime.timedelta(microseconds=1) / _MICROSECONDS
    except (ValueError, OverflowError):  # the 30th of February
        return None


def format_date(date: datetime.date) -> str:
    """The shortest of these forms for a date or a time of a day, of `datetime`, pandas or another library."""
    text = date.isoformat()
    if not isinstance(date, datetime.datetime):
        return text
    text = text.removesuffix("T00:00:00")
    # pandas writes nanoseconds.
    return re.sub(r"(\.\d{6})\d+", r"\1", text)


def days_since_epoch(texts: tf.Tensor, name: str) -> tf.Tensor:
    """Days since 1970-01-01 UTC float64 `[batch]` of dates string `[batch]`; NaN where the text is empty.

    Args:
        texts: Dates.
        name: Of the feature, for the message.

    Raises:
        tf.errors.InvalidArgumentError: (when run) One isn't a date of this form, or there is no such day.
    """
    is_missing = tf.equal(texts, "")
    texts = tf.where(is_missing, "1970-01-01", texts)
    is_date = tf.strings.regex_full_match(texts, _PATTERN)
    safe = tf.where(is_date, texts, "1970-01-01")

    def part(number: int) -> tf.Tensor:
        # A 0 before it stands for a part that isn't there.
        return tf.strings.to_number(tf.strings.regex_replace(safe, f"^{_PATTERN}$", rf"0\{number}"), tf.float64)

    year, month, day, hour, minute, second = (part(number) for number in range(1, 7))
    days = _civil_days(year, month, day)
    next_year, next_month = tf.where(month < 12, year, year + 1), tf.where(month < 12, month + 1, 1)
    is_date = tf.logical_and(is_date, days < _civil_days(next_year, next_month, tf.ones_like(day)))
    message = f"Feature '{name}' has a value that is no ISO 8601 date such as 2024-05-01 or 2024-05-01T12:30:00Z:"
    bad = tf.boolean_mask(texts, tf.logical_not(is_date))
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_date), [message, bad], summarize=3)]):
        days += (hour * 3600 + minute * 60 + second) / 86400 - _offset_days(safe)
    return tf.where(is_missing, tf.constant(np.nan, tf.float64), days)


def _offset_days(texts: tf.Tensor) -> tf.Tensor:
    zones = tf.strings.regex_replace(texts, f"^{_PATTERN}$", r"\7")
    digits = tf.strings.regex_replace(zones, "[Z:+-]", "")
    number = tf.strings.to_number(tf.strings.join(["0", digits]), tf.float64)  # hours and minutes as hhmm
    minutes = number // 100 * 60 + number % 100
    return tf.where(tf.equal(tf.strings.substr(zones, 0, 1), "-"), -minutes, minutes) / 1440


def _civil_days(year: tf.Tensor, month: tf.Tensor, day: tf.Tensor) -> tf.Tensor:
    """Days since 1970-01-01 in the Gregorian calendar, float64.

    Counted in years that begin in March, so that the leap day is a year's last (Howard Hinnant, "chrono-Compatible
    Low-Level Date Algorithms", days_from_civil).
    """
    year = tf.where(month > 2, year, year - 1)
    month = tf.where(month > 2, month - 3, month + 9)
    leap_days = year // 4 - year // 100 + year // 400
    return 365 * year + leap_days + (153 * month + 2) // 5 + day - 719469


def features_of(days: tf.Tensor, *, mean: np.ndarray, deviation: np.ndarray, has_time: bool) -> tf.Tensor:
    """What a model can learn from: float32 `[batch, 5]`, or `[batch, 7]` with the time of the day.

    How late, standardized, then sine and cosine of the time of the year, of the week (and of the day), so that the end
    of each lies beside its beginning. All are 0 where the date is missing.

    Args:
        days: Since 1970-01-01, float64 `[batch]`; NaN where missing.
        mean: Of the training split's days.
        deviation: Of the training split's days.
        has_time: Whether the time of the day is told.
    """
    # In float64 up to here: float32 would round the days of our time to minutes.
    angles = [2 * np.pi * days / period for period in (YEAR, 7.0, *((1.0,) if has_time else ()))]
    parts = [(days - mean) / deviation, *(turn(angle) for angle in angles for turn in (tf.sin, tf.cos))]
    stacked = tf.stack(parts, axis=-1)
    return tf.cast(tf.where(tf.math.is_nan(stacked), tf.zeros_like(stacked), stacked), tf.float32)
