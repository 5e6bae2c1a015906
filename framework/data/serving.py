"""The serving pipeline: what each signature accepts and how that becomes the model's input.

Labels, augmentation and randomness can't get here: a signature is made of `features` and `preprocess` alone.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.decoding import decode_all, or_zeros
from framework.data.pipeline import Features, Pipeline, Signature
from framework.features import Feature, stored

DEFAULT = "serving_default"
SERIALIZED = "serialized"
ENCODED = "encoded"
FEATURES = "features"
EXAMPLES = "examples"
# A request of several images is decoded by as many threads.
PARALLEL_CALLS = 2

Arrays = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Receiver:
    """What replaces a `serving_input_receiver_fn`.

    Attributes:
        inputs: What clients send, `{name: Feature}`.
        to_model: Turns it, batched, into the model's inputs.
        request: Makes what a client would send, `{name: array [batch, ...]}`, of a batch of stored features: real
            examples for whoever proves, warms up or documents the signature. `None` where nobody knows how.
        to_model_or_zeros: As `to_model`, but with zeros for the rows that can't be parsed or decoded, and bool
            `[batch]`: which rows are good. `None` where every row of the right shape is.
    """

    inputs: Mapping[str, Feature]
    to_model: Callable[[Features], Features]
    request: Callable[[Arrays], Mapping[str, np.ndarray]] | None = None
    to_model_or_zeros: Callable[[Features], tuple[Features, tf.Tensor]] | None = None


def receivers(pipeline: Pipeline) -> dict[str, Receiver]:
    """The ways into a model behind `pipeline`, by signature name.

    `serving_default` takes raw features (an image as pixels of any size), `serialized` takes `tf.Example` protos under
    `"examples"`, `encoded` takes features as they are stored, where one is encoded media, and `features` takes the
    model's inputs as they are. `serialized` is missing where a `tf.Example` can't hold the features.

    Raises:
        ValueError: A signature of the pipeline's own has one of these names.
    """
    ways = _WaysIn(pipeline)
    raw = ways.raw
    served = {name: feature.served for name, feature in raw.items()}
    found = {DEFAULT: Receiver(served, ways.from_served, ways.as_raw)}
    own_form = type(pipeline).parse is not Pipeline.parse
    if own_form or all(None not in feature.stored.shape[1:] for feature in raw.values()):
        found[SERIALIZED] = Receiver(
            {EXAMPLES: Feature((), "string")},
            ways.from_serialized,
            ways.as_protos,
            # A row of zeros has to have the shape of the others.
            ways.from_serialized_or_zeros if all(None not in feature.shape for feature in raw.values()) else None,
        )
    if any(feature.is_encoded for feature in raw.values()):
        found[ENCODED] = Receiver(stored(raw), ways.from_encoded, dict, ways.from_encoded_or_zeros)
    found[FEATURES] = Receiver(ways.interface, lambda inputs: inputs, ways.as_model_inputs)
    for name, own in pipeline.signatures().items():
        if name in found and name != DEFAULT:
            raise ValueError(f"{pipeline.name} declares the signature {name!r}, which every export has. Rename it.")
        found[name] = Receiver(own.inputs, ways.from_own(own), ways.as_own(own))
    return found


class _WaysIn:
    """What requests become, `from_*`, and how real ones are made of stored features, `as_*`."""

    def __init__(self, pipeline: Pipeline):
        self.pipeline = pipeline
        self.raw = dict(pipeline.features)
        self.interface = pipeline.interface()

    def from_served(self, inputs: Features) -> Features:
        return self.pipeline.preprocess({name: self.raw[name].from_served(inputs[name]) for name in self.raw})

    def from_serialized(self, inputs: Features) -> Features:
        return self.pipeline.preprocess(self._decoded(self.pipeline.parse(inputs[EXAMPLES])))

    def from_serialized_or_zeros(self, inputs: Features) -> tuple[Features, tf.Tensor]:
        def one(proto: tf.Tensor) -> Features:
            features = {name: value[0] for name, value in self.pipeline.parse(proto[tf.newaxis]).items()}
            return {**features, **self.pipeline.decode(features)}

        features, is_good = or_zeros(one, (inputs[EXAMPLES],), self.raw, parallel_calls=PARALLEL_CALLS)
        return self.pipeline.preprocess(features), is_good

    def from_encoded(self, inputs: Features) -> Features:
        return self.pipeline.preprocess(self._decoded(inputs))

    def from_encoded_or_zeros(self, inputs: Features) -> tuple[Features, tf.Tensor]:
        encoded = {name: feature for name, feature in self.raw.items() if feature.is_encoded}
        made, is_good = or_zeros(self.pipeline.decode, (dict(inputs),), encoded, parallel_calls=PARALLEL_CALLS)
        return self.pipeline.preprocess({**inputs, **made}), is_good

    def from_own(self, own: Signature) -> Callable[[Features], Features]:
        where = f"{self.pipeline.name}'s signature {own.name!r}"

        def to_model(inputs: Features) -> Features:
            features = own.function(inputs)
            if own.returns == "model":
                return features
            known = {name: tensor for name, tensor in features.items() if name in self.raw}
            return self.pipeline.preprocess(checked(self._decoded(known), self.raw, where))

        return to_model

    def as_raw(self, features: Arrays) -> dict[str, np.ndarray]:
        return _arrays(self._decoded_at_once(_tensors(features)))

    def as_protos(self, features: Arrays) -> dict[str, np.ndarray]:
        return {EXAMPLES: self.pipeline.serialize(features)}

    def as_model_inputs(self, features: Arrays) -> dict[str, np.ndarray]:
        made = self.pipeline.preprocess(self._decoded_at_once(_tensors(features)))
        return _arrays({name: made[name] for name in self.interface})

    def as_own(self, own: Signature) -> Callable[[Arrays], Mapping[str, np.ndarray]] | None:
        """As the signature says, or of the features that it takes as they are."""
        if own.request is not None:
            return own.request
        for features, make in ((stored(self.raw), dict), (self.raw, self.as_raw)):
            if all(features.get(name) == feature for name, feature in own.inputs.items()):
                return functools.partial(_chosen, make, list(own.inputs))
        return None

    def _decoded(self, features: Features) -> Features:
        return decode_all(features, self.raw, self.pipeline.decode, parallel_calls=PARALLEL_CALLS)

    @functools.cached_property
    def _decoded_at_once(self) -> Callable[[Features], Features]:
        """As `_decoded`, which outside of a graph is made anew for each batch."""
        return tf.function(self._decoded, reduce_retracing=True)


def _chosen(make: Callable[[Arrays], dict[str, np.ndarray]], names: list[str], features: Arrays) -> dict[str, Any]:
    made = make(features)
    return {name: made[name] for name in names}


def _tensors(arrays: Arrays) -> Features:
    return {name: tf.constant(array) for name, array in arrays.items()}


def _arrays(tensors: Features) -> dict[str, np.ndarray]:
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def checked(features: Features, expected: Mapping[str, Feature], where: str) -> dict[str, tf.Tensor]:
    """The tensors that are expected, of the model's inputs or of raw features, each with the shape that is expected.

    Raises:
        ValueError: One is missing, or has another shape or dtype.
    """
    result = {}
    for name, feature in expected.items():
        if name not in features:
            raise ValueError(f"{where} doesn't make {name!r}, which is expected; it makes {sorted(features)}.")
        tensor = tf.convert_to_tensor(features[name])
        if tensor.dtype.name != feature.dtype or not tensor.shape[1:].is_compatible_with(feature.shape):
            raise ValueError(
                f"{where} makes '{name}' as {tensor.dtype.name}{tensor.shape}, expected is "
                f"{feature.dtype}(None, {', '.join(map(str, feature.shape))})."
            )
        result[name] = tf.ensure_shape(tensor, (None, *feature.shape))
    return result
