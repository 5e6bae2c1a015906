"""Real requests for every signature, made of examples that training doesn't see, and what the live model answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from framework.data.phases import TEST, TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.serving import Receiver
from framework.data.sources import Example
from framework.data.stages import configure
from framework.features import Feature

Arrays = Mapping[str, np.ndarray]
# The sizes of the batches on which a signature is proven.
BATCH_SIZES = (1, 3)


@dataclasses.dataclass(frozen=True)
class Call:
    """A request and the answer that is right.

    Attributes:
        signature: To which.
        inputs: `{name: [batch, ...]}`.
        answers: What the live model answers, `{name: [batch, ...]}`.
    """

    signature: str
    inputs: Arrays
    answers: Arrays

    @property
    def batch_size(self) -> int:
        return len(next(iter(self.inputs.values())))


class Requests:
    """Batches of real examples as clients would send them to each signature; made up where there is no pipeline.

    Args:
        pipeline: Whose held-out split; or `None`.
        receivers: Of the signatures.
    """

    def __init__(self, pipeline: Pipeline | None, receivers: Mapping[str, Receiver]):
        self._pipeline = pipeline
        self._receivers = receivers
        self._made: dict[int, dict[str, dict[str, np.ndarray]]] = {}

    def of(self, size: int) -> dict[str, dict[str, np.ndarray]]:
        """`{signature: {input: [size, ...]}}`, without those for which nobody knows how."""
        if size not in self._made:
            self._made[size] = self._make(size)
        return self._made[size]

    def _make(self, size: int) -> dict[str, dict[str, np.ndarray]]:
        if self._pipeline is None:
            return {name: _made_up_request(receiver, size) for name, receiver in self._receivers.items()}
        stored = stored_examples(self._pipeline, size)
        made = {name: make_request(receiver, stored) for name, receiver in self._receivers.items()}
        return {name: request for name, request in made.items() if request is not None}

    def place(self, row: int) -> str:
        """Where an example of these batches lies, for messages."""
        if self._pipeline is None:
            return "made up"
        phase = held_out_phase(self._pipeline)
        source = self._pipeline.require_source(phase)
        return f"{source.place(row % source.num_examples)} of the {phase} split"


def held_out_phase(pipeline: Pipeline) -> str:
    """The split from which real requests are made: validation, where there is one."""
    return next((phase for phase in (VALIDATION, TEST) if pipeline.has(phase)), TRAIN)


def stored_batches(pipeline: Pipeline, phase: str, batch_size: int) -> Iterator[Example]:
    """A split in order as it is stored, in batches of NumPy arrays."""
    for batch in configure(pipeline.require_source(phase).stored.batches(batch_size)):
        yield Example(*batch).map(lambda tensor: tensor.numpy())


def stored_examples(pipeline: Pipeline, count: int) -> dict[str, np.ndarray]:
    """The features of the first `count` held-out examples as they are stored; over again where there are fewer."""
    phase = held_out_phase(pipeline)
    features = next(stored_batches(pipeline, phase, count)).features
    return {name: np.resize(value, (count, *value.shape[1:])) for name, value in features.items()}


def make_request(receiver: Receiver, stored: Arrays) -> dict[str, np.ndarray] | None:
    """What a client would send to a signature; `None` where nobody knows, or the split hasn't the form for it."""
    if receiver.request is None:
        return None
    made = receiver.request(stored)
    request = {name: np.asarray(made[name]) for name in receiver.inputs if name in made}
    fits = all(name in request and _fits(request[name], feature) for name, feature in receiver.inputs.items())
    return request if fits else None


def _made_up_request(receiver: Receiver, count: int) -> dict[str, np.ndarray]:
    """Values of the right shape and dtype; varying axes are 4 long."""
    return {name: _made_up(feature, count) for name, feature in receiver.inputs.items()}


def _made_up(feature: Feature, count: int) -> np.ndarray:
    shape = (count, *(4 if axis is None else axis for axis in feature.shape))
    if feature.dtype == "string":
        return np.full(shape, "", object)
    return tf.cast(tf.random.stateless_uniform(shape, (0, 0)), feature.dtype).numpy()


def _fits(value: np.ndarray, feature: Feature) -> bool:
    is_text = value.dtype.kind in "OSU"
    same_kind = is_text == (feature.dtype == "string")
    return same_kind and tf.TensorShape(value.shape[1:]).is_compatible_with(feature.shape)
