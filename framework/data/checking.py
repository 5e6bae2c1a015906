"""Looks for examples that can't be used: unreadable, unparsable, undecodable, or with a label that the task hasn't."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.data.bad_examples import BadExample, BadExampleError, counted
from framework.data.decoding import decode_good, encoded_names, undecodable_kind
from framework.data.phases import PHASES
from framework.data.pipeline import Pipeline
from framework.data.sources import Example, Source

_CHUNK = 64
# What TensorFlow and our own readers say, and what kind of fault that is. The first that fits.
_KINDS = (
    *((kind, kind) for kind in ("undecodable image", "not an image", "image of another format")),
    (r"label out of range", "label out of range"),
    (r"don't match|data type", "wrong type"),
    (r"is required but could not be found|is missing", "missing feature"),
    (r"Number of .* values|values size|wrong length", "wrong length"),
    (r"outside the range", "value out of range"),
    (r"[Cc]orrupt|CRC|checksum|truncated|parse", "corrupt record"),
    (r"No such file|NotFound", "missing file"),
)
_ERRORS = (tf.errors.OpError, ValueError, OSError)


def check_examples(
    pipeline: Pipeline,
    phase: str,
    indices: Sequence[int] | None = None,
    *,
    on_checked: Callable[[int], Any] | None = None,
) -> list[BadExample]:
    """Reads, parses and decodes examples and checks their labels.

    Args:
        pipeline: Whose examples.
        phase: Of which split.
        indices: Which of them; by default all.
        on_checked: Told after each batch how many it was.

    Returns:
        The bad ones by index.

    Raises:
        tf.errors.OpError: A stream can't be read; what comes after that point can't be either.
    """
    source = pipeline.require_source(phase)
    wanted = None if indices is None else set(indices)
    all_decode = _all_decode(pipeline, source)
    bad: list[BadExample] = []
    for chunk, example in _chunks(source, indices):
        if example is None or not all_decode(example.features) or _label_fault(pipeline, phase, example) is not None:
            for row, index in enumerate(chunk):
                if wanted is not None and index not in wanted:  # a stream comes in whole chunks
                    continue
                one = _read(source, [index]) if example is None else _row(example, row)
                fault = _fault(pipeline, phase, one)
                if fault is not None:
                    kind, reason = fault
                    place = source.place(index)
                    # Readers of ours say the place themselves.
                    bad.append(BadExample(index, place, kind, reason.removeprefix(f"{place}: ")))
        if on_checked is not None:
            on_checked(len(chunk))
    return bad


def skipped_examples(pipeline: Pipeline, phases: Sequence[str] = PHASES) -> dict[str, list[BadExample]]:
    """Looks through the splits of a pipeline that skips bad examples.

    Args:
        pipeline: Whose.
        phases: Which splits; those that the pipeline hasn't are passed over.

    Returns:
        The bad ones by phase, of splits that have some.

    Raises:
        BadExampleError: They are a larger share of a split than `bad_examples.max_share`.
    """
    found = {}
    for phase in phases:
        if not pipeline.has(phase):
            continue
        total = pipeline.require_source(phase).num_examples
        bar = _progress(f"Checking the {total:,} examples of the {phase} split", total)
        bad = check_examples(pipeline, phase, on_checked=bar)
        limit = pipeline.bad_examples.max_share
        if len(bad) > limit * total:
            raise BadExampleError(
                f"{len(bad)} of {total} examples of the {phase} split can't be used ({counted(bad)}), the first of "
                f"them {bad[0]}. At most a share of {limit:g} is skipped: repair the data, or raise "
                "BadExamples.max_share."
            )
        if bad:
            found[phase] = bad
    return found


def without(pipeline: Pipeline, found: Mapping[str, Sequence[BadExample]]) -> Pipeline:
    """A copy of a pipeline that leaves out what `skipped_examples` has found."""
    return pipeline.without_bad({phase: [example.index for example in bad] for phase, bad in found.items()})


def _progress(title: str, total: int) -> Callable[[int], Any] | None:
    """A progress bar under a title, on a terminal."""
    if not sys.stdout.isatty():
        return None
    print(title)
    return keras.utils.Progbar(total).add


def _chunks(source: Source, indices: Sequence[int] | None) -> Iterator[tuple[list[int], Example | None]]:
    """Indices with their batch, or `None` where it can't be read as a whole."""
    if not source.random_access:
        first = 0
        for example in source.batches(_CHUNK):
            count = len(tf.nest.flatten(example.features)[0])
            chunk = list(range(first, first + count))
            first += count
            if indices is None or not set(indices).isdisjoint(chunk):
                yield chunk, Example(*example)
        return
    wanted = range(source.num_examples) if indices is None else indices
    for first in range(0, len(wanted), _CHUNK):
        chunk = list(wanted[first : first + _CHUNK])
        read = _read(source, chunk)
        yield chunk, None if isinstance(read, Exception) else read


