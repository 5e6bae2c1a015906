"""`fit`: from a build function and a pipeline to a finished run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import keras
import numpy as np
from absl import logging

from framework.building import resolve_hparams
from framework.data.phases import TRAIN
from framework.data.pipeline import Pipeline
from framework.data.validation import check_batch_size, check_pipeline
from framework.tasks.objective import Objective
from framework.training import plan
from framework.training.config import Checkpoints, Divergence, Exports, Optimization, Stopping, plain
from framework.training.preemption import EXIT_CODES, Preempted, Signals
from framework.training.preparation import prepare
from framework.training.run import Run
from framework.training.run_directory import RunDirectory, differences
from framework.training.trainer import Trainer
from framework.training.warm_start import WarmStart


def fit(
    model: str | Callable[..., Any],
    pipeline: str | Pipeline | Callable[..., Pipeline],
    *,
    run_dir: str | os.PathLike,
    epochs: int = 50,
    batch_size: int = 64,
    seed: int = 0,
    hparams: Mapping[str, Any] | None = None,
    pipeline_options: Mapping[str, Any] | None = None,
    objective: Objective | str | None = None,
    optimization: Optimization | None = None,
    stopping: Stopping | None = Stopping(),  # noqa: B008  frozen
    checkpoints: Checkpoints | None = None,
    divergence: Divergence | None = None,
    warm_start: WarmStart | str | os.PathLike | None = None,
    exports: Exports | None = None,
    loss: Any = None,
    metrics: Sequence[Any] | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    verbose: int | Literal["auto"] = "auto",
) -> Run:
    """Trains a model, stops early, exports the best and returns the finished run.

    The same call again returns the finished run at once, or goes on with an interrupted one. More `epochs` than
    before go on from where it ended; anything else that differs is refused.

    Args:
        model: A registered model's name or a function `build(inputs, task, *, ...)`.
        pipeline: A registered pipeline's name, a `Pipeline`, or a class of them.
        run_dir: Where everything is written; made if missing.
        epochs: Largest number of passes over the training split.
        batch_size: Examples of a step. The last step of an epoch may have fewer.
        seed: Of initial weights, dropout, order and augmentation.
        hparams: Keyword arguments of the build function.
        pipeline_options: Constructor arguments of a pipeline given by name.
        objective: What decides which epoch is best; by default the task's, such as `val_accuracy`.
        optimization: Optimizer, learning rate, decay, clipping, averaging, precision.
        stopping: When to stop early; `None` never does.
        checkpoints: How often the state of training is saved.
        divergence: Whether to go back and on with a smaller learning rate when the loss becomes NaN.
        warm_start: Where the initial weights come from: a run, an export, a `.weights.h5` or a `.keras` file.
        exports: Which exports stay beside the best.
        loss: Any Keras loss instead of the task's.
        metrics: Keras metrics instead of the task's.
        callbacks: Further Keras callbacks, called before the framework's own.
        verbose: 0 silent, 1 progress bars, 2 one line an epoch; `"auto"` is 1 on a terminal and 2 elsewhere.

    Raises:
        LookupError: A name isn't registered, the builder wants a feature that isn't there, or the objective isn't
            among the values that are logged.
        ValueError: Settings, data or the builder's outputs don't fit; also (`ConfigurationError`) when the directory
            holds a run with another configuration.
        TypeError: An argument is of the wrong kind.
        OSError: `run_dir` can't be written.
        framework.training.run_directory.RunInUseError: Another process writes to it.
        framework.callbacks.NonFiniteLossError: The loss became NaN or infinite.
        framework.training.preemption.Preempted: SIGTERM or SIGINT arrived; the state is saved, and the same call goes
            on. As a `SystemExit` it ends a script with the code 143 or 130.
    """
    if keras.backend.backend() != "tensorflow":
        raise RuntimeError(
            f"Keras runs on {keras.backend.backend()!r}, this framework needs its TensorFlow backend: set "
            "KERAS_BACKEND=tensorflow before Keras is first imported."
        )
    if isinstance(epochs, bool) or not isinstance(epochs, (int, np.integer)) or epochs < 1:
        raise ValueError(f"epochs must be a positive integer, got {epochs!r}.")
    optimization = optimization or Optimization()
    checkpoints, exports = checkpoints or Checkpoints(), exports or Exports()
    divergence = divergence or Divergence()
    if warm_start is not None and not isinstance(warm_start, WarmStart):
        warm_start = WarmStart(warm_start)
    builder = plan.resolve_builder(model)
    hparams = resolve_hparams(builder, hparams or {})
    raw = plan.resolve_pipeline(pipeline, pipeline_options or {})
    check_pipeline(raw)
    check_batch_size(batch_size, raw.require_source(TRAIN).num_examples)
    objective = plan.settle_objective(objective, raw)
    config = {
        "model": plan.describe_model(builder, hparams),
        "pipeline": plan.describe_pipeline(raw, pipeline if isinstance(pipeline, str) else None),
        "training": {
            "batch_size": int(batch_size),
            "seed": int(seed),
            "objective": plain(objective),
            "optimization": plain(optimization),
            "stopping": plain(stopping),
            "checkpoints": plain(checkpoints),
            "divergence": plain(divergence),
            "warm_start": plain(warm_start),
            "exports": plain(exports),
            "loss": _serialized_loss(loss),
            "metrics": None if metrics is None else [_serialized(metric) for metric in metrics],
            "callbacks": [type(callback).__name__ for callback in callbacks],
        },
        "epochs": int(epochs),
        "environment": plan.environment(),
    }
    with RunDirectory(run_dir) as directory, Signals() as signals:
        directory.check_config(config)
        data = prepare(raw, directory)
        trainer = Trainer(directory, config, builder, hparams, data, optimization, objective, seed)
        if not trainer.is_finished():
            trainer.compile(loss, metrics, callbacks)
            _warn_of_other_environment(directory, config)
            directory.write_config(config)
            own = trainer.callbacks(callbacks, stopping, exports)
            trainer.train(own, checkpoints, divergence, warm_start, signals, verbose)
        run = trainer.finish(loss, metrics)
        if signals.received is not None:  # in the last epoch: everything is done, and still somebody wants us to leave
            raise Preempted(EXIT_CODES[signals.received])
        return run


def _warn_of_other_environment(directory: RunDirectory, config: Mapping[str, Any]) -> None:
    """Other libraries, threads or processors add numbers up in another order."""
    before = directory.config
    changed = list(differences(before["environment"], config["environment"])) if before else []
    if changed:
        listed = "; ".join(f"{name} was {old}, now {new}" for name, old, new in changed)
        logging.warning("The run goes on, but not bit for bit as it would have without the interruption: %s.", listed)


def _serialized_loss(loss: Any) -> Any:
    serialized = _serialized(loss)
    if isinstance(serialized, dict) and isinstance(serialized.get("config"), dict):
        # Keras numbers the objects of a class through the process; no log or file bears a loss's name.
        serialized["config"].pop("name", None)
    return serialized


def _serialized(value: Any) -> Any:
    return value if value is None or isinstance(value, str) else plain(keras.saving.serialize_keras_object(value))
