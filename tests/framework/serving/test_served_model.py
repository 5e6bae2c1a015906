"""Which versions are served: policies, hot swap, failures, warm-up."""

import asyncio
import gc
import os
import shutil
import time
import weakref

import numpy as np
import psutil
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from framework.serving.locating import versions_base
from framework.serving.rest.errors import RequestError
from framework.serving.rest.paths import Target
from framework.serving.server import versions
from framework.serving.server.versions import ServedModel, VersionPolicy
from framework.serving.server.warmup import REQUESTS

LATEST = Target("m", "predict")


def put(saved_model, directory):
    """Publishes as the framework does: a rename."""
    temporary = directory.parent / f".tmp-{directory.name}"
    shutil.copytree(saved_model, temporary)
    os.rename(temporary, directory)


def serve(scenario, base, **options):
    """Runs `await scenario(model)` on a model that was polled once."""

    async def main():
        model = ServedModel("m", base, **options)
        try:
            await model.poll()
            return await scenario(model)
        finally:
            model.close()

    return asyncio.run(main())


def total(version):
    return version.predictor(z=[[0, 0]], a=[1])["total"].tolist()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("latest", [10]),
        ("latest:2", [3, 10]),
        ("latest:9", [1, 2, 3, 10]),
        ("all", [1, 2, 3, 10]),
        ("2", [2]),
        ("3, 1,7", [1, 3]),
    ],
)
def test_policies(text, wanted):
    assert VersionPolicy.parse(text).wanted([10, 2, 1, 3]) == wanted


@pytest.mark.parametrize("text", ["", "newest", "latest:", "latest:x", "latest:-1", "1;2", "1,", "-1", "all:2"])
def test_policies_that_are_none(text):
    with pytest.raises(ValueError, match="Versions are latest, latest:2, all, or numbers"):
        VersionPolicy.parse(text)
    with pytest.raises(ValueError, match="At least one version must be served, got latest=0"):
        VersionPolicy.parse("latest:0")


def test_a_new_version_takes_over(tmp_path, small, offset_by_100):
    put(small, tmp_path / "1")

    async def scenario(model):
        with model.using(LATEST) as old:
            assert total(old) == [1.0]
            put(offset_by_100, tmp_path / "2")
            await model.poll()
            # New requests go to the new one; this one still has its own.
            with model.using(LATEST) as new:
                assert (new.number, total(new)) == (2, [101.0])
            assert [state for _, state, _, _ in model.statuses(LATEST)] == ["AVAILABLE", "UNLOADING"]
            assert total(old) == [1.0]
            predictor = weakref.ref(old.predictor)
        assert model.statuses(LATEST) == [(2, "AVAILABLE", "OK", ""), (1, "END", "OK", "")]
        with pytest.raises(RuntimeError, match="isn't loaded; its state is END"):
            _ = old.predictor
        gc.collect()
        assert predictor() is None
        with pytest.raises(RequestError, match=r"Servable not found for request: Specific\(m, 1\)") as caught:
            model.using(Target("m", "predict", version=1)).__enter__()
        assert caught.value.status == 404

    serve(scenario, tmp_path)


def test_the_old_version_answers_until_a_new_one_can(tmp_path, small):
    put(small, tmp_path / "1")

    async def scenario(model):
        (tmp_path / "2").mkdir()
        (tmp_path / "2" / "saved_model.pb").write_bytes(b"\xff\xff\xff")
        (tmp_path / "3").write_text("a file")
        await model.poll()
        assert model.available == [1]
        version, state, code, message = model.statuses(LATEST)[0]
        assert (version, state, code) == (3, "END", "UNKNOWN")
        assert "Not a directory" in message
        os.remove(tmp_path / "3")
        await model.poll()
        assert model.statuses(LATEST)[1][:3] == (2, "END", "INVALID_ARGUMENT")
        assert "isn't a SavedModel" in model.statuses(LATEST)[1][3]
        assert model.available == [1]

    serve(scenario, tmp_path)


def test_a_version_that_is_still_being_copied_is_tried_again(tmp_path, small, monkeypatch):
    now = [0.0]

    async def scenario(model):
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
        assert model.statuses(LATEST)[0][:3] == (1, "END", "NOT_FOUND")
        shutil.copytree(small, tmp_path / "1", dirs_exist_ok=True)
        await model.poll()
        assert not model.is_available  # too early
        now[0] += 1e6
        await model.poll()
        assert model.available == [1]

    (tmp_path / "1").mkdir()
    serve(scenario, tmp_path)


def test_pauses_grow_with_each_failure(tmp_path, monkeypatch):
    (tmp_path / "1").mkdir()
    now = [0.0]
    tried = []

    async def scenario(model):
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0])
        model._retries.clear()
        last = None
        for now[0] in range(400):
            await model.poll()
            version = model._versions[1]
            if version is not last:
                tried.append(now[0])
                last = version

    serve(scenario, tmp_path)
    assert np.diff(tried).tolist() == [1, 2, 4, 8, 16, 32, 60, 60, 60, 60, 60]


def test_policies_of_a_model(tmp_path, small, offset_by_100):
    for name in ("1", "2", "00000010"):
        put(small, tmp_path / name)
    put(offset_by_100, tmp_path / "7")

    async def two(model):
        assert model.available == [7, 10]
        with model.using(Target("m", "predict", version=7)) as version:
            assert total(version) == [101.0]
        with model.using(Target("m", "predict", label="stable")) as version:
            assert version.number == 7
        assert model.statuses(Target("m", "status", label="stable"))[0][0] == 7
        with pytest.raises(RequestError, match="Unrecognized servable version label: canary") as caught:
            model.statuses(Target("m", "status", label="canary"))
        assert caught.value.status == 400
        with pytest.raises(RequestError, match=r"not found for request: Specific\(m, 2\)"):
            model.using(Target("m", "predict", label="old")).__enter__()
        with pytest.raises(RequestError, match="Could not find version 2 of model m"):
            model.statuses(Target("m", "status", version=2))

    serve(two, tmp_path, policy=VersionPolicy(latest=2), labels={"stable": 7, "old": 2})

    async def specific(model):
        assert model.available == [2]

    serve(specific, tmp_path, policy=VersionPolicy(specific=(2, 5)))


