"""Warm-up requests: what TensorFlow Serving runs before a version takes its first real one.

`assets.extra/tf_serving_warmup_requests` is a TFRecord of `PredictionLog`s, of at most 1,000 records. One that fails
keeps TensorFlow Serving from loading the version, so each is read back and answered before the export is published.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from framework.export.errors import ProofError
from framework.export.fresh_process import FreshExport, RefusedError
from framework.export.held_out import Arrays
from framework.export.method_names import CLASSIFY, INPUTS, REGRESS
from framework.extras import require

FILE = pathlib.Path("assets.extra", "tf_serving_warmup_requests")
MAX_RECORDS = 1000

Requests = Sequence[tuple[str, Arrays]]


def check_batch_sizes(batch_sizes: Sequence[int]) -> tuple[int, ...]:
    """The batch sizes to warm up.

    Raises:
        ValueError: One isn't a positive integer.
        ImportError: TensorFlow Serving's messages aren't installed.
    """
    if isinstance(batch_sizes, int) or not all(isinstance(size, int) and size >= 1 for size in batch_sizes):
        raise ValueError(f"warmup takes batch sizes such as (1, 32), got {batch_sizes!r}.")
    if batch_sizes:
        _log_messages()
    return tuple(batch_sizes)


def write_warm_up(export_dir: pathlib.Path, requests: Requests) -> int:
    """Writes requests `(signature, {input: [batch, ...]})` into an export that isn't published yet.

    Returns:
        How many records there are.

    Raises:
        ValueError: There are more than TensorFlow Serving takes.
    """
    if len(requests) > MAX_RECORDS:
        raise ValueError(
            f"Warm-up would take {len(requests)} requests, TensorFlow Serving takes {MAX_RECORDS}: fewer batch sizes."
        )
    path = pathlib.Path(export_dir) / FILE
    path.parent.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            writer.write(_record(signature, inputs).SerializeToString(deterministic=True))
    return len(requests)


def read_warm_up(export_dir: pathlib.Path) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """The requests of an export, `(signature, {input: [batch, ...]})`."""
    log = _log_messages()
    for record in tf.data.TFRecordDataset(str(pathlib.Path(export_dir) / FILE)):
        message = log.PredictionLog.FromString(record.numpy())
        if message.HasField("predict_log"):
            request = message.predict_log.request
            inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
        else:
            request = (message.classify_log if message.HasField("classify_log") else message.regress_log).request
            examples = [example.SerializeToString() for example in request.input.example_list.examples]
            inputs = {INPUTS: np.array(examples, object)}
        yield request.model_spec.signature_name, inputs


def prove_warm_up(export: FreshExport, export_dir: pathlib.Path) -> None:
    """Reads each request back and has it answered.

    Raises:
        ProofError: One fails.
    """
    for number, (signature, inputs) in enumerate(read_warm_up(export_dir)):
        try:
            export.call(signature, inputs)
        except RefusedError as error:
            raise ProofError("warm-up", f"Warm-up request {number} fails: {error}", signature=signature) from error


def _record(signature: str, inputs: Mapping[str, np.ndarray]) -> Any:
    message = _log_messages().PredictionLog()
    if signature in (CLASSIFY, REGRESS):
        log = message.classify_log if signature == CLASSIFY else message.regress_log
        for proto in inputs[INPUTS]:
            log.request.input.example_list.examples.append(tf.train.Example.FromString(proto))
        log.request.model_spec.signature_name = signature
        return message
    request = message.predict_log.request
    request.model_spec.signature_name = signature
    for name, value in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
    return message


def _log_messages() -> Any:
    return require("tensorflow_serving.apis.prediction_log_pb2", extra="serving", purpose="Writing warm-up requests")
