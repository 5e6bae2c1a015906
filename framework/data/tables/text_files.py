"""CSV and JSON lines, read with the standard library.

pandas' reader would pad a row that is too short without a word, rename one of two columns with the same name, take "NA"
for missing wherever it stands, and hold the whole file's text in memory.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import gzip
import itertools
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from framework.data.tables.blocks import BLOCK, Block, Fault, Table, check_names, in_blocks

_DELIMITERS = ",;\t|"
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
# The csv module's own limit of 128 KiB is less than a long text has.
_LONGEST_FIELD = 2**30


@dataclasses.dataclass(frozen=True)
class Reading:
    """How text files are to be read.

    Attributes:
        delimiter: Between a CSV file's columns; by default a tab in `.tsv`, elsewhere what the first line speaks for.
        encoding: A Python codec's name.
    """

    delimiter: str | None = None
    encoding: str = "utf-8"

    def __post_init__(self):
        if self.delimiter is not None and len(self.delimiter) != 1:
            raise ValueError(f"delimiter must be one character, got {self.delimiter!r}.")
        try:
            "".encode(self.encoding)
        except LookupError as error:
            raise ValueError(f"There is no encoding {self.encoding!r}; 'utf-8' and 'latin-1' are usual.") from error

    @contextlib.contextmanager
    def lines(self, path: str) -> Iterator[IO[str]]:
        """A file of text, compressed or not, open as long as the block takes.

        Raises:
            ValueError: It turns out to be in another encoding, or damaged.
        """
        encoding = "utf-8-sig" if self.encoding.lower().replace("_", "-") in ("utf-8", "utf8") else self.encoding
        open_file: Any = gzip.open if path.lower().endswith(".gz") else open
        with open_file(path, "rt", encoding=encoding, newline="") as file:
            try:
                yield file
            except UnicodeError as error:
                raise ValueError(
                    f"{path} isn't text in {self.encoding} ({error}). Say encoding='latin-1', or which it is."
                ) from error
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                raise ValueError(f"{path} can't be decompressed: {error}") from error


class CsvTable(Table):
    """Delimited columns whose names are in the first line (RFC 4180; values with a `"` around them may span lines).

    Args:
        path: The file; gzipped where it ends in `.gz`.
        reading: How to read it.

    Raises:
        ValueError: The first line isn't a header: it is missing, or has only numbers, or a name twice.
    """

    unit = "line"
    typed = False

    def __init__(self, path: str, reading: Reading):
        self.place = path
        self.folder = os.path.dirname(path) or "."
        self._reading = reading
        with reading.lines(path) as file:
            self._delimiter = reading.delimiter or guess_delimiter(path, next(file, ""))
        _, header = next(self._records(), (1, []))
        self.names = check_names([name.strip() for name in header], path)
        if all(_NUMBER.fullmatch(name) for name in self.names):
            raise ValueError(
                f"The first line of {path} has numbers, {self.names[:5]}; expected are the columns' names. Add a line "
                "with these at the top."
            )

    def blocks(self) -> Iterator[Block]:
        records = self._records()
        next(records)
        for first in records:
            yield self._block(itertools.chain([first], itertools.islice(records, BLOCK - 1)))

    def _block(self, records: Iterable[tuple[int, list[str]]]) -> Block:
        width = len(self.names)
        # End to end: thousands of rows, held as lists, would set Python's garbage collector going through all that
        # TensorFlow has (measured: four times as slow).
        values: list[str] = []
        rows, faults = [], []
        for line, fields in records:
            if len(fields) == width:
                rows.append(line)
                values += fields
            elif fields:  # a blank line is no row
                faults.append(
                    Fault(line, "wrong number of columns", f"it has {len(fields)}, the first line names {width}")
                )
        return Block({name: values[place::width] for place, name in enumerate(self.names)}, rows, faults)

    def _records(self) -> Iterator[tuple[int, list[str]]]:
        """(line on which it begins, fields) of every record, the header included."""
        csv.field_size_limit(max(csv.field_size_limit(), _LONGEST_FIELD))
        line = 1
        with self._reading.lines(self.place) as file:
            reader = csv.reader(file, delimiter=self._delimiter, skipinitialspace=True, strict=True)
            try:
                for fields in reader:
                    yield line, fields
                    line = reader.line_num + 1
            except csv.Error as error:
                raise ValueError(
                    f"{self.where(line)}: {error}. Is there a quote that isn't closed, or one inside of quotes that "
                    "isn't doubled?"
                ) from error


def guess_delimiter(path: str, line: str) -> str:
    """A tab where the file's name says so, otherwise what divides the first line into most columns."""
    if path.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        return "\t"
    return max(_DELIMITERS, key=lambda delimiter: len(next(csv.reader([line], delimiter=delimiter), [])))


class JsonTable(Table):
    """JSON lines: an object on every line, whose keys are the columns. A key that isn't there is a missing value.

    Args:
        path: The file; gzipped where it ends in `.gz`.
        reading: How to read it.

    Raises:
        ValueError: It holds one JSON array instead of lines.
    """

    unit = "line"
    is_sparse = True

    def __init__(self, path: str, reading: Reading):
        self.place = path
        self.folder = os.path.dirname(path) or "."
        self._reading = reading
        with reading.lines(path) as file:
            begins = file.read(1024).lstrip()
        if begins.startswith("["):
            raise ValueError(
                f"{path} is one JSON array; expected JSON lines, an object on every line. Convert it with jq -c '.[]'."
            )
        names: dict[str, None] = {}
        for block in in_blocks(self._records()):
            for _, record in block:
                if isinstance(record, dict):
                    names.update(dict.fromkeys(record))
        self.names = check_names(list(names), path)

    def blocks(self) -> Iterator[Block]:
        for block in in_blocks(self._records()):
            good = [(line, record) for line, record in block if isinstance(record, dict)]
            faults = [Fault(line, "no JSON object", record) for line, record in block if isinstance(record, str)]
            columns = {name: [record.get(name) for _, record in good] for name in self.names}
            yield Block(columns, [line for line, _ in good], faults)

    def _records(self) -> Iterator[tuple[int, dict[str, Any] | str]]:
        """(line, object, or why there is none) of every line that isn't blank."""
        with self._reading.lines(self.place) as file:
            for line, text in enumerate(file, 1):
                if text.strip():
                    yield line, _parse_json(text)


def _parse_json(text: str) -> dict[str, Any] | str:
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError) as error:
        return str(error)
    return parsed if isinstance(parsed, dict) else f"it holds {text.strip():.40}, expected {{...}}"
