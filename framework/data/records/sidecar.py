"""`dataset.json`, beside the records: what is in them, which files there are, and what they were made of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from framework import files
from framework.data.records.framing import open_file
from framework.data.records.schema import Schema
from framework.data.records.sequence_schema import parse_schema
from framework.data.records.summary import Summary

NAME = "dataset.json"
_PIECE = 1 << 20
_FORMAT = "keras-shipyard records 1"
_HOW_TO_READ = (
    "TFRecord files of the protos that schema names, by default tf.train.Example; those whose names end in .gz are "
    "compressed with gzip. In a tf.train.SequenceExample features whose shape begins with None are feature lists.",
    "lists: what each key holds. Shapes and dtypes are in schema; a list holds an array's values row by row.",
    "image: the bytes of an image file. float16, bfloat16 and float32 are in a float_list, without loss.",
    "float64 and uint64 are in an int64_list, as the int64 with the same 64 bits: numpy's values.view('float64').",
)


@dataclasses.dataclass(frozen=True)
class Shard:
    """One file.

    Attributes:
        file: Its name, relative to the sidecar.
        examples: How many records it has.
        bytes: Its size.
        digest: BLAKE2b of all its bytes, 16 bytes as hexadecimal digits.
    """

    file: str
    examples: int
    bytes: int
    digest: str


@dataclasses.dataclass(frozen=True)
class Split:
    """The files of one split.

    Attributes:
        shards: In the order of their examples.
        summary: What the examples look like.
        key: Of what and how they were made.
        weighted: Whether the examples have weights.
    """

    shards: tuple[Shard, ...]
    summary: Summary
    key: str
    weighted: bool = False

    @property
    def examples(self) -> int:
        """Of all files."""
        return sum(shard.examples for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Of all files."""
        return sum(shard.bytes for shard in self.shards)


@dataclasses.dataclass(frozen=True)
class Sidecar:
    """A data set of records.

    Attributes:
        schema: What is in each record.
        task: What is predicted, as `Task.describe` says it; `None` where nobody said.
        splits: `{name: Split}`.
        made_from: The pipeline of whose examples it was made: `{"pipeline": name, "options": {...}}`, for the record.
    """

    schema: Schema
    task: Mapping[str, Any] | None = None
    splits: Mapping[str, Split] = dataclasses.field(default_factory=dict)
    made_from: Mapping[str, Any] | None = None

    def save(self, directory: str | os.PathLike[str]) -> None:
        """Writes `dataset.json` into a directory, atomically."""
        content = {
            "format": _FORMAT,
            "how_to_read": list(_HOW_TO_READ),
            "schema": self.schema.describe(),
            "lists": self.schema.lists,
            "task": self.task,
            "made_from": self.made_from,
            "splits": {name: _describe_split(split) for name, split in self.splits.items()},
        }
        files.write_json(pathlib.Path(directory, NAME), {**content, "digest": _digest(content)})

    @staticmethod
    def exists(directory: str | os.PathLike[str]) -> bool:
        """Whether a directory, local or not, has a sidecar."""
        return tf.io.gfile.exists(os.path.join(os.fspath(directory), NAME))

    @classmethod
    def load(cls, directory: str | os.PathLike[str]) -> Sidecar:
        """Reads the sidecar of a directory, local or not.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It isn't one, or was changed after it was written.
        """
        path = os.path.join(os.fspath(directory), NAME)
        content = _read(path)
        digest = content.pop("digest", None)
        if digest not in (None, _digest(content)):
            raise ValueError(
                f"{path} was changed after it was written: its digest is another. Write the data set anew; if the "
                'change is meant, remove the line "digest".'
            )
        try:
            if content.pop("format") != _FORMAT:
                raise ValueError(f"expected the format {_FORMAT!r}")
            splits = {name: _parse_split(split) for name, split in content.pop("splits").items()}
            schema = parse_schema(content.pop("schema"))
            made = cls(schema, content.pop("task"), splits, content.pop("made_from"))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"{path} isn't the sidecar of a data set of records: {error!r}.") from error
        unknown = content.keys() - {"how_to_read", "lists"}
        if unknown:
            raise ValueError(f"{path} has keys that nobody knows: {sorted(unknown)}.")
        return made


def file_digest(path: str | os.PathLike[str]) -> str:
    """The digest of a file, local or not, as a sidecar has it."""
    digest = hashlib.blake2b(digest_size=16)
    with open_file(os.fspath(path), as_it_is=True) as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()


def _read(path: str) -> dict[str, Any]:
    try:
        with open_file(path) as file:
            content = json.loads(file.read())
    except ValueError as error:
        raise ValueError(f"{path} isn't valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} isn't the sidecar of a data set of records: it holds a {type(content).__name__}.")
    return content


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _describe_split(split: Split) -> dict[str, Any]:
    totals = {"examples": split.examples, "bytes": split.bytes, "weighted": split.weighted, "key": split.key}
    return {
        **totals,
        "shards": [dataclasses.asdict(shard) for shard in split.shards],
        "summary": split.summary.describe(),
    }


def _parse_split(description: Mapping[str, Any]) -> Split:
    shards = tuple(Shard(**shard) for shard in description["shards"])
    return Split(shards, Summary.parse(description["summary"]), description["key"], description["weighted"])