def test_versions_that_are_deleted(tmp_path, small):
    put(small, tmp_path / "1")
    put(small, tmp_path / "2")

    async def scenario(model):
        assert model.available == [2]
        shutil.rmtree(tmp_path / "2")
        await model.poll()
        assert model.available == [1]  # rolled back to what is there
        tmp_path.rename(tmp_path.parent / "away")
        await model.poll()
        assert model.available == [1]  # a disk that is away for a moment
        tmp_path.mkdir()
        await model.poll()
        assert model.available == []
        with pytest.raises(RequestError, match=r"Servable not found for request: Latest\(m\)"):
            model.using(LATEST).__enter__()

    serve(scenario, tmp_path)


def test_a_single_saved_model(small, tmp_path):
    async def scenario(model):
        return model.available

    assert serve(scenario, small) == [1]
    put(small, tmp_path / "mine")
    assert serve(scenario, tmp_path / "mine") == [1]


def test_a_run_that_has_just_begun(tmp_path, small):
    (tmp_path / "config.json").write_text("{}")
    base = versions_base(tmp_path)
    assert base == tmp_path / "export"

    async def scenario(model):
        await model.poll()
        assert not model.is_available
        base.mkdir()
        await model.poll()
        put(small, base / "1")
        await model.poll()
        assert model.available == [1]

    serve(scenario, base)
    assert versions_base(tmp_path) == versions_base(base) == base
    assert versions_base(small) == small
    assert versions_base(tmp_path / "nowhere") == tmp_path / "nowhere"


def test_memory_of_versions_that_go_is_freed(tmp_path):
    """Six times a version of 20 MB."""
    saved = tmp_path / "saved"
    module = tf.Module()
    module.weights = tf.Variable(tf.zeros([5_000_000]))
    serve_sum = tf.function(lambda x: {"y": x + tf.reduce_mean(module.weights)})
    signature = serve_sum.get_concrete_function(tf.TensorSpec([None], tf.float32, "x"))
    tf.saved_model.save(module, str(saved), signatures=signature)
    base = tmp_path / "versions"
    base.mkdir()

    async def scenario(model):
        sizes = []
        for number in range(1, 7):
            shutil.copytree(saved, base / str(number), copy_function=os.link)
            await model.poll()
            assert model.available == [number]
            await asyncio.get_running_loop().run_in_executor(model._loader, gc.collect)
            sizes.append(psutil.Process().memory_info().rss / 2**20)
        return sizes

    sizes = serve(scenario, base)
    assert sizes[-1] - sizes[1] < 50


def test_a_version_that_fails_its_warm_up_is_freed(tmp_path, small, monkeypatch):
    put(small, tmp_path / "1")
    predictors = []

    def refuse(predictor):
        predictors.append(weakref.ref(predictor))
        raise ValueError("a bad request")

    monkeypatch.setattr(versions, "warm_up", refuse)

    async def scenario(model):
        await asyncio.get_running_loop().run_in_executor(model._loader, time.perf_counter)  # after what was submitted
        return model.statuses(LATEST), [predictor() for predictor in predictors]

    assert serve(scenario, tmp_path) == ([(1, "END", "INVALID_ARGUMENT", "a bad request")], [None])


def test_nothing_there(tmp_path):
    async def scenario(model):
        with pytest.raises(RequestError, match="Could not find any versions of model m") as caught:
            model.statuses(LATEST)
        assert caught.value.status == 404

    serve(scenario, tmp_path / "nowhere")
    with pytest.raises(ValueError, match="needs a name"):
        ServedModel("", tmp_path)


def _write_requests(directory, *requests):
    path = directory / REQUESTS
    path.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(path)) as writer:
        for signature, inputs in requests:
            log = prediction_log_pb2.PredictionLog()
            log.predict_log.request.model_spec.signature_name = signature
            for name, array in inputs.items():
                log.predict_log.request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
            writer.write(log.SerializeToString())
        writer.write(prediction_log_pb2.PredictionLog(classify_log={}).SerializeToString())


def test_warm_up_requests_are_replayed(tmp_path, small):
    """A bad one speaks against its version, as it does in TensorFlow Serving."""
    good = ("", {"z": np.zeros((2, 2), np.float32), "a": np.zeros(2, np.uint8)})
    shutil.copytree(small, tmp_path / "1")
    _write_requests(tmp_path / "1", good, ("root", {"x": np.ones(3, np.float32)}))
    shutil.copytree(small, tmp_path / "2")
    _write_requests(tmp_path / "2", good, ("root", {"x": -np.ones(3, np.float32)}))
    shutil.copytree(small, tmp_path / "3")
    _write_requests(tmp_path / "3", ("roots", {"x": np.ones(3, np.float32)}))

    async def scenario(model):
        return {version: (state, message) for version, state, _, message in model.statuses(LATEST)}

    statuses = serve(scenario, tmp_path, policy=VersionPolicy(latest=None))
    assert statuses[1] == ("AVAILABLE", "")
    assert "x must not be negative" in statuses[2][1]
    assert "no signature 'roots'" in statuses[3][1]
