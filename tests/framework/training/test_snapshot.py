import keras
import numpy as np
import pytest
import tensorflow as tf

from framework.data.train import Position
from framework.training import snapshot as module
from framework.training.snapshot import (
    SnapshotMismatchError,
    callback_state,
    restore_callbacks,
    restore_variables,
    state_variables,
    take,
)

X, Y = np.linspace(-1, 1, 16, dtype=np.float32)[:, None], np.ones((16, 1), np.float32)


def network(width=3, **compiled):
    inputs = keras.Input((1,))
    x = keras.layers.BatchNormalization()(keras.layers.Dense(width)(inputs))
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Dropout(0.5)(x)))
    model.compile(**{"optimizer": keras.optimizers.Adam(use_ema=True), "loss": "mse", "metrics": ["mae"], **compiled})
    return model


def keras_callbacks(directory):
    """All of Keras' that carry something from epoch to epoch, each with everything on."""
    return [
        keras.callbacks.EarlyStopping(monitor="loss", patience=5, restore_best_weights=True, min_delta=100.0),
        keras.callbacks.History(),
        keras.callbacks.ModelCheckpoint(
            str(directory / "best.keras"), monitor="loss", save_best_only=True, save_freq=3, verbose=0
        ),
        keras.callbacks.ReduceLROnPlateau(monitor="loss", patience=1, cooldown=1, min_delta=100.0),
        keras.callbacks.TensorBoard(str(directory / "logs"), write_graph=False, update_freq="epoch"),
        keras.callbacks.SwapEMAWeights(swap_on_epoch=True),
    ]


# Attributes that change in training and needn't be kept: settings that are interpreted at first use, open files.
PASSING = {
    "EarlyStopping": {"min_delta", "monitor_op"},
    "History": set(),
    "ModelCheckpoint": {"monitor_op"},
    "ReduceLROnPlateau": {"min_delta", "monitor_op"},
    "SwapEMAWeights": set(),
    "TensorBoard": {"_writers"},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model and callbacks after two epochs, and the callbacks' attributes before."""
    model, callbacks = network(), keras_callbacks(tmp_path_factory.mktemp("callbacks"))
    before = {}
    note = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: before.update({type(c).__name__: attributes(c) for c in callbacks})
    )
    model.fit(X, Y, batch_size=4, epochs=2, callbacks=[*callbacks, note], validation_data=(X, Y), verbose=0)
    return model, callbacks, before


def attributes(callback):
    return {name: repr(value) for name, value in vars(callback).items() if name not in ("_model", "_params", "params")}


def test_whatever_keras_callbacks_carry_is_known(trained):
    # Fails when a release of Keras lets a callback carry more than snapshot.py's table says.
    _, callbacks, before = trained
    unknown = {}
    for callback in callbacks:
        kind = type(callback).__name__
        now = attributes(callback)
        changed = {name for name in now if now[name] != before[kind].get(name)}
        unknown[kind] = changed - set(module._KERAS_STATE[type(callback)])
    assert unknown == PASSING


def test_whatever_is_in_the_table_is_there(trained):
    # Fails when a release of Keras renames what the table names.
    _, callbacks, _ = trained
    assert {type(callback) for callback in callbacks} == set(module._KERAS_STATE)
    for callback in callbacks:
        assert set(callback_state(callback)) == set(module._KERAS_STATE[type(callback)])


def test_state_of_callbacks_comes_back(trained, tmp_path):
    model, callbacks, _ = trained
    snapshot = take(model, callbacks, Position(2), stopped=True, meta={"more": 1})
    assert (snapshot.position, snapshot.meta["stopped"], snapshot.meta["more"]) == (Position(2), True, 1)
    fresh = keras_callbacks(tmp_path)
    restore_callbacks(fresh, snapshot)
    for one, other in zip(callbacks, fresh, strict=True):
        saved, restored = callback_state(one), callback_state(other)
        assert saved.keys() == restored.keys()
        for name, value in saved.items():
            if name == "best_weights":
                for weight, again in zip(value, restored[name], strict=True):
                    np.testing.assert_array_equal(weight, again)
            else:
                assert restored[name] == value, name
    assert fresh[0].wait == 1
    assert fresh[1].history["loss"] == callbacks[1].history["loss"]


