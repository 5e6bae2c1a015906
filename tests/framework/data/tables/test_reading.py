import csv
import decimal
import gzip
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.tables.blocks import BLOCK
from framework.data.tables.reading import open_parts, open_tables
from framework.data.tables.text_files import CsvTable, Reading

READING = Reading()


def written(path, content):
    path.write_bytes(content) if isinstance(content, bytes) else path.write_text(content, encoding="utf-8")
    return str(path)


def read(tables):
    """{column: values}, the rows' numbers and the faults of tables that are one after the other."""
    columns, rows, faults = {name: [] for table in tables for name in table.names}, [], []
    for table in tables:
        for block in table.blocks():
            for name in columns:
                columns[name] += block.values(name)
            rows += block.rows
            faults += [tuple(fault) for fault in block.faults]
    return columns, rows, faults


def read_csv(tmp_path, content, name="a.csv", **settings):
    return read(open_tables(written(tmp_path / name, content), Reading(**settings)))


def test_lines_are_named_as_an_editor_counts_them(tmp_path):
    content = 'a,b\n1,x\n\n"2\n",y\n3\n4,z,z\n5,\n'
    columns, rows, faults = read_csv(tmp_path, content)
    assert columns == {"a": ["1", "2\n", "5"], "b": ["x", "y", ""]}
    assert rows == [2, 4, 8]
    assert faults == [
        (6, "wrong number of columns", "it has 1, the first line names 2"),
        (7, "wrong number of columns", "it has 3, the first line names 2"),
    ]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_marks(tmp_path, end, mark):
    content = mark + end.join(["ä, b", "1,x", '2, "y, ""z"""', ""]).encode()
    assert read_csv(tmp_path, content)[0] == {"ä": ["1", "2"], "b": ["x", 'y, "z"']}


@pytest.mark.parametrize(
    ("name", "delimiter", "given"),
    [("a.csv", ";", None), ("a.csv", "\t", None), ("a.csv", "|", None), ("a.tsv", "\t", None), ("a.csv", ":", ":")],
)
def test_delimiters(tmp_path, name, delimiter, given):
    content = f'a{delimiter}b{delimiter}c\n1,5{delimiter}"{delimiter}"{delimiter}2\n'
    assert read_csv(tmp_path, content, name, delimiter=given)[0] == {"a": ["1,5"], "b": [delimiter], "c": ["2"]}


def test_other_encodings_and_compression(tmp_path):
    assert read_csv(tmp_path, "a\nä\n".encode("latin-1"), encoding="latin-1")[0] == {"a": ["ä"]}
    with pytest.raises(ValueError, match=r"a\.csv isn't text in utf-8 .*Say encoding='latin-1'"):
        read_csv(tmp_path, "a\nä\n".encode("latin-1"))
    assert read_csv(tmp_path, gzip.compress(b"a,b\n1,2\n"), "a.csv.gz")[0] == {"a": ["1"], "b": ["2"]}
    assert read_csv(tmp_path, gzip.compress(b'{"a": 1}\n'), "a.jsonl.gz")[0] == {"a": [1]}


@pytest.mark.parametrize(("name", "line"), [("a.csv.gz", "x{},{}\n"), ("a.jsonl.gz", '{{"a": {}, "b": {}}}\n')])
def test_damaged_archives_are_named(tmp_path, name, line):
    whole = gzip.compress("".join(line.format(number, number) for number in range(9000)).encode())
    for damaged in (b"no archive", whole[:-2000], whole[:10] + b"\xff" * 500):
        with pytest.raises(ValueError, match=rf"{name} can't be decompressed: "):
            read_csv(tmp_path, damaged, name)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_another_encoding_is_found_on_the_way(tmp_path, name):
    lines = {"a.csv": "a,b\n1,{}\n", "a.jsonl": '{{"a": "{}"}}\n'}[name]
    with pytest.raises(ValueError, match=rf"{name} isn't text in utf-8 .*Say encoding='latin-1'"):
        read_csv(tmp_path, lines.format("x" * 100_000).encode() + lines.format("ä").encode("latin-1"), name)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0\r")), min_size=3, max_size=3)))
