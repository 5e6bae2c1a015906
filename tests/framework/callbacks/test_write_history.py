import math

import numpy as np
import pytest

from framework.callbacks import WriteHistory
from framework.callbacks.history import read_history


@pytest.fixture
def path(tmp_path):
    return tmp_path / "history.csv"


def begun(path):
    callback = WriteHistory(path)
    callback.on_train_begin()
    return callback


def test_one_row_an_epoch_with_every_digit(path):
    callback = begun(path)
    callback.on_epoch_end(0, {"loss": np.float32(0.1), "accuracy": 1 / 3})
    assert path.read_text().splitlines() == ["epoch,loss,accuracy", "0,0.10000000149011612,0.3333333333333333"]
    callback.on_epoch_end(1, {"loss": 0.5, "accuracy": 1.0})
    assert path.read_text().splitlines()[2:] == ["1,0.5,1.0"]
    assert read_history(path) == {"loss": [float(np.float32(0.1)), 0.5], "accuracy": [1 / 3, 1.0]}


def test_the_file_is_whole_after_every_epoch_and_nothing_else_is_there(path):
    callback = begun(path)
    for epoch in range(3):
        callback.on_epoch_end(epoch, {"loss": float(epoch)})
        assert path.read_text().count("\n") == epoch + 2
        assert [child.name for child in path.parent.iterdir()] == ["history.csv"]


def test_values_that_an_epoch_lacks_stay_empty(path):
    callback = begun(path)
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_epoch_end(1, {"loss": 0.5, "val_loss": 0.7})
    callback.on_epoch_end(2, {"loss": math.nan})
    assert path.read_text().splitlines() == ["epoch,loss,val_loss", "0,1.0,", "1,0.5,0.7", "2,nan,"]
    history = read_history(path)
    assert list(history) == ["loss", "val_loss"]
    np.testing.assert_array_equal(history["loss"], [1.0, 0.5, math.nan])
    np.testing.assert_array_equal(history["val_loss"], [math.nan, 0.7, math.nan])


def test_training_that_begins_anew_forgets(path):
    callback = begun(path)
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_train_begin()
    callback.on_epoch_end(0, {"loss": 2.0})
    assert path.read_text().splitlines() == ["epoch,loss", "0,2.0"]


def test_going_back_to_a_state_takes_back_what_came_after_it(path):
    callback = begun(path)
    callback.on_epoch_end(0, {"loss": 1.0})
    callback.on_epoch_end(1, {"loss": 0.5})
    state = callback.get_state()
    after_two = path.read_bytes()
    state = {"rows": [dict(row) for row in state["rows"]]}
    callback.on_epoch_end(2, {"loss": 0.4})

    other = begun(path)
    other.set_state(state)
    assert path.read_bytes() == after_two
    other.on_epoch_end(2, {"loss": 0.3})
    assert path.read_text().splitlines() == ["epoch,loss", "0,1.0", "1,0.5", "2,0.3"]
    assert state["rows"] == [{"epoch": 0, "loss": 1.0}, {"epoch": 1, "loss": 0.5}]


def test_a_state_taken_is_not_changed_by_what_follows(path):
    callback = begun(path)
    callback.on_epoch_end(0, {"loss": 1.0})
    state = callback.get_state()
    callback.on_epoch_end(1, {"loss": 0.5})
    assert state["rows"] == [{"epoch": 0, "loss": 1.0}]
