"""What the live model answers to real requests: what an export has to answer too."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from framework.data.pipeline import Features, Pipeline
from framework.data.serving import DEFAULT, FEATURES, SERIALIZED, Receiver
from framework.export.answers import ERROR
from framework.export.forward import run
from framework.export.held_out import BATCH_SIZES, Arrays, Call, Requests
from framework.export.method_names import METHODS, method_answers
from framework.export.parity import Difference, find_difference
from framework.export.signatures import Signatures, plain_predictions


class LiveModel:
    """Answers the requests of every signature with the weights of the moment.

    A signature turns a request into the model's inputs and calls the model. The inputs don't depend on weights: they
    are made once, of all signatures' requests, and are mostly the same. So each time the model is called once for each
    batch size, by the signature that takes its inputs as they are, and the others have to answer likewise.

    Args:
        model: The model.
        pipeline: Of the signatures; `None` where they are the model's own.
        signatures: Traced.
        receivers: How requests become the model's inputs.
        requests: For every signature.

    Attributes:
        plain: The signature that takes the model's inputs as they are.
    """

    def __init__(
        self,
        model: keras.Model,
        pipeline: Pipeline | None,
        signatures: Signatures,
        receivers: Mapping[str, Receiver],
        requests: Requests,
    ):
        self._model = model
        self._pipeline = pipeline
        self._signatures = signatures
        self._receivers = receivers
        self._requests = requests
        self.plain = DEFAULT if pipeline is None else FEATURES

    def calls(self) -> list[Call]:
        """Requests to every signature, with the answers of this moment."""
        # On the CPU, as in the fresh process: what differs is the export then, not the arithmetic of a GPU.
        with tf.device("CPU:0"):
            return [call for size in BATCH_SIZES for call in self._calls_of(size)]

    def _calls_of(self, size: int) -> list[Call]:
        requests = self._requests.of(size)
        answered = [self._function(self.plain, inputs) for inputs, _ in self._distinct_inputs[size]]
        answers: dict[str, Arrays] = {}
        for number, (_, names) in enumerate(self._distinct_inputs[size]):
            for name in names:
                answers[name] = self._complete(name, answered[number])
        for name in requests:
            if name not in answers:
                answers[name] = self._other(name, requests[name], answers)
        return [Call(name, request, answers[name]) for name, request in requests.items()]

    @functools.cached_property
    def _distinct_inputs(self) -> dict[int, list[tuple[Arrays, list[str]]]]:
        """For each batch size: inputs of the model, and the signatures whose requests become these."""
        found: dict[int, list[tuple[Arrays, list[str]]]] = {}
        for size in BATCH_SIZES:
            found[size] = []
            for name, request in self._requests.of(size).items():
                if name in self._receivers:
                    inputs = self._model_inputs(name, request)
                    same = next((names for other, names in found[size] if _are_equal(inputs, other)), None)
                    if same is None:
                        found[size].append((inputs, [name]))
                    else:
                        same.append(name)
        return found

    def _model_inputs(self, name: str, request: Arrays) -> Arrays:
        made = self._to_model[name](self._tensors(name, request))
        return {key: made[key].numpy() for key in self._signatures.inputs[self.plain]}

    @functools.cached_property
    def _to_model(self) -> dict[str, Callable[[Features], Features]]:
        # In a graph, as in the signature: called eagerly, what is rounded may be rounded otherwise.
        made = {}
        for name, receiver in self._receivers.items():
            specs = {key: feature.spec(key) for key, feature in receiver.inputs.items()}
            made[name] = tf.function(receiver.to_model, input_signature=[specs])
        return made

    def _complete(self, name: str, answers: Arrays) -> Arrays:
        """With what a signature says of each row besides: that it could be decoded."""
        if ERROR not in self._signatures.outputs[name] or ERROR in answers:
            return answers
        size = len(next(iter(answers.values())))
        return {**answers, ERROR: np.full(size, b"", object)}

    def _other(self, name: str, request: Arrays, answers: Mapping[str, Arrays]) -> Arrays:
        """Answers of a signature that does more than call the model."""
        if name in METHODS and self._pipeline is not None:
            return _arrays(method_answers(self._pipeline.task)(answers[SERIALIZED]))
        return self._function(name, request)

    def _function(self, name: str, request: Arrays) -> Arrays:
        return _arrays(self._signatures.functions[name](**self._tensors(name, request)))

    def _tensors(self, name: str, request: Arrays) -> dict[str, tf.Tensor]:
        features = self._signatures.inputs[name]
        return {key: tf.constant(value, features[key].dtype) for key, value in request.items()}

    def find_difference_from_keras(
        self, calls: Sequence[Call], tolerance: float, thresholds: Sequence[float]
    ) -> Difference | None:
        """Whether the signature that takes the model's inputs answers as the model does when Keras calls it."""
        predict = plain_predictions if self._pipeline is None else self._pipeline.task.predictions
        call = next(call for call in calls if call.signature == self.plain)
        with tf.device("CPU:0"):
            expected = _arrays(predict(run(self._model, self._tensors(self.plain, call.inputs))))
        answers = {key: call.answers[key] for key in expected if key in call.answers}
        return find_difference(answers, expected, tolerance, thresholds=thresholds)


def _are_equal(one: Arrays, other: Arrays) -> bool:
    return all(value.shape == other[name].shape and np.array_equal(value, other[name]) for name, value in one.items())


def _arrays(tensors: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    return {name: np.asarray(value) for name, value in tensors.items()}