def test_whatever_was_written_is_read(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("written") / "a.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([["a", "b", "c"], *rows])
    columns, _, faults = read(open_tables(str(path), READING))
    assert [list(row) for row in zip(*columns.values(), strict=True)] == rows
    assert faults == []


def test_a_long_field_and_many_blocks(tmp_path):
    count = 2 * BLOCK + 3
    long = "x" * 200_000
    columns, rows, _ = read_csv(tmp_path, f"a,b\n{long},0\n" + "".join(f"{n},{n}\n" for n in range(count)))
    assert columns["a"][0] == long
    assert rows == list(range(2, count + 3))
    assert columns["b"][1:] == [str(number) for number in range(count)]


def test_blank_lines_of_a_whole_block_end_nothing(tmp_path):
    columns, rows, faults = read_csv(tmp_path, "a\n1\n" + "\n" * 2 * BLOCK + "2\n")
    assert (columns, rows, faults) == ({"a": ["1", "2"]}, [2, 2 * BLOCK + 3], [])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"a\.csv is empty; expected at least the columns' names"),
        ("\n\n", r"a\.csv is empty"),
        ("a,b,a\n1,2,3\n", r"a\.csv has two columns with the name 'a'\. Rename one of them"),
        ("1,2.5\n3,4\n", r"The first line of .*a\.csv has numbers, \['1', '2\.5'\]; expected are the columns' names"),
        ('a,b\n1,"2\n3,4\n', r"a\.csv, line 2: unexpected end of data\. Is there a quote that isn't closed"),
        ('a,b\n1,2\n"3"4,5\n', r"a\.csv, line 3: ',' expected after '\"'"),
    ],
)
def test_what_is_no_csv(tmp_path, content, message):
    with pytest.raises(ValueError, match=message):
        read_csv(tmp_path, content)


def test_a_column_without_a_name_has_its_number(tmp_path):
    assert read_csv(tmp_path, ",b\n0,x\n")[0] == {"column_1": ["0"], "b": ["x"]}


def test_json_lines(tmp_path):
    content = '{"a": 1, "b": "x"}\n\n{"b": null, "c": true}\nnull\n{"a": \n{"a": 0.5}\n'
    columns, rows, faults = read_csv(tmp_path, content, "a.jsonl")
    assert columns == {"a": [1, None, 0.5], "b": ["x", None, None], "c": [None, True, None]}
    assert rows == [1, 3, 6]
    assert [fault[:2] for fault in faults] == [(4, "no JSON object"), (5, "no JSON object")]
    assert faults[0][2] == "it holds null, expected {...}"


def test_a_json_array_is_refused(tmp_path):
    with pytest.raises(ValueError, match="one JSON array; expected JSON lines"):
        read_csv(tmp_path, '\ufeff [{"a": 1}]', "a.json")


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from("abc"), SCALARS, min_size=1), min_size=1))
def test_whatever_json_was_written_is_read(tmp_path_factory, records):
    path = tmp_path_factory.mktemp("written") / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    columns, rows, _ = read(open_tables(str(path), READING))
    assert columns == {
        name: [record.get(name) for record in records] for name in dict.fromkeys(n for r in records for n in r)
    }
    assert rows == list(range(1, len(records) + 1))


FRAME = pd.DataFrame(
    {
        "float": [0.5, np.nan],
        "int": [1, 2],
        "nullable": pd.array([1, None], dtype="Int64"),
        "text": ["x", None],
        "category": pd.Categorical(["u", None]),
        "flag": [True, False],
        "maybe": [True, None],
        "date": pd.to_datetime(["2024-05-01T12:00", None]),
        "zoned": pd.to_datetime(["2024-05-01T12:00Z", None]),
    }
)


def known(columns):
    """Missing values of all kinds as None."""
    return {name: [None if value != value else value for value in values] for name, values in columns.items()}


def test_a_data_frame_and_its_parquet_file_have_the_same_values(tmp_path):
    FRAME.to_parquet(tmp_path / "a.parquet")
    frame, file = (known(read(open_tables(data, READING))[0]) for data in (FRAME, str(tmp_path / "a.parquet")))
    assert frame["float"] == file["float"] == [0.5, None]
    assert frame["int"] == file["int"] == [1, 2]
    assert frame["nullable"] == file["nullable"] == [1, None]
    assert frame["text"] == file["text"] == ["x", None]
    assert frame["category"] == file["category"] == ["u", None]
    assert frame["flag"] == file["flag"] == [True, False]
    assert frame["maybe"] == file["maybe"] == [True, None]
    for name in ("date", "zoned"):
        assert frame[name][0].isoformat()[:16] == file[name][0].isoformat()[:16] == "2024-05-01T12:00"
        assert frame[name][1] is None
        assert file[name][1] is None


