"""Writes data sets of records: of any examples, or of a pipeline's splits."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from absl import logging

from framework.data.bad_examples import counted
from framework.data.checking import skipped_examples, without
from framework.data.phases import PHASES, TRAIN, check_phase
from framework.data.pipeline import Pipeline
from framework.data.records.feed import Feed, IterableFeed, SourceFeed
from framework.data.records.schema import Schema
from framework.data.records.sidecar import Sidecar
from framework.data.records.split_writer import Layout, SplitWriter
from framework.data.sources import Source
from framework.features import Feature
from framework.tasks.task import Task


def write(
    examples: Source | Iterable[Any],
    directory: str | os.PathLike[str],
    *,
    split: str = TRAIN,
    task: Task | None = None,
    layout: Layout | None = None,
    features: Mapping[str, Feature] | None = None,
    labels: Any = None,
    num_examples: int | None = None,
    kind: type[Schema] = Schema,
    on_written: Callable[[int], Any] | None = None,
) -> Sidecar:
    """Writes a split of a data set, and `dataset.json`, by which it is read.

    The same call again goes on with one that was interrupted, and changes nothing where all is there.

        records.write(
            [({"image": jpeg, "age": 41.0}, 3), ...],
            "data",
            task=tasks.Classification(10),
            features={"image": framework.Image((224, 224, 3))},
            layout=records.Layout(shards=16),
        )

    Args:
        examples: A source, or single examples `(features, label)` or `(features, label, weight)`.
        directory: Of all splits of the data set; a local one, made if missing.
        split: `"train"`, `"validation"` or `"test"`.
        task: What is predicted.
        layout: Into which files.
        features: `{name: Feature}` of those that can't be told from the data: images, and what varies in length.
        labels: The label's `Feature`, or a dict of them, where it can't be told from the data.
        num_examples: Of an iterable without a length.
        kind: `SequenceSchema` writes `tf.train.SequenceExample`s, in which features whose first axis is `None` are
            feature lists.
        on_written: Told after each few examples how many they were, those of kept files included.

    Returns:
        What the data set now consists of.

    Raises:
        FileExistsError: The directory has files of this split that this call wouldn't make, or another data set.
        ValueError: An example isn't like the others, or there are fewer than files.
    """
    if isinstance(examples, Source):
        feed: Feed = SourceFeed(examples, features or {}, kind)
    else:
        feed = IterableFeed(examples, num_examples=num_examples, features=features, labels=labels, kind=kind)
    about = {"task": task and task.describe(), "made_from": None}
    return SplitWriter(feed, directory, check_phase(split), layout or Layout(), on_written).write(about)


def write_pipeline(
    pipeline: Pipeline,
    directory: str | os.PathLike[str],
    *,
    layout: Layout | None = None,
    phases: Sequence[str] = PHASES,
    made_from: Mapping[str, Any] | None = None,
    kind: type[Schema] = Schema,
    on_written: Callable[[int], Any] | None = None,
) -> Sidecar:
    """Writes the examples of a pipeline as they lie in its sources: neither decoded nor augmented nor preprocessed.

    Of a pipeline that skips bad examples they are found first, and left out.

    Args:
        pipeline: Whose task is written down too; if the task depends on statistics, it must have learned them.
        directory: See `write`.
        layout: Of the training split; smaller splits have fewer files.
        phases: The splits to write; those that the pipeline hasn't are passed over.
        made_from: The pipeline's name and options, for the record.
        kind: See `write`.
        on_written: See `write`.

    Raises:
        FileExistsError: See `write`.
        ValueError: The pipeline has none of these splits.
        BadExampleError: More are bad than the pipeline allows to skip.
    """
    layout = layout or Layout()
    present = [phase for phase in phases if pipeline.has(phase)]
    if not present:
        raise ValueError(f"{pipeline.name} has none of the splits {list(phases)}.")
    if pipeline.bad_examples.on_error == "skip" and not pipeline.skipped:
        found = skipped_examples(pipeline, present)
        for phase, bad in found.items():
            logging.warning(
                "%d examples of the %s split are left out: %s. The first: %s", len(bad), phase, counted(bad), bad[0]
            )
        pipeline = without(pipeline, found)
    feeds = {phase: SourceFeed(pipeline.require_source(phase), pipeline.features, kind) for phase in present}
    most = max(feed.num_examples for feed in feeds.values())
    about = {"task": pipeline.task.describe(), "made_from": made_from}
    for phase, feed in feeds.items():
        shards = max(1, round(layout.shards * feed.num_examples / most))
        writer = SplitWriter(feed, directory, phase, dataclasses.replace(layout, shards=shards), on_written)
        sidecar = writer.write(about)
    return sidecar
