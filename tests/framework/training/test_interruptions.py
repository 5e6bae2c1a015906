"""Interrupted between and within epochs with everything on at once, and what happens when files were damaged since."""

import json

import keras
import pytest
import tensorflow as tf
from exactness import busy_network, differences, images_pipeline

import framework
from framework.training.checkpointing import SaveCheckpoints

EPOCHS = 6


class Dies(keras.callbacks.Callback):
    """Raises where an epoch begins or ends, each place once."""

    def __init__(self, *places):
        super().__init__()
        self.places = list(places)

    def on_epoch_begin(self, epoch, logs=None):
        self.die_at(("begin", epoch))

    def on_epoch_end(self, epoch, logs=None):
        self.die_at(("end", epoch))

    def die_at(self, place):
        if place in self.places:
            self.places.remove(place)
            raise RuntimeError("killed")

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def train(run_dir, callback, **arguments):
    """Dropout, batch normalization, augmentation, averaged weights, a schedule, and an early stop before the end."""
    return framework.fit(
        busy_network,
        images_pipeline(),
        run_dir=run_dir,
        epochs=EPOCHS,
        batch_size=8,
        seed=1,
        objective="val_loss",
        optimization=framework.Optimization(ema=0.7, clip_norm=1.0, learning_rate=0.02),
        stopping=framework.Stopping(patience=2, min_delta=0.02),
        exports=framework.Exports(keep=None),
        callbacks=[callback],
        verbose=0,
        **arguments,
    )


def exports(run_dir):
    """All versions with their weights and what their manifests say of them."""
    found = {}
    for path in sorted((run_dir / "export").iterdir()):
        if path.is_dir():
            manifest = json.loads((path / "manifest.json").read_text())
            reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
            names = [name for name in reader.get_variable_to_shape_map() if "model_variables" in name]
            weights = {name: reader.get_tensor(name).tobytes() for name in names}
            found[path.name] = {**weights, **{name: manifest[name] for name in ("epoch", "step", "metrics")}}
    return found


def assert_ended_alike(whole, cut):
    assert differences(whole, cut) == []
    assert exports(whole) == exports(cut)
    assert (whole / "result.json").read_text() == (cut / "result.json").read_text()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run_dir = tmp_path_factory.mktemp("whole")
    run = train(run_dir, Dies())
    done = len(run.history["loss"])
    # Otherwise the tests below would show less than they say.
    assert 3 < done < EPOCHS
    assert 0 < run.best.epoch < done - 1
    assert len(exports(run_dir)) > 1
    return run_dir


def interrupt(run_dir, callback):
    with pytest.raises(RuntimeError, match="killed"):
        train(run_dir, callback)


def test_at_the_beginning_and_the_end_of_epochs(whole, tmp_path):
    dies = Dies(("begin", 0), ("end", 1), ("begin", 3))
    for _ in range(3):
        interrupt(tmp_path, dies)
    train(tmp_path, Dies())
    assert_ended_alike(whole, tmp_path)


def test_between_an_export_and_its_checkpoint(whole, tmp_path, monkeypatch):
    def die(self, epoch, logs=None):
        if epoch == 1:
            raise RuntimeError("killed")
        save(self, epoch, logs)

    save = SaveCheckpoints.on_epoch_end
    monkeypatch.setattr(SaveCheckpoints, "on_epoch_end", die)
    interrupt(tmp_path, Dies())
    monkeypatch.undo()
    assert [export["epoch"] for export in exports(tmp_path).values()] == [0, 1]
    train(tmp_path, Dies())
    assert_ended_alike(whole, tmp_path)


def test_after_the_last_epoch_and_before_the_result(whole, tmp_path, monkeypatch):
    def die(*arguments):
        raise RuntimeError("killed")

    with monkeypatch.context() as patch:
        patch.setattr("framework.training.trainer.finished_run", die)
        interrupt(tmp_path, Dies())
    assert not (tmp_path / "result.json").exists()
    # What had stopped isn't trained any further: no epoch begins.
    train(tmp_path, Dies(*(("begin", epoch) for epoch in range(EPOCHS))))
    assert_ended_alike(whole, tmp_path)


def test_a_damaged_checkpoint_is_passed_over(whole, tmp_path):
    interrupt(tmp_path, Dies(("begin", 3)))
    older, newest = sorted((tmp_path / "checkpoints").iterdir())
    assert [older.name, newest.name] == ["00000002-00000000", "00000003-00000000"]
    data = bytearray((newest / "snapshot.npz").read_bytes())
    data[len(data) // 2] ^= 1
    (newest / "snapshot.npz").write_bytes(data)
    train(tmp_path, Dies())
    assert_ended_alike(whole, tmp_path)