def _read(source: Source, indices: Sequence[int]) -> Example | Exception:
    """The examples, or why they can't be read."""
    try:
        return source.gather(tf.constant(indices, tf.int64))
    except _ERRORS as error:
        return error


def _row(example: Example, row: int) -> Example:
    """A batch of one."""
    return example.map(lambda tensor: tensor[row : row + 1])


def _all_decode(pipeline: Pipeline, source: Source) -> Callable[[Mapping[str, tf.Tensor]], Any]:
    """A function that says whether a whole batch of stored features can be decoded."""
    if not encoded_names(source.spec.features, pipeline.features):
        return lambda features: True

    def all_decode(features: Mapping[str, tf.Tensor]) -> tf.Tensor:
        _, is_good = decode_good(features, pipeline.features, pipeline.decode, parallel_calls=2)
        return tf.reduce_all(is_good)

    # Traced once: for each batch that would take longer than decoding it.
    return tf.function(all_decode, input_signature=[source.spec.features])


def _fault(pipeline: Pipeline, phase: str, example: Example | Exception) -> tuple[str, str] | None:
    """(kind, reason) of one example that can't be used."""
    if isinstance(example, Exception):
        reason = explain(example)
        return next((kind for pattern, kind in _KINDS if re.search(pattern, reason)), "unreadable"), reason
    names = encoded_names(example.features, pipeline.features)
    if names:
        stored = {name: tensor[0] for name, tensor in example.features.items()}
        try:
            pipeline.decode(stored)
        except _ERRORS as error:
            kind = undecodable_kind(stored, pipeline.features)
            return kind, f"feature {' or '.join(map(repr, names))}: {explain(error)}"
    return _label_fault(pipeline, phase, example)


def _label_fault(pipeline: Pipeline, phase: str, example: Example) -> tuple[str, str] | None:
    labels = tf.nest.map_structure(np.asarray, example.labels)
    try:
        pipeline.task.check_labels(labels, f"the {phase} split")
    except ValueError as error:
        return "label out of range", str(error)
    return None


@contextlib.contextmanager
def naming_bad_examples() -> Iterator[None]:
    """Of a bad example that comes up while a tf.data pipeline runs only says what it is and where it lies.

    Raises:
        BadExampleError: There is one.
    """
    try:
        yield
    except tf.errors.InvalidArgumentError as error:
        if BadExampleError.__name__ not in error.message:
            raise
        raise BadExampleError(f"{explain(error)}. BadExamples(on_error='skip') leaves such examples out.") from error


def explain(error: Exception) -> str:
    """What an error says, without TensorFlow's talk of where in a graph it came up."""
    message = getattr(error, "message", None) or str(error)
    ours = re.search(rf"{BadExampleError.__name__}: (.*)", message)
    if ours:
        return ours.group(1).strip()
    message = message.rpartition("<stack traces unavailable>\n")[2]
    message = re.sub(r"\{\{function_node [^}]*\}\}\s*", "", message)
    return re.sub(r"\s*\[Op:\w+\].*|\s*\[\[\{\{node.*", "", message, flags=re.DOTALL).strip().partition("\n")[0]
