"""The serving pipeline: what each signature accepts and how that becomes the model's input.

Labels, augmentation and randomness can't get here: a signature is made of `features` and `preprocess` alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import tensorflow as tf

from framework.data.pipeline import Features, Pipeline, Signature
from framework.features import Feature, parse_examples

DEFAULT = "serving_default"
SERIALIZED = "serialized"
FEATURES = "features"
EXAMPLES = "examples"


@dataclasses.dataclass(frozen=True)
class Receiver:
    """What replaces a `serving_input_receiver_fn`.

    Attributes:
        inputs: What clients send, `{name: Feature}`.
        to_model: Turns it, batched, into the model's inputs.
    """

    inputs: Mapping[str, Feature]
    to_model: Callable[[Features], Features]


def receivers(pipeline: Pipeline) -> dict[str, Receiver]:
    """The ways into a model behind `pipeline`, by signature name.

    `serving_default` takes raw features, `serialized` takes `tf.Example` protos under `"examples"`, `features` takes
    the model's inputs as they are. `serialized` is missing where a `tf.Example` can't hold the features.

    Raises:
        ValueError: A signature of the pipeline's own has one of these names.
    """
    raw = dict(pipeline.features)

    def serialized(inputs: Features) -> Features:
        return pipeline.preprocess(parse_examples(inputs[EXAMPLES], raw))

    found = {DEFAULT: Receiver(raw, pipeline.preprocess)}
    if all(None not in feature.shape[1:] for feature in raw.values()):
        found[SERIALIZED] = Receiver({EXAMPLES: Feature((), "string")}, serialized)
    found[FEATURES] = Receiver(pipeline.interface(), lambda inputs: inputs)
    for name, own in pipeline.signatures().items():
        if name in found and name != DEFAULT:
            raise ValueError(f"{pipeline.name} declares the signature {name!r}, which every export has. Rename it.")
        found[name] = Receiver(own.inputs, _own(pipeline, own))
    return found


def _own(pipeline: Pipeline, own: Signature) -> Callable[[Features], Features]:
    def to_model(inputs: Features) -> Features:
        features = own.function(inputs)
        if own.returns == "model":
            return features
        return pipeline.preprocess(checked(features, pipeline.features, f"{pipeline.name}'s signature {own.name!r}"))

    return to_model


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
