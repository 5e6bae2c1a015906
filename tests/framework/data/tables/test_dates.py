import datetime

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.tables.dates import days_since_epoch, features_of, format_date, parse_date

ZONES = st.one_of(
    st.none(),
    st.integers(-23 * 60, 23 * 60).map(lambda minutes: datetime.timezone(datetime.timedelta(minutes=minutes))),
)
MOMENTS = st.datetimes(datetime.datetime(2, 1, 1), datetime.datetime(9998, 1, 1), timezones=ZONES)
DAY = datetime.timedelta(days=1)


def oracle(moment):
    """Days since 1970, by Python's own arithmetic."""
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    return (moment - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) / DAY


IN_GRAPH = tf.function(lambda texts: days_since_epoch(texts, "joined"), [tf.TensorSpec([None], tf.string)])


def in_graph(texts):
    return IN_GRAPH(tf.constant(texts)).numpy()


@settings(deadline=None)
@given(st.lists(MOMENTS, min_size=1, max_size=20))
def test_python_and_the_graph_read_what_was_written(moments):
    texts = [format_date(moment) for moment in moments]
    expected = [oracle(moment) for moment in moments]
    assert [parse_date(text) for text in texts] == pytest.approx(expected, rel=1e-15)
    np.testing.assert_allclose(in_graph(texts), expected, rtol=1e-14, atol=1e-9)


@settings(deadline=None)
@given(st.dates())
def test_every_day_of_the_calendar(day):
    assert format_date(day) == day.isoformat()
    assert parse_date(day.isoformat()) == (day - datetime.date(1970, 1, 1)).days == in_graph([day.isoformat()])[0]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("1970-01-01", 0.0),
        ("2000-02-29", 11016.0),
        ("1970-01-01T12:00", 0.5),
        ("1970-01-02 06:00:00", 1.25),
        ("1970-01-01T00:00:43.2", 0.0005),
        ("1970-01-01T12:00Z", 0.5),
        ("1970-01-01T12:00+12:00", 0.0),
        ("1970-01-01T12:00-1200", 1.0),
    ],
)
def test_forms(text, days):
    assert parse_date(text) == pytest.approx(days, abs=1e-12)
    assert in_graph([text])[0] == pytest.approx(days, abs=1e-12)


NO_DATES = (
    "2023-02-29 1900-02-29 2024-04-31 2024-13-01 2024-00-01 2024-1-1 24-01-01 20240101 2024-01 2024-01-01T25:00 today "
    "2024-01-01T12:60 2024-01-01Z ٢٠٢٤-01-01 2024-01-01x"
).split()


@pytest.mark.parametrize("text", [*NO_DATES, " 2024-01-01", "2024-01-01\n"])
def test_what_is_no_date(text):
    assert parse_date(text) is None
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"joined.* has a value that is no ISO 8601 date"):
        IN_GRAPH(tf.constant(["2024-01-01", text]))


def test_a_missing_date_is_nan():
    np.testing.assert_array_equal(in_graph(["", "1970-01-02"]), [np.nan, 1.0])
    assert parse_date("") is None


def test_dates_of_other_libraries():
    assert format_date(pd.Timestamp("2024-05-01")) == "2024-05-01"
    assert format_date(pd.Timestamp("2024-05-01T12:30:00.123456789", tz="UTC")) == "2024-05-01T12:30:00.123456+00:00"
    assert format_date(datetime.datetime(2024, 5, 1, 0, 0)) == "2024-05-01"


@pytest.mark.parametrize("has_time", [False, True])
def test_what_a_model_gets(has_time):
    days = np.array([0.0, 10.25, np.nan])
    made = features_of(tf.constant(days), mean=np.float32(5.0), deviation=np.float32(2.0), has_time=has_time).numpy()
    assert made.dtype == np.float32
    columns = [(days - 5.0) / 2.0]
    for period in (365.2425, 7.0, *((1.0,) if has_time else ())):
        columns += [np.sin(2 * np.pi * days / period), np.cos(2 * np.pi * days / period)]
    np.testing.assert_allclose(made, np.nan_to_num(np.stack(columns, 1)), atol=1e-6)


def test_the_end_of_a_week_lies_beside_its_beginning():
    week = features_of(tf.range(0.0, 8.0, dtype=tf.float64), mean=0.0, deviation=1.0, has_time=False).numpy()[:, 3:5]
    steps = np.linalg.norm(np.diff(week, axis=0), axis=1)
    np.testing.assert_allclose(steps, steps[0], rtol=1e-5)
    np.testing.assert_allclose(week[7], week[0], atol=1e-6)
