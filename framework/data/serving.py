"""The serving pipeline: what each signature accepts and how that becomes the model's input.

Labels, augmentation and randomness can't get here: a signature is made of `features` and `preprocess` alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np
import tensorflow as tf

from framework.data.decoding import decode_all
from framework.data.pipeline import Features, Pipeline, Signature
from framework.features import Feature, stored

DEFAULT = "serving_default"
SERIALIZED = "serialized"
ENCODED = "encoded"
FEATURES = "features"
EXAMPLES = "examples"
# A request of several images is decoded by as many threads.
PARALLEL_CALLS = 2


@dataclasses.dataclass(frozen=True)
class Receiver:
    """What replaces a `serving_input_receiver_fn`.

    Attributes:
        inputs: What clients send, `{name: Feature}`.
        to_model: Turns it, batched, into the model's inputs.
        request: Makes what a client would send, `{name: array [batch, ...]}`, of a batch of stored features: real
            examples for whoever proves, warms up or documents the signature. `None` where nobody knows how.
    """

    inputs: Mapping[str, Feature]
    to_model: Callable[[Features], Features]
    request: Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]] | None = None


def receivers(pipeline: Pipeline) -> dict[str, Receiver]:
    """The ways into a model behind `pipeline`, by signature name.

    `serving_default` takes raw features (an image as pixels of any size), `serialized` takes `tf.Example` protos under
    `"examples"`, `encoded` takes features as they are stored, where one is encoded media, and `features` takes the
    model's inputs as they are. `serialized` is missing where a `tf.Example` can't hold the features.

    Raises:
        ValueError: A signature of the pipeline's own has one of these names.
    """
    raw = dict(pipeline.features)
    served = {name: feature.served for name, feature in raw.items()}

    def decoded(features: Features) -> Features:
        return decode_all(features, raw, pipeline.decode, parallel_calls=PARALLEL_CALLS)

    def from_served(inputs: Features) -> Features:
        return pipeline.preprocess({name: raw[name].from_served(inputs[name]) for name in raw})

    def from_serialized(inputs: Features) -> Features:
        return pipeline.preprocess(decoded(pipeline.parse(inputs[EXAMPLES])))

    def as_protos(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {EXAMPLES: pipeline.serialize(features)}

    def as_raw(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return _arrays(decoded({name: tf.constant(value) for name, value in features.items()}))

    def as_model_inputs(features: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        made = pipeline.preprocess({name: tf.constant(value) for name, value in as_raw(features).items()})
        return {name: made[name].numpy() for name in interface}

    interface = pipeline.interface()
    found = {DEFAULT: Receiver(served, from_served, as_raw)}
    own_parse = type(pipeline).parse is not Pipeline.parse
    if own_parse or all(None not in feature.stored.shape[1:] for feature in raw.values()):
        found[SERIALIZED] = Receiver({EXAMPLES: Feature((), "string")}, from_serialized, as_protos)
    if any(feature.is_encoded for feature in raw.values()):
        found[ENCODED] = Receiver(stored(raw), lambda inputs: pipeline.preprocess(decoded(inputs)), dict)
    found[FEATURES] = Receiver(interface, lambda inputs: inputs, as_model_inputs)
    for name, own in pipeline.signatures().items():
        if name in found and name != DEFAULT:
            raise ValueError(f"{pipeline.name} declares the signature {name!r}, which every export has. Rename it.")
        found[name] = Receiver(own.inputs, _own(pipeline, own, decoded), _own_request(pipeline, own, as_raw))
    return found


def _own(pipeline: Pipeline, own: Signature, decoded: Callable[[Features], Features]) -> Callable[[Features], Features]:
    where = f"{pipeline.name}'s signature {own.name!r}"

    def to_model(inputs: Features) -> Features:
        features = own.function(inputs)
        if own.returns == "model":
            return features
        known = {name: tensor for name, tensor in features.items() if name in pipeline.features}
        return pipeline.preprocess(checked(decoded(known), pipeline.features, where))

    return to_model


def _own_request(pipeline: Pipeline, own: Signature, as_raw: Callable) -> Callable | None:
    """How to make a request for a signature of the pipeline's own: as it says, or of features that it takes as such."""
    if own.request is not None:
        return own.request
    names = set(own.inputs)
    for features, make in ((stored(pipeline.features), dict), (dict(pipeline.features), as_raw)):
        if names <= set(features) and all(features[name] == own.inputs[name] for name in names):
            return lambda values, make=make: {name: make(values)[name] for name in names}
    return None


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
