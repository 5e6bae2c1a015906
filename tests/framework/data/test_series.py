import numpy as np
import pandas as pd
import pytest

from framework.data.series import Columns, Series

TABLE = {"a": np.arange(6.0), "b": np.arange(6) * 10, "c": np.array(list("xyxyxx")), "ok": np.arange(6) % 2 == 0}


def saved(tmp_path, kind):
    """The same numbers in each form, and the names that their columns have there."""
    numbers = np.stack([TABLE["a"], TABLE["b"]], axis=1)
    frame = pd.DataFrame({"a": TABLE["a"], "b": TABLE["b"]})
    if kind == "npy":
        np.save(tmp_path / "x.npy", numbers)
        return Series(tmp_path / "x.npy", ["a", "b"])
    if kind == "array":
        return Series(numbers, ["a", "b"])
    if kind in ("csv", "csv.gz"):
        frame.to_csv(tmp_path / f"x.{kind}", index=False)
    if kind == "parquet":
        frame.to_parquet(tmp_path / "x.parquet")
    data = {"frame": frame, "dict": {"a": TABLE["a"], "b": TABLE["b"]}}
    return Series(data[kind] if kind in data else str(tmp_path / f"x.{kind}"))


@pytest.mark.parametrize("kind", ["npy", "array", "csv", "csv.gz", "parquet", "frame", "dict"])
def test_every_form_gives_the_same_numbers(tmp_path, kind):
    series = saved(tmp_path, kind)
    assert (len(series), series.names, series.numeric_names()) == (6, ("a", "b"), ["a", "b"])
    columns = series.numbers(["b", "a"])
    np.testing.assert_array_equal(columns.take(np.array([[0, 1], [4, 5]])), [[[0, 0], [10, 1]], [[40, 4], [50, 5]]])
    np.testing.assert_array_equal(series.column("b"), TABLE["b"])


def test_a_file_is_mapped_and_not_read(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((10, 2), np.float32))
    columns = Series(tmp_path / "x.npy").numbers(["column_1"])
    assert isinstance(columns.values, np.memmap)
    assert columns.chosen == (1,)


def test_an_array_of_one_axis_is_one_column():
    series = Series(np.arange(4))
    assert series.names == ("column_0",)
    np.testing.assert_array_equal(series.numbers(["column_0"]).take(np.array([3])), [[3]])


@pytest.mark.parametrize(
    ("data", "names", "error", "message"),
    [
        ("nowhere.npy", None, FileNotFoundError, "There is no file nowhere.npy"),
        (__file__, None, ValueError, r"test_series.py isn't a file of a known kind: expected .npy, .csv"),
        (np.zeros((2, 2, 2)), None, ValueError, r"numbers \[rows\] or \[rows, columns\], got float64 of shape \(2, 2"),
        (np.array(["x"]), None, ValueError, "got <U1"),
        (np.zeros((2, 2)), ["a"], ValueError, "There are 2 columns and 1 names for them"),
        ({"a": np.zeros(2), "b": np.zeros(3)}, None, ValueError, "of one length"),
        ({}, None, ValueError, "of one length"),
        (np.zeros((0, 2)), None, ValueError, "at least one row"),
        ({"a": np.zeros(0)}, None, ValueError, "at least one row"),
    ],
)
def test_what_is_no_series_is_refused(data, names, error, message):
    with pytest.raises(error, match=message):
        Series(data, names)


def test_columns_that_are_no_numbers_are_named():
    series = Series(TABLE)
    assert series.numeric_names() == ["a", "b", "ok"]
    with pytest.raises(ValueError, match=r"Column 'c' holds <U1 such as .*'x'.*expected numbers"):
        series.numbers(["a", "c"])
    with pytest.raises(ValueError, match=r"columns: there is no column 'aa'\. Did you mean 'a'\?"):
        series.check_names(["aa"], "columns")


def test_rows_with_a_missing_value_are_found():
    values = np.zeros((5, 3))
    values[1, 2], values[3, 0], values[4, 1] = np.nan, np.inf, np.nan
    assert Columns(values, (0, 2)).missing_rows().tolist() == [1, 3]
    assert Columns(values, (1,)).missing_rows().tolist() == [4]
    values[0, 0] = -1e39  # which float32 can't hold
    assert Columns(values, (0,)).missing_rows().tolist() == [0, 3]
    assert Columns(np.zeros((5, 1), int), (0,)).missing_rows().tolist() == []


def test_chunks_are_all_rows_in_order(monkeypatch):
    monkeypatch.setattr("framework.data.series._CHUNK_BYTES", 100)
    columns = Columns(np.arange(60.0).reshape(20, 3), (2, 0))
    parts = list(columns.chunks(3, 18))
    assert len(parts) == 4
    assert [start for start, _ in parts] == [3, 7, 11, 15]
    np.testing.assert_array_equal(np.concatenate([part for _, part in parts]), columns.values[3:18][:, [2, 0]])


@pytest.mark.parametrize(
    ("column", "names", "ids"),
    [
        (np.array(["x", "y", "x"]), ["x", "y"], [0, 1, 0]),
        (np.array(["y", "x", "x"], object), ["x", "y"], [1, 0, 0]),
        (np.array([2, 0, 1]), ["0", "1", "2"], [2, 0, 1]),
        (np.array([True, False, True]), ["False", "True"], [1, 0, 1]),
    ],
)
def test_classes(column, names, ids):
    columns, found = Series({"c": column}).classes("c")
    assert found == names
    assert columns.take(np.arange(3)).ravel().tolist() == ids


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (np.array([0.5, 1.0]), "expected names or ids of classes"),
        (np.array(["x", None], object), "none of them missing"),
        (np.array([1, 2]), r"must be 0 to 1, got \[1, 2\]"),
    ],
)
def test_what_is_no_class_is_refused(column, message):
    with pytest.raises(ValueError, match=message):
        Series({"c": column}).classes("c")


def test_the_order_of_time():
    days = pd.date_range("2020-01-01", periods=4)
    for times in (days, days.astype(str), np.arange(4.0)):
        Series(pd.DataFrame({"t": times})).check_order("t")
    with pytest.raises(ValueError, match=r"row 2 \(2020-01-01.*\) comes after row 1 \(2020-01-03"):
        Series(pd.DataFrame({"t": days[[0, 2, 0]].astype(str)})).check_order("t")
    with pytest.raises(ValueError, match=r"Rows must be in the order of 't': row 1 \(nan\)"):
        Series({"t": np.array([1.0, np.nan])}).check_order("t")
