"""Writing a SavedModel aside, proving it, and giving it its name."""

from __future__ import annotations

import concurrent.futures
import datetime
import gc
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework import files
from framework.data.phases import PHASES
from framework.data.pipeline import Pipeline
from framework.data.serving import DEFAULT, Receiver, receivers
from framework.export.signatures import Signatures, build_signatures, model_inputs, plain_predictions
from framework.export.versions import MANIFEST, list_versions
from framework.features import Feature, describe
from framework.variables import variable_names

_SAMPLE = 8  # examples with which a signature is proven


class ParityError(RuntimeError):
    """A written SavedModel doesn't answer as the live model does, so it isn't published."""


class Exporter:
    """Publishes versions of one model.

    The signatures are traced once; each `publish` writes the weights of that moment.

    Args:
        model: A built model.
        pipeline: Where the signatures come from; without one the model's inputs are the only way in, as
            `serving_default`, and the model's outputs are answered as they are.
        tolerance: Largest difference between a signature's answer and the live model's, relative and absolute.
    """

    def __init__(self, model: keras.Model, pipeline: Pipeline | None = None, *, tolerance: float = 1e-4):
        self.model = model
        self.pipeline = pipeline
        self.tolerance = tolerance
        self._signatures: Signatures | None = None

    @property
    def signatures(self) -> Signatures:
        """The traced signatures."""
        if self._signatures is None:
            if self.pipeline is None:
                ways_in = {DEFAULT: Receiver(model_inputs(self.model), lambda inputs: inputs)}
                self._signatures = build_signatures(self.model, ways_in, plain_predictions)
            else:
                self._signatures = build_signatures(
                    self.model, receivers(self.pipeline), self.pipeline.task.predictions, self.pipeline.resources
                )
        return self._signatures

    def publish(
        self,
        base: pathlib.Path,
        *,
        metrics: Mapping[str, float] | None = None,
        epoch: int = 0,
        step: int = 0,
        version: int | None = None,
    ) -> int:
        """Writes `<base>/<version>`: everything or nothing.

        Args:
            base: The export directory.
            metrics: Kept in the manifest.
            epoch: Counted from 0.
            step: Optimizer steps taken.
            version: By default one more than the newest.

        Returns:
            The version.

        Raises:
            ParityError: What was written doesn't answer as the live model does.
            FileExistsError: The version is there already.
        """
        base = pathlib.Path(base)
        if version is None:
            version = max(list_versions(base), default=0) + 1
        with files.publishing(base / str(version)) as temporary:
            tf.saved_model.save(self.signatures.module, str(temporary), signatures=self.signatures.functions)
            parity = self._prove(temporary)
            files.write_json(temporary / MANIFEST, self._manifest(metrics or {}, epoch, step, parity))
        return version

    def _prove(self, directory: pathlib.Path) -> dict[str, float]:
        """Loads what was written and compares each signature with the live functions; returns the differences."""
        samples = self._samples()
        # A strategy's scope belongs to a thread; what clients load knows nothing of it.
        with concurrent.futures.ThreadPoolExecutor(1) as executor:
            answers = executor.submit(_call_signatures, directory, samples).result()
        gc.collect()  # a loaded SavedModel is full of reference cycles
        live = {name: self.signatures.functions[name](**sample) for name, sample in samples.items()}
        return {name: self._compare(name, live[name], answers[name]) for name in samples}

    def _compare(self, name: str, expected: Mapping[str, tf.Tensor], answered: Mapping[str, tf.Tensor]) -> float:
        if set(expected) != set(answered):
            raise ParityError(f"Signature {name!r} answers {sorted(answered)}, the live model {sorted(expected)}.")
        largest = 0.0
        for key, tensor in expected.items():
            live, reloaded = tensor.numpy(), answered[key].numpy()
            if live.dtype.kind != "f":
                continue  # an argmax may tip over on a tie; what it is taken from is compared
            if not np.allclose(live, reloaded, rtol=self.tolerance, atol=self.tolerance, equal_nan=True):
                row = int(np.argmax(np.abs(live - reloaded).reshape(len(live), -1).max(axis=1)))
                raise ParityError(
                    f"Signature {name!r}, output {key!r}: the reloaded SavedModel differs from the live model by "
                    f"{np.abs(live - reloaded).max():.3g} at example {row}, allowed {self.tolerance:g}. Not published."
                )
            with np.errstate(invalid="ignore"):
                largest = max(largest, float(np.nan_to_num(np.abs(live - reloaded)).max(initial=0.0)))
        return largest

    def _samples(self) -> dict[str, dict[str, tf.Tensor]]:
        """Inputs with which signatures can be proven: real ones where a pipeline has them."""
        if self.pipeline is None:
            return {DEFAULT: {name: _made_up(feature) for name, feature in model_inputs(self.model).items()}}
        phase = next(phase for phase in (*PHASES[1:], PHASES[0]) if self.pipeline.has(phase))
        batch = next(iter(self.pipeline.require_source(phase).stored.batches(_SAMPLE)))
        stored = {name: value.numpy() for name, value in batch[0].items()}
        requests = {
            name: receiver.request(stored)
            for name, receiver in receivers(self.pipeline).items()
            if receiver.request is not None
        }
        return {
            name: {key: tf.constant(value) for key, value in request.items()} for name, request in requests.items()
        }

    def _manifest(self, metrics: Mapping[str, float], epoch: int, step: int, parity: Mapping[str, float]) -> dict:
        signatures = self.signatures
        outputs = signatures.outputs
        names = variable_names(self.model)
        return {
            "epoch": epoch,
            "step": step,
            "metrics": {name: float(value) for name, value in metrics.items()},
            "signatures": {
                name: {"inputs": describe(inputs), "outputs": describe(outputs[name])}
                for name, inputs in signatures.inputs.items()
            },
            "renamed": dict(self.pipeline.renamed) if self.pipeline else {},
            "task": self.pipeline.task.describe() if self.pipeline else None,
            "largest_difference": dict(parity),
            # Weights by name for whoever wants to start from this export; the keys are those of its checkpoint.
            "variables": {
                f"model_variables/{index}": {
                    "name": names[int(index)],
                    "shape": list(variable.shape),
                    "dtype": variable.dtype.name,
                }
                for index, variable in signatures.module.model_variables.items()
            },
            "parameters": sum(math.prod(v.shape) for v in signatures.module.model_variables.values()),
            "versions": {"tensorflow": tf.__version__, "keras": keras.__version__},
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }


def _call_signatures(directory: pathlib.Path, samples: Mapping[str, dict[str, tf.Tensor]]) -> dict[str, Any]:
    """Loads a SavedModel and calls the signatures that there are samples for."""
    loaded = tf.saved_model.load(str(directory))
    return {name: loaded.signatures[name](**sample) for name, sample in samples.items()}


def restore_weights(model: keras.Model, export_dir: pathlib.Path) -> None:
    """Gives `model` the weights of an export of the same architecture.

    Raises:
        ValueError: A variable's shape differs: another architecture was exported.
    """
    reader = tf.train.load_checkpoint(str(pathlib.Path(export_dir, "variables", "variables")))
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


def _made_up(feature: Feature) -> tf.Tensor:
    """Values of a feature's shape and dtype, where there are no real ones."""
    shape = (_SAMPLE, *(4 if axis is None else axis for axis in feature.shape))
    if feature.dtype == "string":
        return tf.fill(shape, "")
    return tf.cast(tf.random.stateless_uniform(shape, (0, 0)), feature.dtype)
