"""What a snapshot holds, and how it goes back into Keras' objects.

Keras' own formats lose the state of seed generators (dropout!), of metrics and of callbacks. Here the variables are
taken by position, since their paths aren't unique, and callbacks by position and class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from framework.data.train import Position
from framework.training.checkpoints import Snapshot

# What Keras' own callbacks carry from epoch to epoch. Not their settings: those come from the configuration.
# Read at Keras 3.15.1; tests/framework/training/test_snapshot.py fails when a callback gains an attribute.
_KERAS_STATE: dict[type, tuple[str, ...]] = {
    keras.callbacks.EarlyStopping: ("wait", "stopped_epoch", "best", "best_weights", "best_epoch"),
    keras.callbacks.History: ("epoch", "history"),
    keras.callbacks.ModelCheckpoint: (
        "best",
        "_current_epoch",
        "_batches_seen_since_last_saving",
        "_last_batch_seen",
    ),
    keras.callbacks.ReduceLROnPlateau: ("best", "wait", "cooldown_counter"),
    keras.callbacks.SwapEMAWeights: ("_ema_weights_in_model",),
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch"),
}
_ARRAY = "__array__"


class SnapshotMismatchError(ValueError):
    """A snapshot was taken of another model, optimizer or list of callbacks."""


def state_variables(model: keras.Model) -> list[keras.Variable]:
    """Every variable that training changes, in an order that depends on the model's construction alone."""
    optimizer = model.optimizer.variables if model.optimizer is not None else []
    unique = {id(variable): variable for variable in [*model.variables, *optimizer, *model.metrics_variables]}
    return list(unique.values())


def take(
    model: keras.Model, callbacks: Sequence[keras.callbacks.Callback], position: Position, *, stopped: bool
) -> Snapshot:
    """Copies all state to host memory.

    Args:
        model: Built and compiled.
        callbacks: In their order in `fit`.
        position: What comes next.
        stopped: Whether training has come to its end before its last epoch.
    """
    arrays = {f"variable/{index}": _to_numpy(variable) for index, variable in enumerate(state_variables(model))}
    states = []
    for index, callback in enumerate(callbacks):
        state = callback_state(callback)
        states.append([type(callback).__name__, _extract(state, f"callback/{index}", arrays)])
    return Snapshot(position, arrays, {"callbacks": states, "stopped": stopped})


def restore_variables(model: keras.Model, snapshot: Snapshot) -> None:
    """Puts all variables back.

    Raises:
        SnapshotMismatchError: Their number, a shape or a dtype differs.
    """
    variables = state_variables(model)
    saved = [snapshot.arrays[f"variable/{index}"] for index in range(_count(snapshot))]
    if len(variables) != len(saved):
        raise SnapshotMismatchError(
            f"The checkpoint has {len(saved)} variables, model, optimizer and metrics have {len(variables)}: the "
            "build function or the optimizer has changed since. Use another run_dir."
        )
    for index, (variable, value) in enumerate(zip(variables, saved, strict=True)):
        if tuple(variable.shape) != tuple(value.shape):
            raise SnapshotMismatchError(
                f"Variable {index} ({variable.path}) has shape {tuple(variable.shape)}, the checkpoint has "
                f"{tuple(value.shape)}: the build function has changed since. Use another run_dir."
            )
    for variable, value in zip(variables, saved, strict=True):
        variable.assign(_from_numpy(value, variable))


def restore_callbacks(callbacks: Sequence[keras.callbacks.Callback], snapshot: Snapshot) -> None:
    """Puts the callbacks' state back; to be called after their `on_train_begin`, which resets them.

    Raises:
        SnapshotMismatchError: Another list of callbacks was given before.
    """
    saved = snapshot.meta["callbacks"]
    names = [type(callback).__name__ for callback in callbacks]
    if [name for name, _ in saved] != names:
        raise SnapshotMismatchError(
            f"The run was started with the callbacks {[name for name, _ in saved]}, now there are {names}. "
            "Give the same ones in the same order."
        )
    for callback, (_, state) in zip(callbacks, saved, strict=True):
        if state is not None:
            set_callback_state(callback, _insert(state, snapshot.arrays))


def callback_state(callback: keras.callbacks.Callback) -> dict[str, Any] | None:
    """The state of a callback: by its own `get_state()`, or what we know of Keras' callbacks; else `None`."""
    if hasattr(callback, "get_state"):
        return callback.get_state()
    names = _state_names(callback)
    return {name: getattr(callback, name) for name in names if hasattr(callback, name)} if names else None


def set_callback_state(callback: keras.callbacks.Callback, state: Mapping[str, Any]) -> None:
    """The opposite of `callback_state`."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    for name in _state_names(callback):
        if name in state:
            setattr(callback, name, state[name])


def _state_names(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((names for kind, names in _KERAS_STATE.items() if isinstance(callback, kind)), ())


def _count(snapshot: Snapshot) -> int:
    return sum(name.startswith("variable/") for name in snapshot.arrays)


def _to_numpy(variable: keras.Variable) -> np.ndarray:
    array = np.array(keras.ops.convert_to_numpy(variable))
    # NumPy writes bfloat16 (ml_dtypes) as a void type that it can't read back.
    return array.view(np.uint16) if array.dtype.kind == "V" or array.dtype.name == "bfloat16" else array


def _from_numpy(array: np.ndarray, variable: keras.Variable) -> np.ndarray:
    import ml_dtypes

    is_bfloat16 = keras.backend.standardize_dtype(variable.dtype) == "bfloat16"
    return array.view(ml_dtypes.bfloat16) if is_bfloat16 and array.dtype == np.uint16 else array


def _extract(value: Any, name: str, arrays: dict[str, np.ndarray]) -> Any:
    """A JSON document of `value`, whose arrays are moved to `arrays`."""
    if isinstance(value, Mapping):
        return {str(key): _extract(item, f"{name}/{key}", arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_extract(item, f"{name}/{index}", arrays) for index, item in enumerate(value)]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    arrays[name] = np.asarray(value)
    return {_ARRAY: name}


def _insert(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The opposite of `_extract`."""
    if isinstance(value, dict):
        return arrays[value[_ARRAY]] if set(value) == {_ARRAY} else {k: _insert(v, arrays) for k, v in value.items()}
    return [_insert(item, arrays) for item in value] if isinstance(value, list) else value
