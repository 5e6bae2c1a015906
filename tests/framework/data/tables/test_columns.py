import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from framework.data.tables.columns import Choice, Roles, choose_columns, feature_names
from framework.data.tables.memory import check_memory
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, DATE, KINDS, NUMERIC, TEXT, ColumnScan
from framework.data.tables.values import MISSING
from framework.features import Feature, check_names
from framework.media import Image

TABULAR = (NUMERIC, CATEGORICAL, BOOLEAN, DATE)
COUNT = 30
COLUMNS = {
    "age": [str(20 + number % 7) for number in range(COUNT)],
    "city": ["Rome", "Oslo", ""] * 10,
    "member": ["true", "false"] * 15,
    "zip": ["501", "101", "502"] * 10,
    "y": ["a", "b"] * 15,
}


def scans(columns, *, typed=False):
    made = {}
    for name, values in columns.items():
        made[name] = ColumnScan(typed=typed, missing=MISSING)
        made[name].update(values)
    return made


def choose(given, others=None, *, kinds=TABULAR, typed=False, group=None, **settings):
    by_phase = {"train": scans(given, typed=typed)} | ({"test": scans(others, typed=typed)} if others else {})
    return choose_columns(by_phase, Choice(kinds, **settings), Roles("y", group=group), "a.csv")


def forms(columns):
    return {column.name: (column.kind, column.feature.dtype) for column in columns}


def test_all_but_the_label():
    assert forms(choose(COLUMNS)) == {
        "age": (NUMERIC, "float32"),
        "city": (CATEGORICAL, "string"),
        "member": (BOOLEAN, "bool"),
        "zip": (NUMERIC, "float32"),
    }
    missing = {column.name: column.missing for column in choose(COLUMNS)}
    assert missing == {"age": 0, "city": 10, "member": 0, "zip": 0}


def test_what_a_person_says():
    chosen = choose(COLUMNS, types={"zip": CATEGORICAL, "age": CATEGORICAL}, drop=["member"])
    assert forms(chosen) == {
        "age": (CATEGORICAL, "int64"),
        "city": (CATEGORICAL, "string"),
        "zip": (CATEGORICAL, "int64"),
    }
    assert {column.name for column in chosen if column.is_given} == {"age", "zip"}
    assert list(forms(choose(COLUMNS, columns=["zip", "age"]))) == ["zip", "age"]
    assert "city" not in forms(choose(COLUMNS, group="city"))
    assert list(forms(choose(COLUMNS, group="city", columns=["city"]))) == ["city"]


def test_what_is_missing_in_any_table_is_known():
    gone = {name: ["", *values[1:]] for name, values in COLUMNS.items()}
    chosen = choose(COLUMNS, gone, types={"zip": CATEGORICAL})
    assert forms(chosen)["member"] == (BOOLEAN, "float32")
    assert forms(chosen)["zip"] == (CATEGORICAL, "string")
    assert {column.name: column.missing for column in chosen} == {"age": 1, "city": 21, "member": 1, "zip": 1}


def test_images_and_texts():
    columns = COLUMNS | {"photo": [f"{n % 9}.jpg" for n in range(COUNT)], "note": [f"note {n}" for n in range(COUNT)]}
    chosen = {column.name: column for column in choose(columns, kinds=KINDS, image=Image((8, 8, 3)))}
    assert chosen["photo"].feature == Image((8, 8, 3))
    assert (chosen["note"].kind, chosen["note"].feature) == (TEXT, Feature((), "string"))
    with pytest.raises(ValueError, match=r"'photo' has names of image files such as '0\.jpg'; the pipeline"):
        choose(columns)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([""] * COUNT, "'x' has no value in any row"),
        (["NA"] * COUNT, "'x' has no value in any row"),
        (["7"] * COUNT, "'x' is '7' in every row"),
        ([str(number) for number in range(COUNT)], "'x' numbers the rows"),
        ([f"name {number}" for number in range(COUNT)], "'x' has another text in nearly every row"),
        ([str(1_700_000_000 + 3 * number) for number in range(COUNT)], "'x' has numbers up to 1700000087 that float32"),
        ([str(2**60 + 3 * number) for number in range(COUNT)], "'x' has numbers up to 1.1529.*e.18 that float32"),
    ],
)
def test_columns_that_can_t_be_used(values, message):
    with pytest.raises(ValueError, match=message) as error:
        choose(COLUMNS | {"x": values}, drop=["age"])
    assert "drop=['age', 'x']" in str(error.value)
    assert "x" not in forms(choose(COLUMNS | {"x": values}, drop=["age", "x"]))
    told = "types={'x': 'categorical'}" in str(error.value)
    assert told == ("no value" not in str(error.value))
    if told:
        assert forms(choose(COLUMNS | {"x": values}, types={"x": CATEGORICAL}))["x"][0] == CATEGORICAL


