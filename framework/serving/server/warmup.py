"""A version answers before clients see it: the first call of a graph optimizes it and takes its time."""

from __future__ import annotations

import contextlib
import pathlib
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from framework import extras
from framework.data.serving import DEFAULT
from framework.serving.predictor import Predictor
from framework.serving.signatures import LoadedSignature

REQUESTS = pathlib.Path("assets.extra", "tf_serving_warmup_requests")


def warm_up(predictor: Predictor) -> None:
    """Calls every signature: with the export's warm-up requests where it has some, else with made-up values.

    The requests are those that TensorFlow Serving replays, and like there a bad one speaks against the version. To
    read them takes the package tensorflow-serving-api (the extra `serving`).

    Raises:
        ValueError: A warm-up request doesn't fit.
        LookupError: A warm-up request is for a signature that there isn't.
        tf.errors.OpError: A warm-up request is refused.
    """
    replayed = _replay(predictor, predictor.path / REQUESTS)
    for name, signature in predictor.signatures.items():
        if name not in replayed:
            # Empty text may be refused, being no image; the graph is ready all the same.
            with contextlib.suppress(tf.errors.OpError, ValueError):
                signature.run(_made_up(signature))


def _replay(predictor: Predictor, path: pathlib.Path) -> set[str]:
    """Names of the signatures that were called."""
    if not path.is_file():
        return set()
    try:
        prediction_log_pb2: Any = extras.require(
            "tensorflow_serving.apis.prediction_log_pb2", extra="serving", purpose="Replaying warm-up requests"
        )
    except ImportError as error:
        logging.warning("%s They are left out.", error)
        return set()
    called = set()
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        if log.WhichOneof("log_type") != "predict_log":
            continue
        request = log.predict_log.request
        signature = predictor(request.model_spec.signature_name or DEFAULT)
        signature(**{name: tf.make_ndarray(proto) for name, proto in request.inputs.items()})
        called.add(signature.name)
    return called


def _made_up(signature: LoadedSignature) -> dict[str, np.ndarray]:
    """One example of zeros and empty text."""
    arrays = {}
    for name, spec in signature.inputs.items():
        shape = [1] if spec.shape.rank is None else [1 if axis is None else axis for axis in spec.shape]
        is_text = spec.dtype == tf.string
        arrays[name] = np.full(shape, b"", object) if is_text else np.zeros(shape, spec.dtype.as_numpy_dtype)
    return arrays
