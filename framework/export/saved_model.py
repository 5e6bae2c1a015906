"""SavedModels on disk: writing one, again and again, and taking weights back from one."""

from __future__ import annotations

import errno
import os
import pathlib
import uuid
from collections.abc import Mapping

import keras
import tensorflow as tf
from google.protobuf import descriptor_pool, message_factory

from framework.export.signatures import Signatures

_GRAPH = "saved_model.pb"
_FINGERPRINT = "fingerprint.pb"
_VARIABLES = pathlib.Path("variables", "variables")
# Beyond, the graph is written anew each time rather than kept in memory.
_MAX_KEPT_BYTES = 64 * 2**20


class SavedModelWriter:
    """Writes the same signatures with the weights of the moment.

    A SavedModel's graph says nothing of weights: after the first time only the variables are written, with the bytes of
    the graph as they were. For ResNet50 that takes a fifth of the time.

    Args:
        signatures: What is written.
        method_names: `{signature: method}` for those that aren't called by TensorFlow Serving's Predict.
        keeps_graph: Whether the graph may be written again. Under a strategy with several replicas each SavedModel is
            written in full: it says which replica's values are stored.
    """

    def __init__(self, signatures: Signatures, method_names: Mapping[str, str] | None = None, keeps_graph: bool = True):
        self._signatures = signatures
        self._method_names = dict(method_names or {})
        self._keeps_graph = keeps_graph
        self._kept: dict[str, bytes] = {}
        self._keys: list[str] = []

    def write(self, directory: pathlib.Path) -> None:
        """Writes into `directory`, which is empty.

        Raises:
            OSError: The disk is full, or whatever else is wrong with it.
        """
        directory = pathlib.Path(directory)
        try:
            if not self._kept or not self._write_again(directory):
                self._write_all(directory)
        except tf.errors.ResourceExhaustedError as error:  # also how TensorFlow calls a lack of memory
            full = os.strerror(errno.ENOSPC)
            if full not in error.message:
                raise
            raise OSError(errno.ENOSPC, full, str(directory)) from error

    def _write_all(self, directory: pathlib.Path) -> None:
        tf.saved_model.save(self._signatures.module, str(directory), signatures=dict(self._signatures.functions))
        if self._method_names:
            updater = tf.compat.v1.saved_model.signature_def_utils.MethodNameUpdater(str(directory))
            for name, method in self._method_names.items():
                updater.replace_method_name(name, method)
            updater.save()
        has_assets = any((directory / "assets").iterdir()) if (directory / "assets").is_dir() else False
        is_small = (directory / _GRAPH).stat().st_size <= _MAX_KEPT_BYTES
        if self._keeps_graph and is_small and not has_assets:
            self._kept = {name: (directory / name).read_bytes() for name in (_GRAPH, _FINGERPRINT)}
            self._keys = checkpoint_keys(directory)

    def _write_again(self, directory: pathlib.Path) -> bool:
        """Writes variables and the graph that is kept; says whether they belong together."""
        tf.train.Checkpoint(self._signatures.module).write(str(directory / _VARIABLES))
        if checkpoint_keys(directory) != self._keys:
            # A layer that saves itself under other names in a checkpoint than in a SavedModel.
            self._keeps_graph, self._kept = False, {}
            for path in (directory / _VARIABLES.parent).iterdir():
                path.unlink()
            return False
        (directory / _GRAPH).write_bytes(self._kept[_GRAPH])
        (directory / _FINGERPRINT).write_bytes(_renewed(self._kept[_FINGERPRINT], directory))
        return True


def checkpoint_keys(directory: pathlib.Path) -> list[str]:
    """Names of all that a SavedModel's checkpoint holds."""
    return sorted(name for name, _ in tf.train.list_variables(str(pathlib.Path(directory) / _VARIABLES)))


def _renewed(fingerprint: bytes, directory: pathlib.Path) -> bytes:
    """A SavedModel's fingerprint for other variables, by which tools tell models apart."""
    # By its name in the format's description, since TensorFlow's own module for it is private.
    descriptor = descriptor_pool.Default().FindMessageTypeByName("tensorflow.FingerprintDef")
    renewed = message_factory.GetMessageClass(descriptor).FromString(fingerprint)
    index = (directory / _VARIABLES).with_suffix(".index").read_bytes()
    hashed = tf.fingerprint([index], method="farmhash64").numpy()
    renewed.checkpoint_hash = int.from_bytes(hashed.tobytes(), "little")
    renewed.uuid = str(uuid.uuid4())
    return renewed.SerializeToString(deterministic=True)


def restore_weights(model: keras.Model, export_dir: pathlib.Path) -> None:
    """Gives `model` the weights of an export of the same architecture.

    Raises:
        ValueError: A variable's shape differs: another architecture was exported.
    """
    reader = tf.train.load_checkpoint(str(pathlib.Path(export_dir) / _VARIABLES))
    for index, variable in enumerate(model.variables):
        key = f"model_variables/{index}/.ATTRIBUTES/VARIABLE_VALUE"
        if not reader.has_tensor(key):
            continue  # not needed for inference, such as a dropout layer's random state
        value = reader.get_tensor(key)
        if tuple(value.shape) != tuple(variable.shape):
            raise ValueError(
                f"Variable {variable.path} has shape {tuple(variable.shape)}, the export {export_dir} has "
                f"{tuple(value.shape)}: it was made by another architecture."
            )
        variable.assign(value)
