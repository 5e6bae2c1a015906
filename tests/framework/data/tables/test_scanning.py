import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.tables.columns import Column
from framework.data.tables.parsing import parse_column
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, DATE, IMAGE, NUMERIC, TEXT, ColumnScan
from framework.data.tables.values import MISSING
from framework.features import Feature

MANY = 60
NAMES = [f"person {number}" for number in range(MANY)]


def scanned(values, *, typed=False, block=None):
    scan = ColumnScan(typed=typed, missing=MISSING)
    block = block or len(values)
    for first in range(0, len(values), block):
        scan.update(values[first : first + block])
    return scan


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (["1", "2", "30"], NUMERIC),
        (["1.5", "-2e3", " 3 "], NUMERIC),
        (["1", "", "NA", "?"], NUMERIC),
        ([*map(str, range(1, 20)), "about 20"], NUMERIC),  # a slip, which is reported as such
        (["1", "2", "three", "four"], CATEGORICAL),
        (["00501", "10115"], CATEGORICAL),
        (["1_1", "11", "1_2"], CATEGORICAL),
        (["true", "False", "TRUE"], BOOLEAN),
        (["yes", "no", "yes"], CATEGORICAL),
        (["0", "1", "1"], NUMERIC),
        (["2024-05-01", "2024-05-02", ""], DATE),
        (["2024-05-01T10:00Z", "2024-05-02 10:00"], DATE),
        (["01/05/2024", "02/05/2024"], CATEGORICAL),
        (["a.jpg", "b/c.PNG"], IMAGE),
        (["red", "blue", "red"], CATEGORICAL),
        (NAMES, TEXT),
        (NAMES[:15], CATEGORICAL),  # too few to tell
        (NAMES * 2, CATEGORICAL),
        (["NA", "DE", "NA"], CATEGORICAL),
    ],
)
@pytest.mark.parametrize("block", [None, 1])
def test_kinds_of_text(values, kind, block):
    assert scanned(values, block=block).kind() == kind


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2, None], NUMERIC),
        ([1.5, float("nan")], NUMERIC),
        (["1", "2"], CATEGORICAL),  # whoever wrote text meant text
        ([True, None], BOOLEAN),
        (["true", "false"], CATEGORICAL),
        ([datetime.date(2024, 5, 1), None], DATE),
        ([datetime.datetime(2024, 5, 1, 12)], DATE),
        (["2024-05-01"], DATE),
        (["a.jpg"], IMAGE),
        (NAMES, TEXT),
        ([*map(float, range(1, 20)), float("inf")], NUMERIC),
    ],
)
def test_kinds_of_values_that_have_types(values, kind):
    assert scanned(values, typed=True).kind() == kind


def test_more_texts_than_are_remembered_are_texts(monkeypatch):
    monkeypatch.setattr("framework.data.tables.scanning.DISTINCT", 100)
    texts = [f"person {number}" for number in range(1000)]
    assert scanned(texts, block=30).kind() == TEXT
    assert scanned([text for text in texts for _ in range(3)], block=30).kind() == CATEGORICAL


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, b"bytes"])
def test_structures_are_no_kind(value):
    with pytest.raises(ValueError, match="has lists, bytes or objects"):
        scanned([value, 1], typed=True).kind()


@pytest.mark.parametrize("missing", [("-999",), ("-999", "NA")])
def test_a_number_may_stand_for_a_missing_one(missing):
    values = ["1", "-999", "2.5"]
    scan = ColumnScan(typed=False, missing=missing)
    scan.update(values)
    assert (scan.marked, scan.distinct, scan.largest) == (1, {"1", "2.5"}, 2.5)
    array, faults = parse_column(values, column(NUMERIC, Feature((), "float32")), missing)
    np.testing.assert_array_equal(array, [1.0, np.nan, 2.5])
    assert faults == {}


def test_what_is_counted():
    scan = scanned(["1", "", "NA", "2", "2", "x"])
    assert (scan.num_rows, scan.blank, scan.marked, scan.known) == (6, 1, 1, 4)
    assert scan.words == {"NA"}
    assert scan.distinct == {"1", "2", "x"}
    assert scan.largest == 2.0
    assert scan.text_length == 1


@pytest.mark.parametrize(
    ("values", "is_constant"), [(["a", "a"], True), (["a", ""], False), (["a", "NA"], False), (["a", "b"], False)]
)
def test_constants(values, is_constant):
    assert scanned(values).is_constant == is_constant


@pytest.mark.parametrize("first", [0, 1])
def test_numbers_of_rows(first):
    numbers = [str(number) for number in range(first, first + 20)]
    for block in (None, 3):
        assert scanned(numbers, block=block).numbers_rows
        assert not scanned(numbers[::-1], block=block).numbers_rows
        assert not scanned([*numbers[:-1], "7"], block=block).numbers_rows
        assert not scanned([*numbers[:-1], ""], block=block).numbers_rows
    assert not scanned([str(number) for number in range(2, 22)]).numbers_rows
    assert scanned(list(range(first, first + 20)), typed=True).numbers_rows
    assert not scanned([f"{number}.5" for number in range(20)]).numbers_rows