def test_variables_of_model_optimizer_metrics_and_seeds_come_back(trained):
    model, _, _ = trained
    names = [variable.path for variable in state_variables(model)]
    for part in ("kernel", "moving_mean", "seed_generator_state", "iteration", "momentum", "average", "total"):
        assert any(part in name for name in names), part
    snapshot = take(model, [], Position(1, 2))
    other = network()
    other.fit(X[:4], Y[:4], verbose=0)
    assert any((a.numpy() != b.numpy()).any() for a, b in zip(model.weights, other.weights, strict=True))
    restore_variables(other, snapshot)
    for one, another in zip(state_variables(model), state_variables(other), strict=True):
        np.testing.assert_array_equal(keras.ops.convert_to_numpy(one), keras.ops.convert_to_numpy(another))


def test_a_snapshot_isnt_changed_by_training_that_goes_on(trained):
    model = network()
    model.fit(X[:4], Y[:4], verbose=0)
    snapshot = take(model, [], Position(1))
    before = {name: array.copy() for name, array in snapshot.arrays.items()}
    for variable in model.variables:
        variable.assign(variable + 1)
    for name, array in snapshot.arrays.items():
        np.testing.assert_array_equal(array, before[name])


def test_bfloat16_variables_come_back(trained):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, dtype="bfloat16")])
    model.compile("sgd", "mse")
    model.layers[0].kernel.assign([[0.3], [-1.5]])
    snapshot = take(model, [], Position(1))
    assert {array.dtype.kind for array in snapshot.arrays.values()} <= set("fiu")  # what NumPy can write and read
    model.layers[0].kernel.assign([[0.0], [0.0]])
    restore_variables(model, snapshot)
    np.testing.assert_array_equal(
        tf.cast(model.layers[0].kernel.value, tf.float32), tf.constant([[0.30078125], [-1.5]])
    )


@pytest.mark.parametrize(
    ("other", "error"),
    [
        (lambda: network(width=4), r"\(.*kernel\) has shape \(1, 4\), the checkpoint has \(1, 3\)"),
        (lambda: network(optimizer="sgd"), r"The checkpoint has \d+ variables, model, optimizer and metrics have \d+"),
    ],
    ids=["width", "optimizer"],
)
def test_a_snapshot_of_something_else_is_refused_and_nothing_changed(trained, other, error):
    snapshot = take(trained[0], [], Position(1))
    model = other()
    model.optimizer.build(model.trainable_variables)
    model.test_on_batch(X[:4], Y[:4])
    before = model.get_weights()
    with pytest.raises(SnapshotMismatchError, match=error):
        restore_variables(model, snapshot)
    for one, another in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, another)


def test_other_callbacks_are_refused(trained, tmp_path):
    model, callbacks, _ = trained
    snapshot = take(model, callbacks, Position(1))
    with pytest.raises(
        SnapshotMismatchError, match=r"started with the callbacks \['EarlyStopping', 'History', .*same order"
    ):
        restore_callbacks(keras_callbacks(tmp_path)[::-1], snapshot)


def test_ones_own_state_is_kept_and_what_has_none_is_left_alone(trained):
    class Own(keras.callbacks.Callback):
        state = None

        def get_state(self):
            return {"array": np.arange(3), "nested": {"list": [1, (2.5, None)], "number": np.float32(0.5)}, "text": "x"}

        def set_state(self, state):
            self.state = state

    callbacks = [Own(), keras.callbacks.Callback()]
    snapshot = take(trained[0], callbacks, Position(1))
    restore_callbacks(callbacks, snapshot)
    np.testing.assert_array_equal(callbacks[0].state.pop("array"), [0, 1, 2])
    assert callbacks[0].state == {"nested": {"list": [1, [2.5, None]], "number": 0.5}, "text": "x"}
