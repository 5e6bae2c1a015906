"""Warm-up requests as TensorFlow Serving reads them."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from framework.export import Exports, ProofError, fresh_process
from framework.export.warm_up import FILE, prove_warm_up, read_warm_up, write_warm_up


def test_every_signature_is_called_at_every_batch_size(full):
    found = [(name, len(next(iter(inputs.values())))) for name, inputs in read_warm_up(full.path)]
    names = ("serving_default", "serialized", "features", "saliency", "classify")
    assert sorted(found) == sorted((name, size) for name in names for size in (1, 4))


def test_requests_are_those_of_real_examples(full):
    source = full.pipeline.source("validation").arrays
    requests = {(name, len(next(iter(inputs.values())))): inputs for name, inputs in read_warm_up(full.path)}
    for name, values in requests["serving_default", 4].items():
        expected = source.features[name][:4]
        got = [value.decode() for value in values] if values.dtype == object else values
        np.testing.assert_array_equal(got, expected)
    parsed = full.pipeline.parse(tf.constant(requests["classify", 4]["inputs"]))
    np.testing.assert_array_equal(parsed["height"], source.features["height"][:4])


def test_records_have_the_form_that_tensorflow_serving_replays(full):
    kinds = set()
    for record in tf.data.TFRecordDataset(str(full.path / FILE)):
        log = prediction_log_pb2.PredictionLog.FromString(record.numpy())
        kind = log.WhichOneof("log_type")
        kinds.add(kind)
        request = getattr(log, kind).request
        assert (request.model_spec.signature_name == "classify") == (kind == "classify_log")
    assert kinds == {"predict_log", "classify_log"}


def test_a_request_that_fails_is_refused_before_it_is_published(full, tmp_path):
    write_warm_up(tmp_path, [("serialized", {"examples": np.array([b"no proto"], object)})])
    with (
        fresh_process.shared().loaded(full.path) as export,
        pytest.raises(ProofError, match=r"(?s)Warm-up request 0 fails: .*warm-up', signature 'serialized'"),
    ):
        prove_warm_up(export, tmp_path)


def test_no_more_than_tensorflow_serving_takes(tmp_path):
    with pytest.raises(ValueError, match=r"would take 1001 requests, TensorFlow Serving takes 1000"):
        write_warm_up(tmp_path, [("a", {})] * 1001)


@pytest.mark.parametrize("sizes", [(0,), (1, "2"), 3])
def test_batch_sizes_are_checked_early(sizes):
    with pytest.raises(ValueError, match=r"warmup takes batch sizes such as \(1, 32\), got"):
        Exports(warmup=sizes)


def test_the_package_is_missed_early(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorflow_serving.apis.prediction_log_pb2", None)
    with pytest.raises(ImportError, match=r"Writing warm-up requests needs tensorflow_serving.*\[serving\]"):
        Exports(warmup=(1,))
