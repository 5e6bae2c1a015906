"""What `fit` returns, and brings back in a new process."""

from __future__ import annotations

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.building import build_model
from framework.callbacks.history import read_history
from framework.data.checking import naming_bad_examples
from framework.data.evaluate import eval_dataset
from framework.data.phases import TEST
from framework.data.pipeline import Pipeline
from framework.data.serving import DEFAULT, ENCODED, Receiver, receivers
from framework.export.saved_model import restore_weights
from framework.export.versions import Record, best_record
from framework.features import as_batch
from framework.tasks.objective import Objective
from framework.training.plan import builder_from_config, pipeline_from_config, resolve_builder, resolve_pipeline
from framework.training.preparation import prepared
from framework.training.run_directory import RunDirectory


@dataclasses.dataclass(frozen=True)
class Run:
    """A finished run. Its model has the weights of the best epoch, which is what was exported.

    Attributes:
        run_dir: The run directory.
        history: `{name: values}`, one value an epoch, as Keras' `History.history`.
        best: Version, epoch, step and metrics of the best epoch.
        model: Compiled, with the best weights.
        pipeline: With what it learned from the training split.
        batch_size: The run's, and the default of `evaluate` and `predict`.
    """

    run_dir: pathlib.Path
    history: dict[str, list[float]]
    best: Record
    model: keras.Model
    pipeline: Pipeline
    batch_size: int

    @property
    def export_dir(self) -> pathlib.Path:
        """The SavedModel of the best epoch."""
        return RunDirectory(self.run_dir).export / str(self.best.version)

    def evaluate(self, phase: str = TEST, *, batch_size: int | None = None) -> dict[str, float]:
        """Loss and metrics of the best weights on a split, every example counted once.

        Args:
            phase: `"train"` (not augmented), `"validation"` or `"test"`.
            batch_size: Doesn't change the result, only speed and memory.

        Raises:
            ValueError: The pipeline has no such split, or a bad example in it (a `BadExampleError`).
        """
        dataset = eval_dataset(self.pipeline, phase, batch_size=batch_size or self.batch_size)
        with naming_bad_examples():
            return self.model.evaluate(dataset, return_dict=True, verbose=0)

    def predict(self, features: Any, *, batch_size: int | None = None) -> dict[str, np.ndarray]:
        """What the export's `serving_default` answers, from the live model.

        Args:
            features: Raw features `{name: [examples, ...]}`; one array will do where there is one feature. Images may
                have any size, or be the bytes of image files.
            batch_size: Examples of a batch.

        Returns:
            `{name: [examples, ...]}`, such as `probabilities` and `class_name`; see the task's `predictions`.

        Raises:
            ValueError: A feature is missing, unknown, or has another shape or dtype.
        """
        batch_size = batch_size or self.batch_size
        receiver = self._receiver_of(features)
        batch = as_batch(features, receiver.inputs)
        count = len(next(iter(batch.values())))
        if not count:
            raise ValueError("There are no examples to predict.")
        function = self._predict_function(receiver)
        parts = [
            function({name: tf.constant(value[first : first + batch_size]) for name, value in batch.items()})
            for first in range(0, count, batch_size)
        ]
        return {name: np.concatenate([part[name].numpy() for part in parts]) for name in parts[0]}

    @functools.cached_property
    def _receivers(self) -> dict[str, Receiver]:
        return receivers(self.pipeline)

    def _receiver_of(self, features: Any) -> Receiver:
        """That of `encoded` where images come as bytes, else that of raw features."""
        values = features.values() if isinstance(features, Mapping) else [features]
        declared = self.pipeline.features
        names = features if isinstance(features, Mapping) else declared
        as_bytes = any(
            name in declared and declared[name].is_encoded and np.asarray(value).dtype.kind in "OS"
            for name, value in zip(names, values, strict=False)
        )
        return self._receivers[ENCODED if as_bytes else DEFAULT]

    def _predict_function(self, receiver: Receiver) -> Callable[..., Any]:
        # Kept on the model, which it belongs to, since this record is frozen.
        functions = self.model.__dict__.setdefault("shipyard_predict", {})
        key = tuple(receiver.inputs.items())
        if key not in functions:

            @tf.function(autograph=False, reduce_retracing=True)
            def predict(features):
                inputs = receiver.to_model(dict(features))
                outputs = self.model({name: inputs[name] for name in self.model.input}, training=False)
                return self.pipeline.task.predictions(outputs)

            functions[key] = predict
        return functions[key]

    @classmethod
    def load(
        cls,
        run_dir: str | os.PathLike,
        *,
        model: str | Callable[..., Any] | None = None,
        pipeline: str | Pipeline | None = None,
    ) -> Run:
        """Brings a finished run back.

        Args:
            run_dir: Where `fit` wrote it.
            model: The build function, needed only where the run's can't be imported (it was defined in a script).
            pipeline: The pipeline, needed only where the run's can't be made from `config.json` (it holds arrays).

        Raises:
            FileNotFoundError: There is no finished run in the directory.
            LookupError: The build function or pipeline can't be found; pass it. Or a loss or metric can't be made.
        """
        directory = RunDirectory(run_dir)
        config, result = directory.config, directory.result
        if config is None:
            raise FileNotFoundError(f"{directory.path} isn't a run directory: it has no config.json.")
        if result is None:
            raise FileNotFoundError(f"The run in {directory.path} isn't finished. Call fit again to go on with it.")
        builder = resolve_builder(model) if model else builder_from_config(config["model"])
        data = resolve_pipeline(pipeline, {}) if pipeline else pipeline_from_config(config["pipeline"])
        data = prepared(data, directory)
        hparams = _as_declared(builder, config["model"]["hparams"])
        precision = config["training"]["optimization"]["precision"]
        built = build_model(builder, data.interface(), data.task, hparams, dtype_policy=precision)
        built.compile(**compile_arguments(data, config["training"].get("loss"), config["training"].get("metrics")))
        return finished_run(directory, built, data, config)


