import errno
import random
import threading

import keras
import numpy as np
import pytest

from framework import files
from framework.callbacks.background import BackgroundWriter
from framework.data.train import Position
from framework.training import checkpoints
from framework.training.checkpointing import SaveCheckpoints
from framework.training.checkpoints import CheckpointStore, Snapshot
from framework.training.config import Checkpoints
from framework.training.preemption import Signals


def snapshot(epoch, step=0, size=300):
    arrays = {"variable/0/0": np.arange(size, dtype=np.float32) + epoch, "variable/1/0": np.array(7, np.int64)}
    return Snapshot(Position(epoch, step), arrays, {"stopped": False, "callbacks": [["History", {"epoch": [0]}]]})


def assert_same(got, expected):
    assert got.position == expected.position
    assert got.meta == expected.meta
    assert got.arrays.keys() == expected.arrays.keys()
    for name, array in expected.arrays.items():
        np.testing.assert_array_equal(got.arrays[name], array)
        assert got.arrays[name].dtype == array.dtype


def test_what_is_saved_comes_back_and_the_newest_wins(tmp_path):
    store = CheckpointStore(tmp_path, keep=3)
    assert store.newest() is None
    for position in ((0, 7), (0, 12), (1, 0)):
        store.save(snapshot(*position))
    assert store.positions() == [Position(0, 7), Position(0, 12), Position(1, 0)]
    assert_same(store.newest(), snapshot(1))


def test_only_the_newest_stay(tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for epoch in range(5):
        store.save(snapshot(epoch))
    assert store.positions() == [Position(3), Position(4)]


@pytest.mark.parametrize("name", ["snapshot.npz", "blake2b"])
@pytest.mark.parametrize("damage", ["truncated", "bit flipped", "missing"])
def test_a_damaged_checkpoint_is_found_and_the_one_before_it_used(name, damage, tmp_path, caplog):
    store = CheckpointStore(tmp_path, keep=2)
    rng = random.Random(0)
    store.save(snapshot(1))
    store.save(snapshot(2))
    whole = {path.name: path.read_bytes() for path in (tmp_path / "00000002-00000000").iterdir()}
    size = len(whole[name])
    # A hundred places, the first and last bytes (the headers) among them.
    places = sorted({*range(min(20, size)), *range(max(size - 20, 0), size), *(rng.randrange(size) for _ in range(60))})
    for place in places if damage != "missing" else [0]:
        folder = tmp_path / "00000002-00000000"
        folder.mkdir(exist_ok=True)
        for file, content in whole.items():
            (folder / file).write_bytes(content)
        damaged = bytearray(whole[name])
        if damage == "truncated":
            del damaged[place:]
        damaged[place : place + 1] = (
            bytes([damaged[place] ^ (1 << rng.randrange(8))]) if damage == "bit flipped" else b""
        )
        (folder / name).write_bytes(damaged)
        if damage == "missing":
            (folder / name).unlink()
        assert_same(store.newest(), snapshot(1))
        assert not folder.exists()
    assert "Going on from the checkpoint before it" in caplog.text


def test_an_interrupted_write_leaves_no_checkpoint_and_is_swept(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, keep=2)
    store.save(snapshot(1))
    (tmp_path / ".tmp-00000002-00000000-abc").mkdir()
    assert_same(store.newest(), snapshot(1))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001-00000000"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("moment", ["write", "sync"])
def test_a_full_or_failing_disk_leaves_what_was_there(number, moment, tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(snapshot(1))

    def fail(*_, **__):
        raise OSError(number, "the disk says no")

    monkeypatch.setattr(*((checkpoints.np, "savez", fail) if moment == "write" else (files, "sync", fail)))
    with pytest.raises(OSError, match="the disk says no"):
        store.save(snapshot(2))
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000001-00000000"]
    assert_same(store.newest(), snapshot(1))


def test_one_job_at_a_time_and_errors_surface_once():
    writer, gate, order = BackgroundWriter(), threading.Event(), []
    writer.submit(lambda: (gate.wait(10), order.append(1)))
    assert writer.busy
    writer.check()  # nothing to say yet
    gate.set()
    writer.submit(lambda: order.append(2))
    writer.wait()
    assert order == [1, 2]

    def fail():
        raise OSError(errno.ENOSPC, "full")

    writer.submit(fail)
    with pytest.raises(OSError, match="full"):
        writer.close()
    writer.check()
    writer.close()


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


def saving(tmp_path, when, clock=None):
    """The callback on a model of one weight, in an epoch of 10 steps."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    callback = SaveCheckpoints(
        CheckpointStore(tmp_path, keep=100), [], when, steps=10, signals=Signals(), clock=clock or Clock()
    )
    callback.set_model(model)
    callback.set_params({"epochs": 2})
    callback.on_train_begin()
    callback.on_epoch_begin(0)
    return callback


def run_batches(callback, count, after=lambda: None, first=0, size=1):
    for batch in range(first, first + count * size, size):
        callback.on_train_batch_begin(batch)
        callback.on_train_batch_end(batch + size - 1)
        callback._writer.wait()
        after()


def test_every_steps_counts_steps_also_when_a_call_runs_several(tmp_path):
    callback = saving(tmp_path / "one", Checkpoints(every_steps=4, every_secs=None))
    run_batches(callback, 10)
    assert callback._store.positions() == [Position(0, 4), Position(0, 8)]
    callback = saving(tmp_path / "two", Checkpoints(every_steps=3, every_secs=None))
    run_batches(callback, 5, size=2)
    assert callback._store.positions() == [Position(0, 4), Position(0, 8)]
    callback = saving(tmp_path / "resumed", Checkpoints(every_steps=4, every_secs=None))
    run_batches(callback, 6, first=3)
    assert callback._store.positions() == [Position(0, 7)]


def test_every_secs_by_a_clock_that_may_go_backwards(tmp_path):
    clock = Clock()
    callback = saving(tmp_path, Checkpoints(every_secs=30), clock)
    ticks = iter([10, 10, 15, -500, 10, 10, 10, 0, 0, 0])

    def tick():
        clock.now += next(ticks)

    run_batches(callback, 10, after=tick)
    # Due after 35 seconds, in step 4 (0-based 3); then the clock jumps back: nothing breaks, nothing is saved twice.
    assert callback._store.positions() == [Position(0, 4)]


def test_a_failed_checkpoint_warns_or_raises_as_configured(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints.np, "savez", fail)
    callback = saving(tmp_path / "warn", Checkpoints(every_epochs=1, on_error="warn"))
    callback.on_epoch_end(0)
    callback.on_train_end()
    assert "No space left on device" in caplog.text
    callback = saving(tmp_path / "raise", Checkpoints(every_epochs=1, on_error="raise"))
    callback.on_epoch_end(0)
    with pytest.raises(OSError, match="ones before it are whole") as raised:
        callback.on_train_end()
    assert raised.value.errno == errno.ENOSPC


def test_a_checkpoint_that_cant_be_opened_right_now_is_not_deleted(tmp_path, monkeypatch):
    store = CheckpointStore(tmp_path, keep=1)
    store.save(snapshot(1))

    def fail(path):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(checkpoints, "_digest", fail)
    with pytest.raises(OSError, match="Too many open files"):
        store.newest()
    monkeypatch.undo()
    assert_same(store.newest(), snapshot(1))
