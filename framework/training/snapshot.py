"""What a snapshot holds, and how it goes back into Keras' objects.

Keras' own formats lose the state of seed generators (dropout!), of metrics and of callbacks. Here the variables are
taken by position, since their paths aren't unique, and callbacks by position and class.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

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
    keras.callbacks.TensorBoard: ("_global_train_batch", "_global_test_batch", "_previous_epoch_iterations"),
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
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    position: Position,
    *,
    stopped: bool = False,
    meta: Mapping[str, Any] | None = None,
) -> Snapshot:
    """Copies all state to host memory.

    Args:
        model: Built and compiled.
        callbacks: In their order in `fit`.
        position: What comes next.
        stopped: Whether training has come to its end before its last epoch.
        meta: Kept along.
    """
    arrays = {}
    for index, variable in enumerate(state_variables(model)):
        for replica, component in enumerate(_components(model, variable)):
            arrays[f"variable/{index}/{replica}"] = _to_numpy(component)
    states = []
    for index, callback in enumerate(callbacks):
        state = callback_state(callback)
        states.append([type(callback).__name__, _extract(state, f"callback/{index}", arrays)])
    return Snapshot(position, arrays, {**(meta or {}), "callbacks": states, "stopped": stopped})


def restore_variables(model: keras.Model, snapshot: Snapshot) -> None:
    """Puts all variables back.

    Raises:
        SnapshotMismatchError: Their number, a shape or a dtype differs.
    """
    variables = state_variables(model)
    saved = len({name.split("/")[1] for name in snapshot.arrays if name.startswith("variable/")})
    if len(variables) != saved:
        raise SnapshotMismatchError(
            f"The checkpoint has {saved} variables, model, optimizer and metrics have {len(variables)}: the "
            "build function or the optimizer has changed since. Use another run_dir."
        )
    pairs = []
    for index, variable in enumerate(variables):
        for replica, component in enumerate(_components(model, variable)):
            # Fewer replicas than when it was saved: each takes what the first one had.
            value = snapshot.arrays.get(f"variable/{index}/{replica}", snapshot.arrays[f"variable/{index}/0"])
            if tuple(component.shape) != tuple(value.shape):
                raise SnapshotMismatchError(
                    f"Variable {index} ({variable.path}) has shape {tuple(component.shape)}, the checkpoint has "
                    f"{tuple(value.shape)}: the build function has changed since. Use another run_dir."
                )
            pairs.append((component, value))
    for component, value in pairs:
        component.assign(_from_numpy(value, component.dtype))


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
    if isinstance(callback, keras.callbacks.CSVLogger):
        return _rows_written(callback)
    names = _state_names(callback)
    return {name: getattr(callback, name) for name in names if hasattr(callback, name)} if names else None


def set_callback_state(callback: keras.callbacks.Callback, state: Mapping[str, Any]) -> None:
    """The opposite of `callback_state`."""
    if hasattr(callback, "set_state"):
        callback.set_state(state)
        return
    if isinstance(callback, keras.callbacks.CSVLogger):
        _rewrite_rows(callback, state)
        return
    for name in _state_names(callback):
        if name in state:
            setattr(callback, name, state[name])


def _rows_written(logger: keras.callbacks.CSVLogger) -> dict[str, Any]:
    """What Keras' CSV logger has written: it truncates its file, or appends to rows that will come again."""
    logger.csv_file.flush()
    text = pathlib.Path(logger.filename).read_text(encoding="utf-8")
    return {"text": text, "keys": logger.keys, "append_header": logger.append_header}


def _rewrite_rows(logger: keras.callbacks.CSVLogger, state: Mapping[str, Any]) -> None:
    logger.csv_file.close()
    pathlib.Path(logger.filename).write_text(state["text"], encoding="utf-8")
    logger.csv_file = pathlib.Path(logger.filename).open("a", encoding="utf-8")  # noqa: SIM115  the logger closes it
    logger.keys = state["keys"]
    logger.append_header = not state["text"]


class UnsavedState:
    """Finds callbacks that change during training without saying how to save and restore what changes.

    Args:
        callbacks: As they are when training begins.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]):
        self._before = [(c, _visible_state(c)) for c in callbacks if not _is_known(c)]

    def warn(self) -> None:
        """Names each of them once, in the log."""
        for callback, before in self._before:
            now = _visible_state(callback)
            changed = sorted(name for name in now if now[name] != before.get(name))
            if changed:
                logging.warning(
                    "The callback %s changes %s during training but has no get_state() and set_state(state): after an "
                    "interruption it starts anew, and the run may end differently.",
                    type(callback).__name__,
                    ", ".join(changed),
                )
        self._before = [(c, before) for c, before in self._before if _visible_state(c) == before]


def _is_known(callback: keras.callbacks.Callback) -> bool:
    module = type(callback).__module__
    return hasattr(callback, "get_state") or bool(_state_names(callback)) or module.startswith(("keras.", "framework."))


def _visible_state(callback: keras.callbacks.Callback) -> dict[str, str]:
    """Attributes that hold plain values, by what they look like."""
    plain = (bool, int, float, str, list, tuple, dict, set, np.ndarray, np.generic, type(None))
    ignored = ("params", "_params", "_model", "model", "validation_data")
    return {n: repr(value) for n, value in vars(callback).items() if isinstance(value, plain) and n not in ignored}


def _state_names(callback: keras.callbacks.Callback) -> tuple[str, ...]:
    return next((names for kind, names in _KERAS_STATE.items() if isinstance(callback, kind)), ())


def _components(model: keras.Model, variable: keras.Variable) -> tuple[tf.Variable, ...]:
    """The TensorFlow variables behind a Keras one: one for each replica of the model's strategy.

    Replicas' values differ: metrics, and the moving statistics of batch normalization that isn't synchronized.
    """
    return model.distribute_strategy.experimental_local_results(variable.value)


def _to_numpy(variable: tf.Variable) -> np.ndarray:
    array = np.array(variable.numpy())  # a copy: what TensorFlow hands out may be the variable's own memory
    # NumPy would write bfloat16 as a type without a name, which it can't read back.
    return array.view(np.uint16) if variable.dtype == tf.bfloat16 else array


def _from_numpy(array: np.ndarray, dtype: tf.DType) -> np.ndarray:
    return array.view(tf.bfloat16.as_numpy_dtype) if dtype == tf.bfloat16 else array


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