def test_large_numbers_that_differ_enough():
    texts = [f"{number}00000000.{'0' * (number % 3)}" for number in range(1, COUNT + 1)]
    assert forms(choose(COLUMNS | {"x": texts}))["x"] == (NUMERIC, "float32")


def test_all_problems_at_once():
    with pytest.raises(ValueError, match=r"(?s)can't be used.*'x' is '7'.*'z' numbers the rows.*drop=\['x', 'z'\]"):
        choose(COLUMNS | {"x": ["7"] * COUNT, "z": [str(n) for n in range(COUNT)]})


def test_structures_are_named():
    with pytest.raises(ValueError, match="'x' has lists, bytes or objects"):
        choose({"x": [[1], [2]], "y": ["a", "b"]}, typed=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"columns": ["agee"]}, r"columns= names the column 'agee', which a\.csv doesn't have\. Did you mean 'age'"),
        ({"drop": ["agee"]}, "drop= names the column 'agee'"),
        ({"types": {"agee": NUMERIC}}, "types= names the column 'agee'"),
        ({"types": {"age": "number"}}, r"types= has {'age': 'number'}; this pipeline's kinds are numeric, categorical"),
        ({"types": {"age": TEXT}}, "types= has {'age': 'text'}; this pipeline's kinds"),
        ({"columns": ["age"], "drop": ["age"]}, r"\['age'\] can't be features .* and be in drop="),
        ({"columns": ["age", "y"]}, r"\['y'\] can't be features .* and be in drop= or label="),
        ({"types": {"y": NUMERIC}}, r"\['y'\] can't be features"),
        ({"drop": ["age", "city", "member", "zip"]}, r"No column of a\.csv is left as a feature"),
        ({"columns": "age"}, "columns must be a list, got the text 'age'"),
        ({"columns": ["age", "zip", "age"]}, r"columns= names a column twice, got \['age', 'zip', 'age'\]"),
    ],
)
def test_choices_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        choose(COLUMNS, **settings)


def test_names():
    titles = ["Age (years)", "age years", "Age", "AGE", "class", "2nd", "ä", "ok"]
    assert list(feature_names(titles).values()) == [
        "Age_years",
        "age_years_2",
        "Age",
        "AGE_2",
        "class_",
        "x_2nd",
        "x_",
        "ok",
    ]


@given(st.lists(st.text(max_size=6), unique=True))
def test_every_name_is_one_that_a_signature_can_have(titles):
    names = feature_names(titles)
    assert list(names) == titles
    check_names(names.values(), "a table")


def test_a_table_that_doesn_t_fit_is_refused(monkeypatch):
    chosen = choose(COLUMNS)
    parts = [scans(COLUMNS)]
    check_memory(chosen, parts, "a.csv")
    # 30 rows of two floats, a text and a boolean, each of them twice.
    needed = COUNT * (2 * 8 + 32 + 2)
    for free, fits in ((needed / 0.8 + 1, True), (needed / 0.8 - 1, False)):
        monkeypatch.setattr(psutil, "virtual_memory", lambda free=free: type("memory", (), {"available": free}))
        if fits:
            check_memory(chosen, parts, "a.csv")
        else:
            with pytest.raises(ValueError, match=r"The 30 rows of a\.csv need about 0\.0 GiB.*make_records\.py"):
                check_memory(chosen, parts, "a.csv")


def test_texts_of_their_own_take_more_than_categories(monkeypatch):
    texts = {"x": ["w" * 100 + str(number) for number in range(COUNT)], "y": ["a", "b"] * 15}
    chosen = choose(texts, kinds=KINDS)
    needed = COUNT * (32 + 57) + 2 * sum(map(len, texts["x"]))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: type("memory", (), {"available": needed / 0.8 - 1}))
    with pytest.raises(ValueError, match="need about"):
        check_memory(chosen, [scans(texts)], "a.csv")