@pytest.mark.parametrize(
    ("values", "typed", "whole"),
    [
        (["1", "-2"], False, True),
        (["1.0", "2"], False, False),
        (["1e3"], False, False),
        ([1, 2], True, True),
        ([1, 2.0], True, False),
        (["01", "2"], False, False),
        (["1", ""], False, False),
    ],
)
def test_integers(values, typed, whole):
    assert scanned(values, typed=typed).has_only_integers == whole


def column(kind, feature):
    return Column("x", "x", kind, feature, 0, False)


FORMS = {
    NUMERIC: (Feature((), "float32"), st.floats(width=32, allow_nan=False, allow_infinity=False).map(repr)),
    BOOLEAN: (Feature((), "bool"), st.sampled_from(["true", "false", "True", "FALSE"])),
    DATE: (Feature((), "string"), st.dates().map(str)),
    CATEGORICAL: (Feature((), "string"), st.sampled_from(["red", "green", "blue", "007", "no"])),
}


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from(sorted(FORMS)), st.booleans())
def test_what_is_inferred_parses_without_a_fault(data, kind, with_missing):
    feature, values = FORMS[kind]
    texts = data.draw(st.lists(values, min_size=1, max_size=40))
    if with_missing and kind != BOOLEAN:
        texts += data.draw(st.lists(st.just("") if kind == CATEGORICAL else st.sampled_from(MISSING), max_size=20))
    scan = scanned(texts, block=7)
    assert scan.kind() == kind
    array, faults = parse_column(texts, column(kind, feature), MISSING)
    assert faults == {}
    assert array.dtype == (object if feature.dtype == "string" else feature.dtype)
    gone = [text in MISSING and (kind != CATEGORICAL or text == "") for text in texts]
    if kind == NUMERIC:
        expected = [np.nan if is_gone else float(text) for text, is_gone in zip(texts, gone, strict=True)]
        np.testing.assert_array_equal(array, np.asarray(expected, np.float32))
    elif kind == BOOLEAN:
        assert array.tolist() == [text.lower() == "true" for text in texts]
    else:
        assert array.tolist() == ["" if is_gone else text for text, is_gone in zip(texts, gone, strict=True)]
    assert scan.blank + scan.marked >= sum(gone)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["1", "-2.5", "007", "true", "2024-05-01", "x", "", "NA", "9" * 50]), min_size=1))
def test_blocks_make_no_difference(texts):
    one, other = scanned(texts), scanned(texts, block=2)
    assert one.kind() == other.kind()
    assert one.distinct == other.distinct
    for name in ("num_rows", "blank", "marked", "words", "largest", "text_length", "is_whole", "is_constant"):
        assert getattr(one, name) == getattr(other, name), name


@pytest.mark.parametrize(
    ("kind", "dtype", "values", "expected", "faults"),
    [
        (NUMERIC, "float32", ["1", "x", "inf", "1e300", True], [1.0, np.nan, np.nan, np.nan, np.nan], [1, 2, 3, 4]),
        (NUMERIC, "float32", [1, None, 2.5, "3"], [1.0, np.nan, 2.5, 3.0], []),
        (NUMERIC, "float32", ["1", "1_000", "nan"], [1.0, np.nan, np.nan], [1]),
        (NUMERIC, "float32", ["1", "NAN"], [1.0, np.nan], [1]),  # of the words for a missing value it is none
        (BOOLEAN, "bool", ["yes", "N", "1", 0.0, True], [True, False, True, False, True], []),
        (BOOLEAN, "float32", ["t", "", "NA", "2"], [1.0, np.nan, np.nan, np.nan], [3]),
        (
            DATE,
            "string",
            ["2024-05-01", "NA", "soon", datetime.date(2024, 5, 1)],
            ["2024-05-01", "", "", "2024-05-01"],
            [2],
        ),
        (CATEGORICAL, "string", ["NA", "", 3, 3.0, 2.5, True, [1]], ["NA", "", "3", "3", "2.5", "True", ""], [6]),
        (CATEGORICAL, "int64", ["3", -4], [3, -4], []),
        (TEXT, "string", ["a b", None], ["a b", ""], []),
        (TEXT, "string", ["\U0001f600", "\ud83d"], ["\U0001f600", ""], [1]),
        (IMAGE, "string", ["a.jpg", ""], ["a.jpg", 0], [1]),
    ],
)
def test_parsing(kind, dtype, values, expected, faults):
    array, found = parse_column(values, column(kind, Feature((), dtype)), MISSING)
    assert sorted(found) == faults
    if array.dtype == object:
        assert array.tolist() == expected
    else:
        np.testing.assert_array_equal(array, np.asarray(expected, array.dtype))


def test_a_fault_says_what_was_expected():
    _, faults = parse_column(["1", "x"], column(NUMERIC, Feature((), "float32")), MISSING)
    assert faults == {1: "'x' isn't a number"}