def test_arrays_by_name():
    columns, rows, _ = read(open_tables({"x": np.arange(3, dtype=np.float32), "y": ["a", "b", "c"]}, READING))
    assert columns == {"x": [0.0, 1.0, 2.0], "y": ["a", "b", "c"]}
    assert rows == [0, 1, 2]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "the DataFrame has two columns with the name 'a'"),
        ({"x": np.ones((3, 2))}, r"Column 'x' has shape \(3, 2\), expected one value for each row"),
        ({"x": [1], "y": [1, 2]}, "Columns must have the same number of rows, got {'x': 1, 'y': 2}"),
        ({}, "the dict of arrays is empty"),
    ],
)
def test_frames_are_checked(data, message):
    with pytest.raises(ValueError, match=message):
        open_tables(data, READING)


def test_objects_of_other_libraries():
    values = [np.int64(3), decimal.Decimal("0.5"), np.bool_(True), pd.NA, pd.NaT, np.array([1, 2]), "x"]
    frame = pd.DataFrame({"x": pd.Series(values, dtype=object)})
    assert read(open_tables(frame, READING))[0]["x"] == [3, 0.5, True, None, None, [1, 2], "x"]


def test_text_and_types_are_not_put_together(tmp_path):
    paths = [written(tmp_path / "a.csv", "x\n1\n"), written(tmp_path / "b.jsonl", '{"x": 1}\n')]
    with pytest.raises(ValueError, match="CSV has text alone, the other files have types"):
        open_tables(paths, READING)


def test_the_index_of_a_data_frame_is_a_column_if_it_has_a_name(tmp_path):
    shuffled = FRAME.set_axis(np.square(np.arange(len(FRAME))) + 7)
    for frame, names in ((shuffled, []), (shuffled.rename_axis("number"), ["number"])):
        frame.to_parquet(tmp_path / "a.parquet")
        (table,) = open_tables(str(tmp_path / "a.parquet"), READING)
        assert table.names == [*FRAME.columns, *names]
        assert list(next(table.blocks()).columns) == table.names


def test_a_damaged_parquet_file(tmp_path):
    with pytest.raises(ValueError, match=r"a\.parquet can't be read as Parquet"):
        open_tables(written(tmp_path / "a.parquet", b"PAR1 no more"), READING)


def test_several_files_and_patterns(tmp_path, monkeypatch):
    for name in ("b", "a"):
        written(tmp_path / f"{name}.csv", f"x\n{name}\n")
    pattern = str(tmp_path / "*.csv")
    assert [table.place for table in open_tables(pattern, READING)] == [str(tmp_path / f"{n}.csv") for n in "ab"]
    assert read(open_tables(pattern, READING))[0] == {"x": ["a", "b"]}
    assert read(open_tables([tmp_path / "b.csv", tmp_path / "a.csv"], READING))[0] == {"x": ["b", "a"]}
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read(open_tables("~/a.csv", READING))[0] == {"x": ["a"]}


def test_a_path_with_the_signs_of_a_pattern(tmp_path):
    (tmp_path / "[a]").mkdir()
    assert read(open_tables(written(tmp_path / "[a]" / "x.csv", "x\n1\n"), READING))[0] == {"x": ["1"]}


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        ("nowhere/a.csv", FileNotFoundError, "There is no file nowhere/a.csv; there is no folder nowhere either"),
        ("a.csv", FileNotFoundError, r"There is no file a\.csv; its folder has: a\.txt"),
        ("a.txt", ValueError, r"The form of a\.txt isn't known from its name\. Known: CSV: \.csv"),
        (".", ValueError, r"\. is a folder\. Name its files by a pattern"),
        (5, TypeError, "Expected a file, several, a pattern such as .*, got 5"),
        ([], TypeError, r"Expected a file, .*got \[\]"),
    ],
)
def test_what_is_no_table(tmp_path, monkeypatch, data, error, message):
    written(tmp_path / "a.txt", "")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        open_tables(data, READING)


def test_parts_are_tables_or_shares(tmp_path):
    path = written(tmp_path / "a.csv", "x\n1\n")
    tables, shares = open_parts(path, 0.25, FRAME, lambda data: open_tables(data, READING))
    assert sorted(tables) == ["test", "train"]
    assert shares == {"validation": 0.25, "test": 0.0}
    assert open_parts(path, None, 0, lambda data: open_tables(data, READING))[1] == {"validation": 0.0, "test": 0.0}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"delimiter": "--"}, "delimiter must be one character"),
        ({"encoding": "utf-7x"}, "There is no encoding"),
    ],
)
def test_reading_is_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        Reading(**settings)


def test_the_file_is_read_as_often_as_needed(tmp_path):
    table = CsvTable(written(tmp_path / "a.csv", "x\n1\n"), READING)
    assert read([table]) == read([table])
