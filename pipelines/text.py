"""Texts and their labels, from CSV, JSON lines, Parquet, a DataFrame or a folder."""

from typing import Any, Literal

import framework
from framework.data.tables import folders
from framework.data.tables.columns import Choice, Roles
from framework.data.tables.division import Division
from framework.data.tables.encoding import Encoding
from framework.data.tables.pipeline import TablePipeline
from framework.data.tables.reading import open_parts
from framework.data.tables.scanning import TEXT
from framework.data.tables.text_files import Reading
from framework.data.tables.texts import Tokens


@framework.register_pipeline(name="text")
class Text(TablePipeline):
    """Clients send a string; the model gets int64 token ids `[batch, max_tokens]`, 0 after a text's end.

    The vocabulary is that of the training split and part of the export: id 1 is an unknown token, 2 the most frequent
    one, and so on.

    Args:
        path: A file, several, a pattern such as `"data/*.jsonl"`, a DataFrame, `{name: array [rows]}`; or a folder
            with `<class>/*.txt`, or `train/<class>/*.txt` and so on.
        text: The column of texts, or columns, each of which is a feature with its own vocabulary.
        label: The label's column; several for a multi-label classification.
        validation: A share of the texts to split off at random, every class by it; another table or folder; 0 for none.
            A folder with splits has its own.
        test: The same.
        task: See the pipeline `table`.
        vocabulary_size: Ids altogether.
        max_tokens: Of a text; what is longer is cut off. By default as many as 95% of the training texts have at most,
            but no more than 512.
        standardize: `"lower_and_strip_punctuation"`, `"lower"`, `"strip_punctuation"` or `None`.
        split: At `"whitespace"`, or into each `"character"`.
        ngrams: With 2 or more also pairs of neighbouring tokens, triples and so on are tokens.
        weight: A column with the weight of each example.
        group: A column, such as the author: no group is in two splits.
        time: A column of numbers or dates: the oldest texts are trained on, the newest tested.
        folds: For a cross-validation: into how many parts to divide what isn't for the test.
        fold: Which of them is for validation, counted from 0.
        sample: A part of a split, such as `"train[:10%]"`.
        balance: Whether every class comes equally often in training.
        on_error: What becomes of rows that can't be used: `"raise"`, or `"skip"` leaves them out.
        max_bad_share: The share of rows that may be skipped.
        delimiter: Of CSV; by default a tab in `.tsv`, elsewhere what the first line speaks for.
        encoding: Of the files.
        seed: Of splits.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A column isn't there, a folder has no classes, rows can't be used, or the texts don't fit into
            memory.
    """

    def __init__(
        self,
        path: Any,
        text: str | list[str] = folders.TEXT,
        label: str | list[str] = folders.LABEL,
        *,
        validation: Any = 0.15,
        test: Any = 0.15,
        task: Any = None,
        vocabulary_size: int = 20_000,
        max_tokens: int | None = None,
        standardize: Literal["lower_and_strip_punctuation", "lower", "strip_punctuation"] | None = (
            "lower_and_strip_punctuation"
        ),
        split: Literal["whitespace", "character"] = "whitespace",
        ngrams: int = 1,
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
        path, validation, test = folders.own_splits(path, validation, test)
        tables, shares = open_parts(path, validation, test, lambda data: folders.open_texts(data, reading))
        columns = [text] if isinstance(text, str) else list(text)
        super().__init__(
            tables,
            Roles(label, weight, group, time),
            Choice((TEXT,), columns, types=dict.fromkeys(columns, TEXT)),
            Division(**shares, folds=folds, fold=fold, sample=sample, seed=seed),
            Encoding(tokens=Tokens(vocabulary_size, max_tokens, standardize, split, ngrams)),
            task=task,
            balance=balance,
            policy=framework.BadExamples(on_error, max_bad_share),
        )
