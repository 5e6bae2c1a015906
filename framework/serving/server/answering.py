"""What a model answers to a request: the part of the server that knows nothing of HTTP."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import functools
import gc
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from framework.data.serving import DEFAULT
from framework.serving.definitions import CLASSIFY, REGRESS, as_json
from framework.serving.predictor import Predictor
from framework.serving.rest import answers
from framework.serving.rest.errors import RequestError, request_error
from framework.serving.rest.examples import serialized_examples
from framework.serving.rest.paths import Target
from framework.serving.rest.requests import parse_json, predict_inputs, signature_name
from framework.serving.server.batching import Batcher, Batching
from framework.serving.server.image_sizes import num_pixels
from framework.serving.server.metrics import Metrics
from framework.serving.server.versions import ServedModel, ServedVersion
from framework.serving.signatures import Arrays, LoadedSignature

_NOT_FOUND, _TOO_LARGE = 404, 413
_EXAMPLES = "inputs"  # what a signature that classifies or regresses calls them
_METHODS = {"classify": CLASSIFY, "regress": REGRESS}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a client can't exceed.

    Attributes:
        body_bytes: Of one request, also when decompressed: 413. A megabyte of JSON keeps everybody waiting for ten
            to fifty milliseconds.
        pending_bytes: Of all requests that are being answered: 503.
        examples: Of one request: 400.
        pixels: Of one image by its header, before it is decoded: 413.
        request_pixels: Of all images of one request: 413. They aren't all in memory at once, but take their time.
        timeout_secs: From a request's beginning to its answer: 504.

    Raises:
        ValueError: One isn't positive.
    """

    body_bytes: int = 32 * 2**20
    pending_bytes: int = 256 * 2**20
    examples: int = 1024
    pixels: int = 2**26
    request_pixels: int = 2**29
    timeout_secs: float = 30.0

    def __post_init__(self):
        if min(dataclasses.astuple(self)) <= 0:
            raise ValueError(f"Limits must be positive, got {self}.")


class Answering:
    """Answers requests for models. Belongs to one event loop, which it keeps free of TensorFlow's work.

    JSON is read and written in the loop: Python's own holds the interpreter's lock all the while, so that a thread
    would make nobody's waiting shorter.

    Args:
        models: `{name: ServedModel}`.
        batching: How requests are joined.
        limits: Of one request.
        metrics: Told of each call of TensorFlow.
    """

    def __init__(self, models: Mapping[str, ServedModel], batching: Batching, limits: Limits, metrics: Metrics):
        self._models = models
        self._batching = batching
        self._limits = limits
        self._metrics = metrics
        self._computing = concurrent.futures.ThreadPoolExecutor(max(4, os.cpu_count() or 1), "computing")

    async def __call__(self, target: Target, body: bytes) -> bytes:
        """The body of an answer.

        Raises:
            RequestError: The request is at fault.
        """
        model = self._models.get(target.model)
        if target.action == "status":
            if model is None:
                raise RequestError(f"Could not find any versions of model {target.model}", _NOT_FOUND)
            return answers.status(model.statuses(target))
        if model is None:
            raise RequestError(f"Servable not found for request: {target}", _NOT_FOUND)
        with model.using(target) as version:
            if target.action == "metadata":
                definitions = {name: as_json(definition) for name, definition in version.definitions.items()}
                return answers.metadata(model.name, version.number, definitions)
            if target.action == "predict":
                return await self._predict(model, version, body)
            return await self._classify_or_regress(model, version, target.action, body)

    def close(self) -> None:
        """Waits for what is being computed."""
        self._computing.shutdown()

    async def _predict(self, model: ServedModel, version: ServedVersion, body: bytes) -> bytes:
        with _no_collections():
            signature, arrays, is_row = _parse_predict(body, version.predictor, self._limits)
        outputs = await self._run(model, version, signature, arrays)
        with _no_collections():
            return answers.predictions(outputs, is_row=is_row)

    async def _classify_or_regress(self, model: ServedModel, version: ServedVersion, action: str, body: bytes) -> bytes:
        with _no_collections():
            signature, protos = _parse_examples(body, version, action, self._limits)
        outputs = await self._run(model, version, signature, {_EXAMPLES: protos})
        if action == "regress":
            return answers.regressions(outputs["outputs"], len(protos))
        return answers.classifications(outputs.get("classes"), outputs.get("scores"), len(protos))

    async def _run(
        self, model: ServedModel, version: ServedVersion, signature: LoadedSignature, arrays: Arrays
    ) -> Arrays:
        size = _size(signature, arrays)
        if size > self._limits.examples:
            raise RequestError(f"The request has {size} examples, the limit is {self._limits.examples}. Send several.")
        batcher = version.attached.get(signature.name)
        if batcher is None:
            batcher = version.attached[signature.name] = Batcher(
                functools.partial(self._compute, model.name, signature),
                self._computing,
                self._batching if _can_join(signature) else dataclasses.replace(self._batching, max_size=1),
                functools.partial(self._metrics.batch, model.name),
            )
        try:
            return await batcher.submit(arrays, size)
        except tf.errors.OpError as error:
            raise request_error(error) from error
        except ValueError as error:  # outputs of a request that was split don't fit together
            raise RequestError(str(error)) from error

    def _compute(self, model: str, signature: LoadedSignature, arrays: Mapping[str, np.ndarray]) -> Arrays:
        """One answer, in a thread."""
        started = time.perf_counter()
        try:
            is_one_call = signature.features is None or 0 < _size(signature, arrays) <= signature.batch_size
            return signature.run(arrays) if is_one_call else signature(**arrays)
        finally:
            self._metrics.run(model, time.perf_counter() - started)


