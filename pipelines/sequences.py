"""Sequences of varying length, such as curves, events or words: TFRecord files of `tf.train.SequenceExample`s.

    framework.fit("gru", "sequences", run_dir=..., pipeline_options={
        "path": "data/strokes",
        "features": {"points": "float32(None, 3)", "country": "string"},
        "labels": "int64 from class",
        "num_classes": 10,
    })

`framework.data.records.write(..., kind=SequenceSchema)` makes such files, which then describe themselves.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from absl import logging

import framework
from framework import tasks
from framework.data import records
from framework.data.phases import TEST, TRAIN, VALIDATION
from framework.data.sequences.bucketing import BucketedSource
from framework.data.sequences.encoding import SequenceEncoding
from framework.data.sequences.lengths import sequence_lengths
from framework.data.sources import Subset

_SHOWN_BATCH = 64


@framework.register_pipeline(name="sequences")
class Sequences(framework.Pipeline):
    """Feature lists, padded to the longest of a batch, beside features of the whole sequence; one label a sequence.

    The raw features are those of `features`, and `length` int64 `[]`: the steps that an example has, after which a
    client may pad as it likes. The model gets `mask` bool `[batch, time]` in its place, true where there is a step.
    Training batches hold examples of like length, so that little is padding; each epoch still has every example once.

    Args:
        path: A directory that has a `dataset.json`, or one of files that hasn't; a pattern such as `"data/*.tfrecord"`;
            or `{split: pattern}`. See the pipeline `records`.
        features: `{name: text}`: `"float32(None, 3)"` and `"string(None)"` are feature lists, with the shape of a step
            after the `None`; `"float32"` is a feature of the whole sequence; `"int64 from KEY"` has another name in the
            files. Not needed where there is a `dataset.json`; otherwise by default all that the first records have.
        labels: The same for the label, such as `"int64 from class"`; text, as in `"string from class"`, is the name of
            a class.
        weights: The same for examples' weights, where there are any.
        num_classes: Of whole-numbered labels; or give `class_names`.
        class_names: In the order of the ids. Of a label that is text by default all that the training split has,
            sorted.
        task: A description such as `{"type": "Regression"}`, where the label doesn't tell.
        types: `{feature: "categorical" | "numeric"}`; by default single integers and texts are categories.
        max_length: Steps after which an example is cut: a number, or the share of the training examples that are to
            stay whole, such as 0.95.
        keep: Which steps of a longer example: the `"first"` or the `"last"`.
        bucketing: By what share the lengths in a training batch may differ, about; `None` mixes all lengths. Compressed
            or remote files are read as a stream, which is never bucketed.
        validation: Share of the training split to split off, every class by it, where there are no files for
            validation; 0 for none.
        test: The same for the test split.
        seed: Decides what is random in these splits.
        shuffle_buffer: Of a stream: examples among which the next one is drawn.
        on_error: What becomes of records that can't be used: `"raise"`, or `"skip"` leaves them out. See `records`.
        max_bad_share: The share of a split that may be skipped.

    Raises:
        FileNotFoundError: There are no such files.
        ValueError: Nobody says what is in the files; the message says what seems to be.
    """

    def __init__(
        self,
        path: str | Mapping[str, str],
        features: Mapping[str, str] | None = None,
        labels: str | None = None,
        weights: str | None = None,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        task: Mapping[str, Any] | tasks.Task | None = None,
        types: Mapping[str, str] | None = None,
        max_length: int | float | None = None,
        keep: Literal["first", "last"] = "first",
        bucketing: float | None = 0.1,
        validation: float = 0.1,
        test: float = 0.1,
        seed: int = 0,
        shuffle_buffer: int = 10_000,
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_share: float = 0.01,
    ):
        self.bad_examples = framework.BadExamples(on_error, max_bad_share)
        data = records.DataSet.find(
            path, features, labels, weights, kind=records.SequenceSchema, policy=self.bad_examples
        )
        self.features = data.schema.raw
        self._encoding = SequenceEncoding(self.features, types or {}, max_length, keep)
        self.task = data.task(task, num_classes=num_classes, class_names=class_names)
        self._data = data.labelled(self.task)
        shares = {VALIDATION: validation, TEST: test}
        self._sources, self.left_out = self._data.sources(shares, seed=seed, shuffle_buffer=shuffle_buffer)
        train = self._sources.get(TRAIN)
        if bucketing is not None and train is not None and train.random_access:
            self._sources[TRAIN] = self._bucketed(train, bucketing)

    def _bucketed(self, train, spread):
        lengths = (
            sequence_lengths(train.source)[train.indices] if isinstance(train, Subset) else sequence_lengths(train)
        )
        limit = self._encoding.max_length
        if limit is not None:  # what is cut needs no bucket of its own
            lengths = np.minimum(lengths, limit if isinstance(limit, int) else int(np.quantile(lengths, limit)))
        bucketed = BucketedSource(train, lengths, spread=spread)
        shuffled, of_like_length = bucketed.padding(_SHOWN_BATCH)
        logging.info(
            "Of the training steps in batches of %d examples %.1f%% are padding, it would be %.1f%% without buckets.",
            _SHOWN_BATCH,
            100 * of_like_length,
            100 * shuffled,
        )
        return bucketed

    def source(self, phase):
        return self._sources.get(phase)

    def parse(self, serialized):
        return self._data.schema.parse_features(serialized)

    def serialize(self, features):
        return self._data.schema.serialize_features(features)

    def learn(self, train):
        return self._encoding.learn(train)

    def preprocess(self, features):
        return self._encoding.encode(features, self.statistics)
