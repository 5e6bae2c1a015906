"""Examples from CSV, JSON lines, records, `.npz` and image files, as the arrays that a signature takes.

Each reader yields `(place, {name: array})`, one example at a time: `place` says where it came from, for messages. What
doesn't fit the signature is an error that names the place, the feature, what was got and what was expected. Tables may
have the form of those that the model was trained on.
"""

import base64
import binascii
import csv
import gzip
import io
import itertools
import json
import os
import pathlib
import re
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
import tensorflow as tf
from command_line import UsageError, did_you_mean
from trained_tables import TrainedTables

from framework.data.tables.values import boolean_of, text_of
from framework.serving.images import image_input, read_image
from framework.serving.signatures import reason

Specs = Mapping[str, tf.TensorSpec]
Example = tuple[str, dict[str, np.ndarray]]

FORMATS = {
    "csv": (".csv", ".tsv", ".tab"),
    "jsonl": (".jsonl", ".ndjson", ".json"),
    "npz": (".npz",),
    "records": (".tfrecord", ".tfrecords", ".record", ".records"),
}
# Of NumPy arrays that make a dtype; numbers make the other dtypes.
_KINDS = {tf.string: "O", tf.bool: "b"}
_UNKNOWN = TrainedTables()


def format_of(path: str) -> str | None:
    """The format that a file's name tells."""
    # Records come in shards, train.tfrecord-00001-of-00004, and compressed, train.tfrecord.gz.
    suffix = pathlib.Path(re.sub(r"(-\d+-of-\d+)?(\.gz)?$", "", path.lower())).suffix
    return next((name for name, suffixes in FORMATS.items() if suffix in suffixes), None)


def read_csv(file: IO[bytes], name: str, specs: Specs, tables: TrainedTables = _UNKNOWN) -> Iterator[Example]:
    """One example a row under a header; columns that the signature doesn't take are passed over.

    A cell holds a number, a truth value or text; JSON where a feature has a shape, such as `[0.5, 1.5]`. It may also
    hold the path of an image or stand for a missing number, where the tables of training had such columns.
    """
    csv.field_size_limit(2**31 - 1)  # an image as JSON is longer than the default of 128 KiB
    lines = _lines(file, name)
    first = next(lines, "")
    rows = csv.reader(
        itertools.chain([first], lines), delimiter=tables.delimiter_of(name, first), skipinitialspace=True
    )
    header = [title.strip() or f"column_{number}" for number, title in enumerate(next(rows, []), 1)]
    if not header:
        raise UsageError(f"{name} is empty; expected a header with {', '.join(specs)}.")
    titles = tables.titles(specs, header)
    _check_names(titles, header, f"{name}, header")
    for row in rows:
        if not row:
            continue
        place = f"{name}, line {rows.line_num}"
        if len(row) != len(header):
            raise UsageError(f"{place}: got {len(row)} cells, expected {len(header)} as in the header.")
        cells = dict(zip(header, row, strict=True))
        example = {}
        for key, spec in specs.items():
            cell = cells[titles[key]]
            if key in tables.images and not cell.startswith("["):
                value: Any = _image(cell, spec, place, tables.folder(name))
            else:
                value = _cell_value(cell, spec, place, key, tables.missing)
            example[key] = _to_array(value, spec, place, key)
        yield place, example


def read_json_lines(file: IO[bytes], name: str, specs: Specs, tables: TrainedTables = _UNKNOWN) -> Iterator[Example]:
    """One `{feature: value}` a line; bytes are `{"b64": "..."}`, empty lines are passed over.

    Values may be the paths of images, or missing, where training's tables had such columns.
    """
    for number, line in enumerate(_lines(file, name), start=1):
        if not line.strip():
            continue
        place = f"{name}, line {number}"
        try:
            values = json.loads(line)
        except ValueError as error:
            raise UsageError(f"{place}: not JSON ({error}). Each line is one example, {{feature: value}}.") from error
        if not isinstance(values, dict):
            raise UsageError(f"{place}: got {_short(values)}, expected an object {{feature: value}}.")
        titles = tables.titles(specs, list(values))
        _check_names(titles, values, place)
        example = {}
        for key, spec in specs.items():
            value = values[titles[key]]
            if key in tables.images and isinstance(value, str):
                value = _image(value, spec, place, tables.folder(name))
            elif tables.missing:
                value = _table_value(value, spec)
            example[key] = _to_array(value, spec, place, key)
        yield place, example


