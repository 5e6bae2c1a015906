"""Tables: CSV, JSON lines or Parquet files, a DataFrame, or arrays by name. A column is the label, others features."""

from typing import Any, Literal

import framework
from framework.data.tables.columns import Choice, Roles
from framework.data.tables.division import Division
from framework.data.tables.encoding import Encoding
from framework.data.tables.pipeline import TablePipeline
from framework.data.tables.reading import open_parts, open_tables
from framework.data.tables.scanning import BOOLEAN, CATEGORICAL, DATE, NUMERIC
from framework.data.tables.text_files import Reading
from framework.data.tables.values import MISSING


@framework.register_pipeline(name="table")
class Table(TablePipeline):
    """Numbers, categories, booleans and dates.

    A column's kind is told from its values, which `describe()` shows, `fit` logs and `types` overrides. What clients
    send is one raw feature for each column, under its name, or a like one that is an identifier:

    | kind | a client sends | a missing value is | the model gets |
    | --- | --- | --- | --- |
    | `numeric` | float32 | NaN | float32 `[batch]`, standardized; missing is 0 |
    | `boolean` | bool; where some are missing float32 0 or 1 | NaN | float32 `[batch]` |
    | `categorical` | text; int64 where `types` says so of integers | `""`, a category like others | one-hot float32 |
    | `date` | ISO 8601 text | `""` | float32 `[batch, 5]`, with a time of the day `[batch, 7]`; missing is 0 |

    Where values are missing in the training split, `[batch, 2]` (of dates one more) says that one is. Mean, deviation
    and categories are those of the training split and are part of the export.

    Args:
        path: A file, several, a pattern such as `"data/*.csv"`, a DataFrame, or `{name: array [rows]}`.
        label: The label's column; several for a multi-label classification or a regression of several values.
        validation: A share of the rows to split off at random, every class by it; another table; 0 for none.
        test: The same.
        task: `"classification"`, `"binary"`, `"multi_label"`, `"regression"`, or a task. By default it is told from the
            label: text and up to 50 different integers are classes, numbers with a point amounts, true and false
            binary; of more integers somebody has to say it.
        columns: The features; by default all other columns.
        drop: Columns to leave out.
        types: `{column: kind}` where its values look like another one, such as `{"zip": "categorical"}`.
        missing: What stands for a missing number, boolean or date in files of text.
        categories: `"one_hot"`, or `"ids"` int64 `[batch]` for models with embeddings.
        max_categories: The most frequent of a column that are told apart.
        weight: A column with the weight of each example.
        group: A column, such as the patient: no group is in two splits.
        time: A column of numbers or dates: the oldest rows are trained on, the newest tested.
        folds: For a cross-validation: into how many parts to divide what isn't for the test.
        fold: Which of them is for validation, counted from 0.
        sample: A part of a split, such as `"train[:10%]"`.
        balance: Whether every class comes equally often in training.
        on_error: What becomes of rows that can't be used: `"raise"`, or `"skip"` leaves them out.
        max_bad_share: The share of rows that may be skipped.
        delimiter: Of CSV; by default a tab in `.tsv`, elsewhere what the first line speaks for.
        encoding: Of CSV and JSON.
        seed: Of splits.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column isn't there or can't be used as it is, rows can't be used, or the table doesn't fit into
            memory.
    """

    def __init__(
        self,
        path: Any,
        label: str | list[str],
        *,
        validation: Any = 0.15,
        test: Any = 0.15,
        task: Any = None,
        columns: list[str] | None = None,
        drop: list[str] | None = None,
        types: dict[str, str] | None = None,
        missing: list[str] | tuple[str, ...] = MISSING,
        categories: Literal["one_hot", "ids"] = "one_hot",
        max_categories: int = 1000,
        weight: str | None = None,
        group: str | None = None,
        time: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        sample: str | None = None,
        balance: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_share: float = 0.01,
        delimiter: str | None = None,
        encoding: str = "utf-8",
        seed: int = 0,
    ):
        reading = Reading(delimiter, encoding)
        tables, shares = open_parts(path, validation, test, lambda data: open_tables(data, reading))
        super().__init__(
            tables,
            Roles(label, weight, group, time),
            Choice((NUMERIC, CATEGORICAL, BOOLEAN, DATE), columns, drop or (), types, missing),
            Division(**shares, folds=folds, fold=fold, sample=sample, seed=seed),
            Encoding(categories, max_categories),
            task=task,
            balance=balance,
            policy=framework.BadExamples(on_error, max_bad_share),
        )