def finished_run(directory: RunDirectory, model: keras.Model, pipeline: Pipeline, config: Mapping[str, Any]) -> Run:
    """Puts the best weights into `model` and reads the rest from the directory."""
    best = best_record(directory.export, Objective(**config["training"]["objective"]))
    if best is None:
        raise FileNotFoundError(
            f"{directory.export} has no export: {config['training']['objective']['monitor']!r} never was a number, "
            "or the exports were deleted."
        )
    restore_weights(model, directory.export / str(best.version))
    history = read_history(directory.history)
    return Run(directory.path, history, best, model, pipeline, config["training"]["batch_size"])


def compile_arguments(pipeline: Pipeline, loss: Any = None, metrics: Any = None) -> dict[str, Any]:
    """Loss and metrics for `Model.compile`: the task's, where none are given (as objects or serialized)."""
    task = pipeline.task
    loss = _deserialized(loss, keras.losses.get) if loss is not None else task.loss()
    given = None if metrics is None else [_deserialized(metric, keras.metrics.get) for metric in metrics]
    metrics = task.metrics() if given is None else given
    weighted = pipeline.require_source("train").spec.weights is not None
    arguments = {"loss": loss, "weighted_metrics" if weighted else "metrics": metrics}
    weights = getattr(task, "weights", None)
    return {**arguments, "loss_weights": weights} if weights and isinstance(loss, Mapping) else arguments


def _deserialized(value: Any, make: Callable[[Any], Any]) -> Any:
    if not isinstance(value, dict) or "class_name" not in value:
        return value
    try:
        return make(value)
    except (TypeError, ValueError) as error:
        name = value["config"] if value["class_name"] == "function" else value["class_name"]
        raise LookupError(
            f"The run's loss or metric {name!r} can't be made again ({error}): register it with "
            "keras.saving.register_keras_serializable, or go inside of keras.saving.custom_object_scope."
        ) from error


def _as_declared(builder: Callable[..., Any], hparams: Mapping[str, Any]) -> dict[str, Any]:
    """Hyper-parameters as the builder takes them: JSON has made lists of its tuples."""
    return {name: tuple(value) if isinstance(value, list) else value for name, value in hparams.items()}