def read_npz(file: IO[bytes], name: str, specs: Specs, tables: TrainedTables = _UNKNOWN) -> Iterator[Example]:
    """Arrays `[examples, ...]` by feature name."""
    try:
        with np.load(io.BytesIO(file.read()), allow_pickle=False) as loaded:
            titles = tables.titles(specs, loaded.files)
            _check_names(titles, loaded.files, name)
            arrays = {key: loaded[title] for key, title in titles.items()}
    except (ValueError, OSError, AttributeError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"{name} isn't an .npz file of plain arrays: {error}") from error
    shapes = {key: array.shape for key, array in arrays.items()}
    lengths = {shape[:1] for shape in shapes.values()}
    if len(lengths) > 1 or () in lengths:
        raise UsageError(f"{name}: arrays need the same number of examples on their first axis. Got shapes {shapes}.")
    for index in range(len(next(iter(arrays.values())))):
        place = f"{name}, example {index}"
        yield place, {key: _to_array(arrays[key][index], spec, place, key) for key, spec in specs.items()}


def read_records(pattern: str, specs: Specs) -> Iterator[Example]:
    """The records of TFRecord files, as they are, for a signature whose one input is text or bytes.

    Args:
        pattern: A file's name, or a pattern such as `data/train-*.tfrecord`; compressed where it ends with .gz.
        specs: The signature's inputs.

    Raises:
        UsageError: There is no such file, a file is damaged, or the signature takes something else.
    """
    (key, spec) = next(iter(specs.items()))
    if len(specs) > 1 or spec.dtype != tf.string or spec.shape.rank != 1:
        raise UsageError(
            f"Records need a signature with one input, string (). This one takes "
            f"{', '.join(f'{n}: {_expected(s)}' for n, s in specs.items())}. Use another --signature."
        )
    names = sorted(tf.io.gfile.glob(pattern))
    if not names:
        raise UsageError(f"There is no file {pattern}.")
    for name in names:
        records = tf.data.TFRecordDataset(name, "GZIP" if name.lower().endswith(".gz") else "").as_numpy_iterator()
        number = 0
        try:
            for number, record in enumerate(records, start=1):
                yield f"{name}, record {number}", {key: np.array(record, object)}
        except tf.errors.DataLossError as error:
            said = reason(error)
            raise UsageError(f"{name} is damaged after record {number}, or no TFRecord file: {said}") from error


def read_images(paths: Sequence[str], specs: Specs) -> Iterator[Example]:
    """Image files for a signature whose one input is an image, or its bytes.

    Raises:
        ValueError: The signature takes something else, or a file is no image.
        UsageError: An image has the wrong size.
    """
    key = image_input(specs)
    for path in paths:
        yield path, {key: _to_array(read_image(path, specs[key]), specs[key], path, key)}


def _lines(file: IO[bytes], name: str) -> Iterator[str]:
    """The lines of a UTF-8 text, without the mark that some programs put at its beginning."""
    number = 0
    try:
        for number, line in enumerate(file, start=1):
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(f"{name}, line {number}: not UTF-8 text ({error}).") from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UsageError(f"{name}, after line {number}: can't be decompressed ({error}).") from error


def _check_names(titles: Mapping[str, str], got: Iterable[str], place: str) -> None:
    for name, title in titles.items():
        if title not in got:
            raise UsageError(
                f"{place}: feature {name!r} is missing.{did_you_mean(name, got)} Got {', '.join(got) or 'nothing'}; "
                f"expected {', '.join(titles)}."
            )


