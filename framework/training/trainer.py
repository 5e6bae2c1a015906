"""One call of `fit`: the model, its callbacks, and Keras' own `fit` from the newest checkpoint to the end."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from framework import files
from framework.building import build_model
from framework.callbacks.early_stopping import EarlyStopping
from framework.callbacks.export_best import ExportBest
from framework.callbacks.history import WriteHistory
from framework.callbacks.non_finite import NonFiniteLossError, StopOnNonFinite
from framework.callbacks.report_skipped import ReportSkipped
from framework.data.bad_examples import count_kinds
from framework.data.checking import naming_bad_examples
from framework.data.evaluate import eval_dataset
from framework.data.phases import TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.export.scoring import Evaluation
from framework.registry import did_you_mean
from framework.tasks.objective import Objective
from framework.training.checkpointing import SaveCheckpoints
from framework.training.checkpoints import CheckpointStore, Snapshot
from framework.training.config import Checkpoints, Divergence, Exports, Optimization, Stopping
from framework.training.onednn import warn_of_faulty_convolutions
from framework.training.preemption import Signals
from framework.training.preparation import skipped
from framework.training.reporting import write_report
from framework.training.resuming import ResumingCallbackList
from framework.training.run import Run, compile_arguments, finished_run
from framework.training.run_directory import ConfigurationError, RunDirectory
from framework.training.snapshot import restore_variables, take
from framework.training.warm_start import WarmStart, load_weights


@dataclasses.dataclass
class Trainer:
    """One call of `fit`, after its arguments were resolved.

    Args:
        directory: The run's, locked.
        config: As it is written into the directory.
        builder: The build function.
        hparams: All of its hyper-parameters.
        pipeline: With its statistics.
        optimization: How weights are updated.
        objective: What decides which epoch is best.
        seed: Of initial weights, dropout, order and augmentation.
    """

    directory: RunDirectory
    config: dict[str, Any]
    builder: Callable[..., Any]
    hparams: dict[str, Any]
    pipeline: Pipeline
    optimization: Optimization
    objective: Objective
    seed: int

    def __post_init__(self):
        self.epochs = self.config["epochs"]
        self.batch_size = self.config["training"]["batch_size"]
        self.steps = steps_per_epoch(self.pipeline.require_source(TRAIN), self.batch_size)
        interface = self.pipeline.interface()
        self.model = build_model(
            self.builder,
            interface,
            self.pipeline.task,
            self.hparams,
            dtype_policy=self.optimization.precision,
            seed=self.seed,
        )

    def is_finished(self) -> bool:
        before, result = self.directory.config, self.directory.result
        if before is not None and self.epochs < before["epochs"]:
            raise ConfigurationError(
                f"{self.directory.path} holds a run of {before['epochs']} epochs, now {self.epochs} are asked for. "
                "Ask for as many or more, or use another run_dir."
            )
        return result is not None and (result["stopped_early"] or self.epochs == result["epochs"])

    def compile(self, loss: Any, metrics: Any, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        """Compiles the model and makes all variables, so that a snapshot can be put back."""
        self._compile_arguments = {
            "jit_compile": self.optimization.jit_compile,
            "steps_per_execution": self.optimization.choose_steps_per_execution(self.steps, callbacks),
            **compile_arguments(self.pipeline, loss, metrics),
        }
        if not self.optimization.jit_compile:
            warn_of_faulty_convolutions(self.model)
        self._class_weight = self._resolve_class_weight()
        logs = self._compile(factor=1.0)
        names = set(logs) | ({f"val_{name}" for name in logs} if self.pipeline.has(VALIDATION) else set())
        if self.objective.monitor not in names:
            raise LookupError(
                f"The objective {self.objective.monitor!r} won't be in the logs."
                f"{did_you_mean(self.objective.monitor, names)} They will have: {', '.join(sorted(names))}."
            )

    def _compile(self, factor: float) -> dict[str, float]:
        """Compiles with the learning rate times `factor`; returns the logs of one evaluated batch."""
        optimizer = self.optimization.build(self.epochs * self.steps, factor=factor)
        self.model.compile(optimizer=optimizer, **self._compile_arguments)
        self.model.optimizer.build(self.model.trainable_variables)
        phase = VALIDATION if self.pipeline.has(VALIDATION) else TRAIN
        batch = next(iter(eval_dataset(self.pipeline, phase, batch_size=self.batch_size)))
        return self.model.test_on_batch(*batch, return_dict=True)  # metrics' variables are made by first use

    def _warm_start(self, source: WarmStart) -> None:
        """Takes the initial weights from elsewhere and keeps the report of it."""
        report = load_weights(self.model, source)
        logging.info("Warm start from %s: %s", source.source, report)
        files.write_json(self.directory.path / "warm_start.json", dataclasses.asdict(report))

    def callbacks(
        self, given: Sequence[keras.callbacks.Callback], stopping: Stopping | None, exports: Exports
    ) -> list[keras.callbacks.Callback]:
        """The run's callbacks in their order: each sees what those before it did in the same epoch."""
        own: list[keras.callbacks.Callback] = [
            *self._report_skipped(),
            StopOnNonFinite(
                f"The last good state is in {self.directory.checkpoints}, the best export in {self.directory.export}."
            ),
            *given,
            keras.callbacks.History(),
            keras.callbacks.TensorBoard(str(self.directory.logs), write_graph=False),
            WriteHistory(self.directory.history),
        ]
        if self.optimization.uses_ema:
            # From here to the end of the epoch the model has the averaged weights: they are judged and exported.
            own.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
        own.append(
            ExportBest(
                self.directory.export,
                self.pipeline,
                objective=self.objective,
                exports=exports,
                evaluation=Evaluation(self.batch_size, self._compile_arguments),
                configuration=self.config,
            )
        )
        if stopping is not None:
            own.append(EarlyStopping(self.objective, **dataclasses.asdict(stopping)))
        return own

    def _report_skipped(self) -> list[keras.callbacks.Callback]:
        found = skipped(self.directory)
        bad = [example for phase in (TRAIN, VALIDATION) for example in found.get(phase, [])]
        counts = count_kinds([*self.pipeline.left_out, *bad])
        return [ReportSkipped(counts)] if counts else []

    def train(
        self,
        callbacks: list[keras.callbacks.Callback],
        checkpoints: Checkpoints,
        divergence: Divergence,
        warm_start: WarmStart | None,
        signals: Signals,
        verbose: int | str,
    ) -> None:
        """Runs Keras' own `fit` from the newest checkpoint to the end, and again from there when the loss diverges."""
        store = CheckpointStore(self.directory.checkpoints, keep=checkpoints.keep)
        snapshot = store.newest()
        if warm_start is not None and (snapshot is None or divergence.max_rollbacks):
            self._warm_start(warm_start)
        initial = take(self.model, [], Position()) if divergence.max_rollbacks else None
        rollbacks = snapshot.meta["rollbacks"] if snapshot else 0
        (history,) = (callback for callback in callbacks if isinstance(callback, WriteHistory))
        while True:
            if rollbacks:
                self._compile(factor=divergence.factor**rollbacks)
            if snapshot is not None:
                self._restore(snapshot, divergence.factor ** (rollbacks - snapshot.meta["rollbacks"]))
            if divergence.max_rollbacks:
                history.constants = {"rollbacks": rollbacks}
            saving = SaveCheckpoints(
                store, callbacks, checkpoints, steps=self.steps, signals=signals, meta={"rollbacks": rollbacks}
            )
            try:
                with contextlib.ExitStack() as stack:
                    for callback in callbacks:
                        if isinstance(callback, ExportBest):
                            stack.enter_context(callback.ending())
                    self._fit(callbacks, saving, snapshot, 1 if verbose == "auto" and sys.stdout.isatty() else verbose)
                return
            except NonFiniteLossError as error:
                if rollbacks == divergence.max_rollbacks:
                    raise
                rollbacks += 1
                logging.warning("%s Going back, learning rate times %g.", error, divergence.factor)
            finally:
                saving.close()
            before, snapshot = snapshot, store.newest()
            if before is not None and snapshot is not None and snapshot.position == before.position:
                # A smaller rate didn't help from here: the weights had blown up already, if not yet the loss.
                store.discard(snapshot.position)
                snapshot = store.newest()
            if snapshot is None and initial is not None:
                restore_variables(self.model, initial)

    def _restore(self, snapshot: Snapshot, factor: float) -> None:
        restore_variables(self.model, snapshot)
        optimizer = self.model.optimizer
        if factor != 1.0 and not isinstance(optimizer.learning_rate, keras.optimizers.schedules.LearningRateSchedule):
            optimizer.learning_rate = float(optimizer.learning_rate) * factor
        logging.info("Going on from epoch %d, step %d.", snapshot.position.epoch, snapshot.position.step)

    def _fit(
        self,
        callbacks: list[keras.callbacks.Callback],
        saving: SaveCheckpoints,
        snapshot: Snapshot | None,
        verbose: int | str,
    ) -> None:
        start = snapshot.position if snapshot else Position()
        verbose = 2 if verbose == "auto" else int(verbose)
        listed = ResumingCallbackList(
            [*callbacks, saving],
            stateful=callbacks,
            model=self.model,
            snapshot=snapshot,
            steps=self.steps,
            epochs=self.epochs,
            verbose=verbose,
        )
        with naming_bad_examples():
            self._keras_fit(listed, start, snapshot, verbose)

    def _keras_fit(
        self,
        callbacks: keras.callbacks.CallbackList,
        start: Position,
        snapshot: Snapshot | None,
        verbose: int,
    ) -> None:
        self.model.fit(
            train_dataset(self.pipeline, batch_size=self.batch_size, seed=self.seed, start=start),
            steps_per_epoch=self.steps,
            initial_epoch=start.epoch,
            # A run that had stopped has only its end before it.
            epochs=start.epoch if snapshot and snapshot.meta["stopped"] else self.epochs,
            validation_data=self._validation(),
            class_weight=self._class_weight,
            callbacks=callbacks,
            shuffle=False,  # the pipeline already is
            verbose=verbose,
        )

    def _validation(self) -> tf.data.Dataset | None:
        if not self.pipeline.has(VALIDATION):
            return None
        return eval_dataset(self.pipeline, VALIDATION, batch_size=self.batch_size)

    def _resolve_class_weight(self) -> dict[int, float] | None:
        weights = self.optimization.class_weight
        if weights is None:
            return None
        source = self.pipeline.require_source(TRAIN)
        label = source.spec.labels
        if not isinstance(label, tf.TensorSpec) or label.shape.rank != 1 or not label.dtype.is_integer:
            raise ValueError(f"class_weight needs one integer label an example, the training split has {label}.")
        if source.spec.weights is not None:
            raise ValueError("class_weight can't be combined with the weights that the training split's examples have.")
        labels = np.concatenate([example.labels for example in source.batches(1024).as_numpy_iterator()])
        if weights == "balanced":
            counts = np.bincount(labels)
            return {int(c): len(labels) / (np.count_nonzero(counts) * counts[c]) for c in np.flatnonzero(counts)}
        missing = sorted(set(np.unique(labels).tolist()) - {int(c) for c in weights})
        if missing:
            raise ValueError(f"class_weight has no weight for the classes {missing}; 1.0 leaves one as it is.")
        return {int(c): float(weight) for c, weight in weights.items()}

    def finish(self, loss: Any, metrics: Any) -> Run:
        """Writes how the run ended and its report; gives the model the best weights."""
        first_time = self.directory.result is None or self.directory.result["epochs"] != self.epochs
        if not self.model.compiled:
            self.model.compile(**compile_arguments(self.pipeline, loss, metrics))
        run = finished_run(self.directory, self.model, self.pipeline, self.config)
        if first_time:
            done = len(next(iter(run.history.values())))
            self.directory.write_result(
                {
                    "epochs": self.epochs,
                    "epochs_done": done,
                    "stopped_early": done < self.epochs,
                    "best": dataclasses.asdict(run.best),
                }
            )
            write_report(run)
        return run
