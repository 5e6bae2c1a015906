"""Which files of records there are, of which split each is, and what seems to be in them."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Mapping, Sequence

import tensorflow as tf
from absl import logging
from google.protobuf.message import DecodeError

from framework.data.phases import PHASES, SPLIT_NAMES, TRAIN, VALIDATION, check_phase
from framework.data.records.framing import place, read_records

# Words in a file's name that say of which split it is.
_WORDS = {name: phase for phase, names in SPLIT_NAMES.items() for name in names} | {"eval": VALIDATION}
_OTHER_FILES = (".json", ".txt", ".md", ".csv", ".index", ".lock")
_LOOKED_AT = 100
_TYPES = {"bytes_list": "string", "float_list": "float32", "int64_list": "int64"}
# Of which records don't say what size they are to have.
IMAGE = "image(height, width, 3)"
_IMAGES = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"BM")


def find_splits(path: str | os.PathLike[str] | Mapping[str, str]) -> dict[str, list[str]]:
    """The files of each split, in the order of their names.

    Args:
        path: A directory, or a pattern such as `"data/*.tfrecord"`; splits are told by a word in a file's name (train,
            validation, valid, val, eval, dev, test), and all is for training where no name has one. Where some have
            one, others are left out with a warning. Or `{split: pattern}`.

    Raises:
        FileNotFoundError: There are no such files.
        ValueError: A name has the words of two splits.
    """
    if isinstance(path, Mapping):
        return {check_phase(phase): find_files(pattern) for phase, pattern in path.items()}
    files = find_files(os.fspath(path))
    phases = {file: phase_of(file) for file in files}
    if not any(phases.values()):
        return {TRAIN: files}
    of_none = [os.path.basename(file) for file in files if phases[file] is None]
    if of_none:
        logging.warning(
            "%d files of %s have no split in their names and are left out: %s.", len(of_none), path, of_none[:10]
        )
    return {phase: found for phase in PHASES if (found := [file for file in files if phases[file] == phase])}


def find_files(pattern: str) -> list[str]:
    """The files of records that match a pattern, or that are in a directory, sorted.

    Raises:
        FileNotFoundError: There are none.
    """
    if tf.io.gfile.isdir(pattern):  # whose name may have brackets in it
        names = sorted(os.path.join(pattern, name) for name in tf.io.gfile.listdir(pattern))
    else:
        names = sorted(tf.io.gfile.glob(pattern))
    hidden = [name for name in names if os.path.basename(name).startswith(".") or name.endswith(_OTHER_FILES)]
    files = [name for name in names if name not in hidden and not tf.io.gfile.isdir(name)]
    if not files:
        raise FileNotFoundError(f"There are no files of records that match {pattern}.")
    return files


def phase_of(file: str) -> str | None:
    """The split that a file's name tells, or `None`.

    >>> phase_of("data/imagenet-train-00000-of-01024")
    'train'

    Raises:
        ValueError: It tells two.
    """
    words = re.split(r"[^a-z]+", os.path.basename(file).lower())
    told = {_WORDS[word] for word in words if word in _WORDS}
    if len(told) > 1:
        raise ValueError(f"{file} has the words of several splits in its name. Give {{split: pattern}} as path.")
    return told.pop() if told else None


def seen_keys(paths: Sequence[str], *, lists: bool = True) -> dict[str, str]:
    """What the first records hold, as far as it shows: `{key: feature's text}`, of feature lists with `None` first.

    Lengths are told, shapes and meanings aren't: an image may have been flattened, a number may be a label.

    Args:
        paths: Of the files, the first of which is looked at.
        lists: Whether feature lists are wanted, too, which a reader of `tf.Example`s doesn't see.

    Raises:
        ValueError: They are neither `tf.Example`s nor `tf.train.SequenceExample`s.
    """
    lengths: dict[str, set[int]] = {}
    types: dict[str, str] = {}
    of_steps: set[str] = set()
    for offset, record, _ in itertools.islice(read_records(paths[0]), _LOOKED_AT):
        try:
            # A tf.Example is one without feature lists, to the bit.
            proto = tf.train.SequenceExample.FromString(record)
        except DecodeError as error:
            where = place(paths[0], offset)
            raise ValueError(f"{where}: the record is no tf.train.Example, and no SequenceExample either.") from error
        steps = {key: value.feature for key, value in proto.feature_lists.feature_list.items() if lists}
        of_steps |= steps.keys()
        for key, values in [*((key, [value]) for key, value in proto.context.feature.items()), *steps.items()]:
            for value in values:
                kind = value.WhichOneof("kind")
                if kind is not None:
                    items = getattr(value, kind).value
                    is_image = key not in steps and kind == "bytes_list" and any(items) and items[0].startswith(_IMAGES)
                    types[key] = IMAGE if is_image else _TYPES[kind]
                    lengths.setdefault(key, set()).add(len(items))
    return {key: types[key] + _axes(lengths[key], key in of_steps) for key in sorted(types)}


def _axes(lengths: set[int], is_list: bool) -> str:
    axes = ["None"] * is_list + ([] if lengths == {1} else [str(next(iter(lengths)) if len(lengths) == 1 else None)])
    return f"({', '.join(axes)})" if axes else ""