def _table_value(value: Any, spec: tf.TensorSpec) -> Any:
    """What a typed value is in a table: one that is missing is NaN or "", a category's number is its text."""
    if spec.shape.rank != 1 or isinstance(value, dict):
        return value
    if spec.dtype.is_floating and (value is None or isinstance(value, bool)):
        return np.nan if value is None else float(value)
    if spec.dtype == tf.string and not isinstance(value, list):
        return "" if value is None else text_of(value)
    return value


def _image(path: str, spec: tf.TensorSpec, place: str, folder: str) -> bytes | np.ndarray:
    try:
        return read_image(os.path.join(folder, path), spec)
    except (OSError, ValueError) as error:
        raise UsageError(f"{place}: {error}") from error


def _cell_value(cell: str, spec: tf.TensorSpec, place: str, name: str, missing: Collection[str]) -> Any:
    """What a CSV cell says; text that isn't a number stays text, which `_to_array` then refuses."""
    if spec.shape.rank != 1:
        try:
            return json.loads(cell)
        except ValueError:
            raise _misfit(place, name, repr(cell), spec, " as JSON, such as [1, 2]") from None
    if spec.dtype == tf.string:
        return cell
    cell = cell.strip()
    if spec.dtype.is_floating and cell in missing:
        return np.nan
    # A yes or no that may be missing is 1, 0 or NaN.
    if spec.dtype == tf.bool or (missing and spec.dtype.is_floating and cell.isalpha()):
        truth = boolean_of(cell)
        return cell if truth is None else truth if spec.dtype.is_floating else bool(truth)
    for convert in (int, float):
        try:
            return convert(cell)
        except ValueError:
            continue
    return cell


def _to_array(value: Any, spec: tf.TensorSpec, place: str, name: str) -> np.ndarray:
    """One example's feature in the signature's dtype."""
    array = _text_array(value) if spec.dtype == tf.string else _number_array(value)
    if array is None or array.dtype.kind not in _KINDS.get(spec.dtype, "iuf"):
        raise _misfit(place, name, _short(value), spec)
    if not tf.TensorShape(array.shape).is_compatible_with(spec.shape[1:]):
        raise _misfit(place, name, f"shape {array.shape}", spec)
    if spec.dtype == tf.string:
        return array
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(spec.dtype.as_numpy_dtype)
    lost = converted != array if spec.dtype.is_integer else np.isinf(converted) & ~np.isinf(array)
    if np.any(lost):
        raise _misfit(place, name, str(array[lost].flat[0]), spec)
    return converted


def _number_array(value: Any) -> np.ndarray | None:
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        return None
    return array if array.dtype.kind in "biuf" else None


def _text_array(value: Any) -> np.ndarray | None:
    """Nested lists of text, bytes or `{"b64": ...}` as an array of bytes."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    shape = []
    items = [value]
    while items and all(isinstance(item, list) for item in items):
        if len({len(item) for item in items}) != 1:
            return None
        shape.append(len(items[0]))
        items = [inner for item in items for inner in item]
    encoded = [_as_bytes(item) for item in items]
    if any(item is None for item in encoded):
        return None
    array = np.empty(len(encoded), object)
    array[:] = encoded
    return array.reshape(shape)


def _as_bytes(item: Any) -> bytes | None:
    if isinstance(item, dict) and set(item) == {"b64"}:
        try:
            return base64.b64decode(item["b64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            return None
    return item.encode() if isinstance(item, str) else item if isinstance(item, bytes) else None


def _misfit(place: str, name: str, got: str, spec: tf.TensorSpec, form: str = "") -> UsageError:
    return UsageError(f"{place}: feature {name!r} got {got}, expected {_expected(spec)}{form}.")


def _expected(spec: tf.TensorSpec) -> str:
    shape = "of any shape" if spec.shape.rank is None else str(tuple(spec.shape[1:])) if spec.shape.rank > 1 else ""
    return f"{spec.dtype.name} {shape}".strip()


def _short(value: Any) -> str:
    text = repr(value.tolist() if isinstance(value, np.ndarray) else value)
    return text if len(text) <= 60 else f"{text[:57]}..."
