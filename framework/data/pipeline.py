"""What a person writes about their data: everything between the disk, or a request, and the model's input."""

from __future__ import annotations

import copy
import dataclasses
import functools
import inspect
import os
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
import tensorflow as tf

from framework.data.bad_examples import BadExample, BadExamples
from framework.data.decoding import decode_all, encoded_names
from framework.data.phases import TRAIN, check_phase
from framework.data.sources import Example, Source
from framework.data.statistics import Statistics
from framework.features import Feature, check_names, parse_examples, serialize_examples, stored
from framework.tasks.task import Task

Features = dict[str, tf.Tensor]


class Pipeline:
    """A data set and the way of its examples into a model, for training, evaluation and serving.

    Subclasses define `features`, `task` and `source`, and where they need to `augment`, `preprocess`, `learn`, `parse`,
    `decode` and signatures of their own. Constructor arguments are kept as `options` and written into the run's
    configuration.

        class Digits(framework.Pipeline):
            features = {"image": framework.Feature((8, 8), "uint8")}
            task = framework.tasks.Classification(10)

            def source(self, phase):
                return framework.ArraySource({"image": images[phase]}, labels[phase])

            def preprocess(self, features):
                return {"image": tf.cast(features["image"], tf.float32)[..., None] / 16.0}

    Attributes:
        features: The raw features, as a client has them: `{name: Feature}`.
        task: What is predicted. May be a property that uses `self.statistics`; it is read before they are learned too,
            so write `self.statistics.get(name, default)`.
        statistics: What `learn` returned, there before the first `preprocess`.
        bad_examples: What becomes of examples that can't be read, parsed or decoded.
        skipped: Indices of the bad examples that are left out, by phase.
        left_out: Bad examples that no split has, since they were left out when the data were read.
        renamed: `{feature: column}` where the data's own name can't be a feature's; the manifest tells it to clients.
        profile: What the training split looks like, for the export's manifest; `None` where nobody looked.
    """

    features: Mapping[str, Feature]
    task: Task
    statistics: Statistics = Statistics()
    bad_examples: BadExamples = BadExamples()
    skipped: Mapping[str, Sequence[int]] = types.MappingProxyType({})
    left_out: Sequence[BadExample] = ()
    renamed: Mapping[str, str] = types.MappingProxyType({})
    profile: Mapping[str, Any] | None = None
    options: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any):
        pipeline = super().__new__(cls)
        pipeline.options = _arguments(cls.__init__, pipeline, *args, **kwargs)
        return pipeline

    def __init__(self):
        pass  # object's would swallow arguments without a word, since __new__ takes them

    @property
    def name(self) -> str:
        """What this pipeline is called in messages and configurations."""
        return type(self).__name__

    def source(self, phase: str) -> Source | None:
        """The split of `phase`: `"train"`, `"validation"` or `"test"`; `None` where there is none.

        The same split each time, whoever asks: it is part of the data set, not of a run.
        """
        raise NotImplementedError(f"{self.name} must define source(phase).")

    def parse(self, serialized: tf.Tensor) -> Features:
        """Stored features `{name: [batch, ...]}` from serialized `tf.Example` protos, string `[batch]`.

        What the signature `serialized` takes. Override it for protos of another form.
        """
        return parse_examples(serialized, stored(self.features))

    def serialize(self, features: Mapping[str, np.ndarray]) -> np.ndarray:
        """The opposite of `parse`, for whoever writes records or requests: bytes `[batch]` of stored features."""
        return serialize_examples(features, stored(self.features))

    def decode(self, features: Features) -> Features:
        """The raw tensors of *one* example's encoded features, `{name: [...]}`; the same wherever one is decoded.

        Args:
            features: All of the example's features as they are stored, `{name: [...]}`, without a batch axis.
        """
        return {name: self.features[name].decode(features[name]) for name in encoded_names(features, self.features)}

    def decode_training(self, features: Features, seed: tf.Tensor) -> Features:
        """As `decode`, for *training* only: where decoding less than all, such as a random crop, saves time.

        Args:
            features: As `decode` takes them.
            seed: int64 `[2]`, the example's own, which `augment` gets too.
        """
        return self.decode(features)

    def learn(self, train: tf.data.Dataset) -> Mapping[str, Any]:
        """Statistics of the training split, `{name: array}`, computed once a run and kept with it.

        Args:
            train: The training examples in order, in batches of `Example(features, labels, weights)`, decoded,
                neither augmented nor preprocessed. `framework.data.statistics` has the usual passes over them.
        """
        return {}

    def augment(self, features: Features, labels: Any, seeds: tf.Tensor) -> tuple[Features, Any]:
        """Changes a *training* batch at random. Evaluation and serving never come here.

        Must be stateless: all randomness comes from `seeds`, so that a resumed run sees the same images.

        Args:
            features: Raw features `{name: [batch, ...]}`.
            labels: `[batch, ...]`, or a dict of them.
            seeds: int64 `[batch, 2]`, one seed for each example, a function of (run's seed, epoch, example's index).
                `framework.data.augment` and `framework.data.random` take them as they are; each row is also a
                seed for any `tf.random.stateless_*` or `tf.image.stateless_*` function.
        """
        return features, labels

    def preprocess(self, features: Features) -> Features:
        """Turns a batch of raw features into the model's inputs; the same in training, evaluation and serving.

        Pure (it leaves the dict that it is given alone), deterministic and batched; made of TensorFlow operations,
        since every signature carries it.

        Args:
            features: `{name: [batch, ...]}`.
        """
        return features

    # From here on: what the framework asks a pipeline.

    def require_source(self, phase: str) -> Source:
        """The split of `phase`.

        Raises:
            ValueError: There is none.
        """
        source = self.source(check_phase(phase))
        if source is None:
            raise ValueError(f"The pipeline {self.name} has no {phase} split.")
        if not isinstance(source, Source):
            raise TypeError(
                f"{self.name}.source({phase!r}) must return a Source such as ArraySource or DatasetSource, or None; "
                f"got {type(source).__name__}."
            )
        skipped = self.skipped.get(phase)
        return source.without(skipped) if skipped else source

    def has(self, phase: str) -> bool:
        """Whether there is such a split."""
        return self.source(check_phase(phase)) is not None

    def with_statistics(self, statistics: Statistics | None = None) -> Pipeline:
        """A copy that has learned: from the training split, or what was learned before."""
        pipeline = copy.copy(self)
        if statistics is None:
            learned = self.learn(self._raw_batches())
            if not isinstance(learned, Mapping):
                raise TypeError(f"{self.name}.learn must return a dict of arrays, got {type(learned).__name__}.")
            statistics = Statistics(learned)
        pipeline.statistics = statistics
        return pipeline

    def without_bad(self, skipped: Mapping[str, Sequence[int]]) -> Pipeline:
        """A copy whose splits leave the examples at these indices out."""
        pipeline = copy.copy(self)
        pipeline.skipped = dict(skipped)
        return pipeline

    def _raw_batches(self) -> tf.data.Dataset:
        """The training split in order, decoded."""
        source = self.require_source(TRAIN)
        if not encoded_names(source.spec.features, self.features):
            return source.batches(1024)

        def decoded(example: Example) -> Example:
            return example._replace(features=decode_all(example.features, self.features, self.decode))

        # Fewer at a time: what is decoded is large.
        return source.batches(64).map(decoded, num_parallel_calls=2)

    def interface(self) -> dict[str, Feature]:
        """The model's inputs, found by tracing `preprocess` on the raw features' specs.

        Raises:
            TypeError: `preprocess` doesn't return a dict of dense tensors.
            ValueError: An output hasn't the batch as its first axis, or a name that no input can have, or `preprocess`
                changes the dict that it is given.
        """
        specs = {name: feature.spec(name) for name, feature in self.features.items()}
        outputs = tf.function(self.preprocess).get_concrete_function(specs).structured_outputs
        where = f"{self.name}.preprocess"
        if not isinstance(outputs, Mapping) or not outputs:
            raise TypeError(f"{where} must return a dict of named tensors, got {outputs!r:.200}.")
        check_names(map(str, outputs), where)
        for name, spec in outputs.items():
            if not isinstance(spec, (tf.Tensor, tf.TensorSpec)):
                raise TypeError(f"{where} returned {spec!r} for {name!r}; expected a dense tensor.")
            if spec.shape.rank is None or spec.shape.rank < 1 or spec.shape[0] is not None:
                raise ValueError(
                    f"{where} returned '{name}' with shape {spec.shape}; expected the batch as first axis (None, ...). "
                    "It is called with whole batches: reduce over the other axes, and give shapes as (-1, ...)."
                )
        return {str(name): Feature(tuple(spec.shape[1:]), spec.dtype.name) for name, spec in outputs.items()}

    def signatures(self) -> dict[str, Signature]:
        """The signatures that methods of this pipeline were decorated to be."""
        members = ((name, inspect.getattr_static(type(self), name, None)) for name in dir(type(self)))
        found = {}
        for attribute, member in members:
            declared = getattr(member, "_signature", None)
            if declared is not None:
                found[declared.name] = dataclasses.replace(declared, function=getattr(self, attribute))
        return found

    @property
    def resources(self) -> list[Any]:
        """Tables and layers that `preprocess` uses and an export has to track."""
        kinds = (keras.layers.Layer, tf.Module, tf.lookup.StaticHashTable, tf.lookup.StaticVocabularyTable)
        own = [value for value in vars(self).values() if isinstance(value, kinds)]
        return own + self.statistics.resources