@contextlib.contextmanager
def _no_collections() -> Iterator[None]:
    """Python looks for no reference cycles meanwhile.

    JSON has none, and each few hundred lists would set off a search through those that are there: a megabyte of short
    ones would take ten times as long.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _parse_predict(body: bytes, predictor: Predictor, limits: Limits) -> tuple[LoadedSignature, Arrays, bool]:
    document = parse_json(body)
    name = signature_name(document, DEFAULT)
    signature = predictor.signatures.get(name)
    if signature is None:
        raise RequestError(f'Serving signature name: "{name}" not found in signature def')
    arrays, is_row = predict_inputs(document, signature.inputs)
    _check_images(arrays.values(), limits)
    return signature, arrays, is_row


def _parse_examples(
    body: bytes, version: ServedVersion, action: str, limits: Limits
) -> tuple[LoadedSignature, np.ndarray]:
    document = parse_json(body)
    name = signature_name(document, DEFAULT)
    definition, signature = version.definitions.get(name), version.predictor.signatures.get(name)
    if definition is None or signature is None:
        raise RequestError(f"No signature was found with the name: {name}")
    if definition.method_name != _METHODS[action]:
        raise RequestError(
            f"Expected signature method_name to be {_METHODS[action]}. Was: {definition.method_name}. "
            "Ask it with :predict, or name another signature with 'signature_name'."
        )
    spec = signature.inputs.get(_EXAMPLES)
    needed = {"regress": {"outputs"}, "classify": {"classes", "scores"}}[action]
    if len(signature.inputs) != 1 or spec is None or spec.dtype != tf.string or not needed & set(signature.outputs):
        raise RequestError(
            f"Signature {name!r} has the method name {definition.method_name}, but doesn't take the one input "
            f"{_EXAMPLES!r} (string) and answer {' or '.join(sorted(needed))}."
        )
    protos = serialized_examples(document)
    _check_images([protos], limits)
    return signature, protos


def _check_images(arrays: Iterable[np.ndarray], limits: Limits) -> None:
    """Keeps from decoders what would take more memory or time than there is."""
    values = list(itertools.chain.from_iterable(array.ravel() for array in arrays if array.dtype == object))
    together = 0
    try:
        for pixels in num_pixels(values):
            together += pixels
            if pixels > limits.pixels:
                raise RequestError(f"An image has {pixels:,} pixels, the limit is {limits.pixels:,}.", _TOO_LARGE)
            if together > limits.request_pixels:
                raise RequestError(
                    f"The request's images have more than {limits.request_pixels:,} pixels. Send several requests.",
                    _TOO_LARGE,
                )
    except ValueError as error:
        raise RequestError(str(error)) from error


def _size(signature: LoadedSignature, arrays: Mapping[str, np.ndarray]) -> int:
    """The number of examples.

    Raises:
        RequestError: Inputs have different numbers of them.
    """
    if signature.features is None:
        return 1
    sizes = {name: len(array) for name, array in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise RequestError(f"Inputs must have the same number of examples, got {sizes}.")
    return next(iter(sizes.values()))


def _can_join(signature: LoadedSignature) -> bool:
    """Whether the answer to one request can be cut out of the answer to several.

    Not where an output's shape isn't known: it may be padded to the longest of the batch.
    """
    return signature.features is not None and all(
        spec.shape.rank and None not in spec.shape[1:] for spec in signature.outputs.values()
    )
