"""TFRecord files of `tf.Example`s, sharded or not, compressed or not, of whoever's making.

Those that `scripts/make_records.py` made describe themselves; of others, say what is in them:

    framework.fit("resnet", "records", pipeline_options={"path": "data/flowers"}, run_dir=...)
    framework.fit("resnet", "records", run_dir=..., pipeline_options={
        "path": "gs://bucket/imagenet/*",
        "features": {"image": "image(224, 224, 3) crop from image/encoded"},
        "labels": "int64 from image/class/label",  # or text: "string from image/class/text"
        "num_classes": 1001,
    })
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import tensorflow as tf

import framework
from framework import tasks
from framework.data import records
from framework.data.phases import TEST, TRAIN, VALIDATION
from framework.data.statistics import moments


@framework.register_pipeline(name="records")
class Records(framework.Pipeline):
    """Records of examples; numbers are standardized, images scaled to [0, 1], other features stay as they are.

    Args:
        path: A directory that has a `dataset.json`, or one of files that hasn't; a pattern such as `"data/*.tfrecord"`;
            or `{split: pattern}`. A file's split is told by a word in its name: train, validation (valid, val, eval,
            dev) or test. Names that end in `.gz` are those of compressed files. `gs://...` works where TensorFlow can
            read it.
        features: `{name: text}`, such as `"float32"`, `"int64(None)"` or `"image(224, 224, 3) crop from image/data"`:
            the dtype, the shape of one example, what becomes of an image of other proportions, and the key in the
            `tf.Example` where it isn't the name. Not needed where there is a `dataset.json`.
        labels: The same for the label, such as `"int64 from class"`, or a dict of them for several heads. Text, as in
            `"string from class"`, is the name of a class.
        weights: The same for examples' weights, where there are any.
        num_classes: Of whole-numbered labels; or give `class_names`.
        class_names: In the order of the ids. Of a label that is text by default all that the training split has,
            sorted.
        task: A description such as `{"type": "BinaryClassification", "threshold": 0.3}`, where the label doesn't tell.
        standardize: Whether floating-point features are shifted and scaled by the training split's mean and deviation.
        shuffle_buffer: Of compressed or remote files, which are read as a stream: examples among which the next one is
            drawn.
        validation: Share of the training split to split off, every class by it, where there are no files for
            validation; 0 for none. By default 0.1 where there are but training files and no `dataset.json`.
        test: The same for the test split.
        seed: Decides what is random in these splits.
        on_error: What becomes of records that can't be used: `"raise"`, or `"skip"` leaves them out; of a local,
            uncompressed file with a damaged length, or that ends within a record, all that follows.
        max_bad_share: The share of a split that may be skipped.

    Raises:
        FileNotFoundError: There are no such files.
        ValueError: Nobody says what is in the files; the message says what seems to be.
    """

    def __init__(
        self,
        path: str | Mapping[str, str],
        features: Mapping[str, str] | None = None,
        labels: str | Mapping[str, str] | None = None,
        weights: str | None = None,
        *,
        num_classes: int | None = None,
        class_names: Sequence[str] | None = None,
        task: Mapping[str, Any] | tasks.Task | None = None,
        standardize: bool = True,
        shuffle_buffer: int = 10_000,
        validation: float | None = None,
        test: float | None = None,
        seed: int = 0,
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_share: float = 0.01,
    ):
        self._standardize = standardize
        self.bad_examples = framework.BadExamples(on_error, max_bad_share)
        data = records.DataSet.find(path, features, labels, weights, policy=self.bad_examples)
        self.task = data.task(task, num_classes=num_classes, class_names=class_names)
        self._data = data.labelled(self.task)
        self.features = data.schema.raw
        usual = 0.1 if data.sidecar is None and [*data.files] == [TRAIN] else 0.0
        shares = {phase: usual if share is None else share for phase, share in ((VALIDATION, validation), (TEST, test))}
        self._sources, self.left_out = self._data.sources(shares, seed=seed, shuffle_buffer=shuffle_buffer)

    def source(self, phase):
        return self._sources.get(phase)

    def parse(self, serialized):
        return self._data.schema.parse_features(serialized)

    def serialize(self, features):
        return self._data.schema.serialize_features(features)

    def learn(self, train):
        return moments(train, self._standardized()) if self._standardized() else {}

    def preprocess(self, features):
        return {name: self._prepared(name, value) for name, value in features.items()}

    def _standardized(self):
        """The features of which mean and deviation are learned: floating-point numbers of one shape."""
        numbers = [name for name, feature in self.features.items() if tf.as_dtype(feature.dtype).is_floating]
        return [name for name in numbers if self._standardize and None not in self.features[name].shape]

    def _prepared(self, name, value):
        feature = self.features[name]
        if name in self._standardized():
            return self.statistics.standardize(name, value)
        if feature.dtype == "uint8" and len(feature.shape) == 3:
            return tf.cast(value, tf.float32) / 255.0
        return value
