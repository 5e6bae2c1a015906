"""Publishes the model whenever the objective improves."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any, ClassVar

import keras
from absl import logging

from framework import files
from framework.callbacks.background import BackgroundWriter
from framework.data.pipeline import Pipeline
from framework.export.errors import ProofError
from framework.export.exporter import Exporter
from framework.export.manifest import Moment
from framework.export.options import Exports
from framework.export.policy import Candidate
from framework.export.scoring import Evaluation
from framework.export.staged import Staged, list_staged
from framework.export.versions import (
    MANIFEST,
    Record,
    best_record,
    find_manifest,
    locked,
    prune,
    record_refusal,
    write_pointers,
)
from framework.tasks.objective import Objective


class ExportBest(keras.callbacks.Callback):
    """Exports the model to `<directory>/<integer>` after each epoch that is better than all before.

        model.fit(train, validation_data=validation, callbacks=[ExportBest("export", objective="val_accuracy")])

    When an epoch counts as better is the `Objective`'s business, how it is written the `Exporter`'s. At the end of such
    an epoch the weights are written aside; while the next one trains, the export is proven in another process and
    published. The record moves only then. What is written aside survives a crash, and is proven at the next start. The
    record is read from the exports themselves, so a restart never demotes the best.

    An export that can't be proven raises its error at the end of the next epoch, or of training.

    Args:
        directory: Where versions are published.
        pipeline: Where the signatures come from; without one the model's own inputs are the only signature.
        objective: What is better; a name suffices where its direction goes without saying. By default that of the
            pipeline's task.
        exports: What is exported, how it is proven, and what else a new best must be.
        validation_freq: As given to `Model.fit`: a number, or epochs counted from 1; between evaluations nothing can be
            judged.
        evaluation: Says that `fit` evaluates the pipeline's own validation split, and how: then its metrics are
            recomputed through a signature of each export, and compared.
        configuration: Of the run, for the manifests.

    Raises:
        TypeError: Neither an objective nor a pipeline is given.
        ValueError: The objective's direction isn't clear.
        LookupError: (after the first evaluation) the objective isn't in the logs.
    """

    # Where a training that was interrupted in this process is still proving its last export.
    _busy: ClassVar[dict[pathlib.Path, BackgroundWriter]] = {}

    def __init__(
        self,
        directory: str | pathlib.Path,
        pipeline: Pipeline | None = None,
        *,
        objective: Objective | str | None = None,
        exports: Exports | None = None,
        validation_freq: int | Collection[int] = 1,
        evaluation: Evaluation | None = None,
        configuration: Mapping[str, Any] | None = None,
    ):
        super().__init__()
        if objective is None:
            if pipeline is None:
                raise TypeError(
                    "ExportBest needs an objective, such as 'val_accuracy', or a pipeline, whose task has one."
                )
            objective = pipeline.task.objective
        self.directory = pathlib.Path(directory)
        self.objective = Objective.of(objective)
        self.exports = exports or Exports()
        self.validation_freq = validation_freq
        self._pipeline = pipeline
        self._evaluation = evaluation
        self._configuration = configuration
        self._best: Record | None = None
        self._exporter: Exporter | None = None
        self._job = BackgroundWriter("export")
        self._progress: list[Mapping[str, Any]] = []

    @property
    def best(self) -> Record | None:
        """The record of the best; waits for an export that is being proven.

        Raises:
            ProofError: It isn't what it should be.
        """
        self._job.wait()
        return self._best

    def on_train_begin(self, logs=None):
        self._job.wait()
        other = self._busy.pop(self.directory.resolve(), None)
        if other is not None and other is not self._job:
            with contextlib.suppress(Exception):  # was that training's to raise
                other.wait()
        self.directory.mkdir(parents=True, exist_ok=True)
        with locked(self.directory):
            files.sweep(self.directory)
        self._exporter = self._make_exporter()
        self._exporter.prepare()
        self._settle(best_record(self.directory, self.objective))  # what a process that died left undone
        waiting = list_staged(self.directory)
        if waiting:
            self._submit(*waiting)

    def on_test_begin(self, logs=None):
        self._progress = []

    def on_test_batch_end(self, batch, logs=None):
        # Keras' running metrics: with them a part of the split can be compared too.
        self._progress += [{}] * (batch - len(self._progress))
        self._progress.append(logs or {})

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.objective.monitor.startswith("val_") and not self._is_evaluated(epoch + 1):
            return
        self.objective.read(logs)  # or say that it isn't there
        self._job.wait()
        if not self._is_better(logs):
            return
        if self._exporter is None or self._exporter.model is not self.model:
            self._exporter = self._make_exporter()
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        moment = Moment(epoch, step, _floats(logs))
        self._submit(self._exporter.stage(self.directory, moment, progress=[*map(_floats, self._progress)]))

    def on_train_end(self, logs=None):
        self.close()

    def close(self) -> None:
        """Waits until the last export is published.

        Raises:
            ProofError: It isn't what it should be.
        """
        self._job.close()

    def leave(self) -> None:
        """Gives up proving the last export, for a process that has to end now; the next one does it."""
        if self._job.busy and self._exporter is not None:
            self._exporter.interrupt()
        with contextlib.suppress(Exception):
            self._job.close()

    @contextlib.contextmanager
    def ending(self) -> Iterator[None]:
        """Around a training: one that fails leaves its last export published all the same, one that has to go doesn't.

        Keras calls `on_train_end` only where nothing was raised.
        """
        try:
            yield
        except Exception:
            try:
                self.close()
            except Exception as error:
                logging.error("The last export isn't published: %s", error)
            raise
        except BaseException:
            self.leave()
            raise

    def _make_exporter(self) -> Exporter:
        return Exporter(
            self.model,
            self._pipeline,
            exports=self.exports,
            objective=self.objective,
            evaluation=self._evaluation,
            configuration=self._configuration,
        )

    def _submit(self, *exports: Staged) -> None:
        exporter = self._exporter
        if exporter is None:
            return

        def work() -> None:
            for export in exports:
                self._prove_and_publish(exporter, export)

        self._busy[self.directory.resolve()] = self._job
        self._job.submit(work)

    def _prove_and_publish(self, exporter: Exporter, export: Staged) -> None:
        manifest = files.read_json(export.model / MANIFEST)
        metrics = {name: float(value) for name, value in manifest["metrics"].items()}
        candidate = Record(export.version, manifest["epoch"], manifest["step"], metrics)
        if not self._is_better(metrics):
            # Of a process that died, and had another objective or was exporting the best once more.
            logging.info("What waited as version %d isn't better than the best: it is deleted.", export.version)
            export.discard()
            return
        try:
            proven = exporter.prove(export)
        except ProofError as error:
            error.place = export.path
            raise
        refusals = self._refusals(candidate, proven.slices)
        if refusals:
            record_refusal(self.directory, candidate.epoch, candidate.step, metrics, refusals)
            export.discard()
            logging.warning("Epoch %d is the best so far, but isn't published: %s", candidate.epoch, " ".join(refusals))
            return
        exporter.finish(export, proven)
        logging.info(
            "%s is %g, the best so far: exported as %s/%d",
            self.objective.monitor,
            metrics[self.objective.monitor],
            self.directory,
            export.version,
        )
        self._settle(candidate)

    def _is_evaluated(self, number: int) -> bool:
        """Whether Keras looks at the validation data after this epoch, counted from 1."""
        frequency = self.validation_freq
        return number % frequency == 0 if isinstance(frequency, int) else number in frequency

    def _is_better(self, metrics: Mapping[str, float]) -> bool:
        monitor, best = self.objective.monitor, self._best
        value = metrics.get(monitor)
        return value is not None and self.objective.improved(value, best.metrics[monitor] if best else None)

    def _refusals(self, candidate: Record, slices: Mapping[str, Any]) -> list[str]:
        best = self._best
        if best is None:
            return []
        before = find_manifest(self.directory, best.version).get("slices", {})
        return self.exports.policy.refusals(
            Candidate(candidate.epoch, candidate.metrics, slices),
            Candidate(best.epoch, best.metrics, _numbers(before)),
        )

    def _settle(self, best: Record | None) -> None:
        """Moves the record, points to it and deletes what needn't stay."""
        self._best = best
        with locked(self.directory):
            write_pointers(self.directory, best)
            if best is not None:
                prune(self.directory, keep=self.exports.keep, best=best.version)


def _floats(logs: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in logs.items()}


def _numbers(slices: Mapping[str, Any]) -> dict[str, Any]:
    """Slices as a manifest has them, with numbers for what JSON hasn't."""
    return {
        name: {value: {**part, "metrics": _floats(part["metrics"])} for value, part in parts.items()}
        for name, parts in slices.items()
    }