def _arguments(function: Callable, *args: Any, **kwargs: Any) -> dict[str, Any]:
    """The arguments of a call by name, without the first; none where they don't fit (the call itself will say so)."""
    signature = inspect.signature(function)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return {}
    bound.apply_defaults()
    arguments = {}
    for name, value in list(bound.arguments.items())[1:]:
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD:
            arguments.update(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL:
            arguments[name] = value
    return {name: _path_as_text(value) for name, value in arguments.items()}


def _path_as_text(value: Any) -> Any:
    """A path, or several, as JSON can keep them."""
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    return [_path_as_text(item) for item in value] if isinstance(value, list) else value


@dataclasses.dataclass(frozen=True)
class Signature:
    """One more way in for clients.

    Attributes:
        name: The signature's name in the SavedModel.
        inputs: What it takes: `{name: Feature}`.
        returns: `"raw"` when the function makes raw or stored features, which are then decoded and preprocessed like
            all others; `"model"` when it makes the model's inputs itself.
        function: Takes `{name: [batch, ...]}`.
        request: Makes what a client would send, `{name: [batch, ...]}`, of stored features; with it an export proves
            the signature on real examples.
    """

    name: str
    inputs: Mapping[str, Feature]
    returns: Literal["raw", "model"]
    function: Callable[..., Features]
    request: Callable[..., Mapping[str, Any]] | None = None


def signature(
    inputs: Mapping[str, Feature],
    *,
    name: str | None = None,
    returns: Literal["raw", "model"] = "raw",
    request: Callable[..., Mapping[str, Any]] | None = None,
) -> Callable[[Callable], Callable]:
    """Makes a method of a pipeline a serving signature of every export.

        @framework.signature({"png": framework.Feature((), "string")})
        def from_png(self, inputs):
            decode = functools.partial(tf.io.decode_png, channels=1)
            return {"image": tf.map_fn(decode, inputs["png"], fn_output_signature=tf.uint8)}

    Args:
        inputs: What clients send, `{name: Feature}`.
        name: The signature's name; by default the method's.
        returns: `"raw"` (the method makes raw or stored features) or `"model"` (it makes the model's inputs).
        request: `request(features)` makes what a client would send of a batch of stored features as NumPy arrays. Where
            the inputs aren't features of the pipeline itself, an export needs it to prove the signature.

    Raises:
        TypeError: `inputs` isn't a dict of `Feature`s.
        ValueError: `returns` is something else, or an input's name can't be a signature's argument.
    """
    if returns not in ("raw", "model"):
        raise ValueError(f"returns must be 'raw' or 'model', got {returns!r}.")
    if not isinstance(inputs, Mapping) or not all(isinstance(feature, Feature) for feature in inputs.values()):
        raise TypeError(f"signature(inputs) takes a dict of names to Features, got {inputs!r}.")
    check_names(inputs, "signature(inputs)")

    def decorate(method: Callable) -> Callable:
        @functools.wraps(method)
        def wrapped(self, features):
            return method(self, features)

        wrapped._signature = Signature(  # type: ignore[attr-defined]
            name or method.__name__, dict(inputs), returns, method, request
        )
        return wrapped

    return decorate
