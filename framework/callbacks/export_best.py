"""Publishes the model whenever the objective improves."""

from __future__ import annotations

import dataclasses
import pathlib

import keras
from absl import logging

from framework import files
from framework.data.pipeline import Pipeline
from framework.export.saved_model import Exporter
from framework.export.versions import BEST, Record, best_record, prune
from framework.tasks.objective import Objective


class ExportBest(keras.callbacks.Callback):
    """Exports the model to `<directory>/<integer>` after each epoch that is better than all before.

        model.fit(train, validation_data=validation, callbacks=[ExportBest("export", objective="val_accuracy")])

    When an epoch counts as better is the `Objective`'s business, how it is written the `Exporter`'s. The record moves
    only after the export is whole. It is read from the exports themselves, so a restart never demotes the best.

    Args:
        directory: Where versions are published.
        pipeline: Where the signatures come from; without one the model's own inputs are the only signature.
        objective: What is better; a name suffices where its direction goes without saying. By default that of the
            pipeline's task.
        keep: How many of the newest versions stay; 0 leaves only the best, `None` all. The best always stays.
        validation_freq: As given to `Model.fit`; in epochs between evaluations nothing can be judged.

    Attributes:
        best: The `Record` of the best, or `None`.

    Raises:
        TypeError: Neither an objective nor a pipeline is given.
        ValueError: `keep` is negative, or the objective's direction isn't clear.
        LookupError: (after the first evaluation) the objective isn't in the logs.
    """

    def __init__(
        self,
        directory: str | pathlib.Path,
        pipeline: Pipeline | None = None,
        *,
        objective: Objective | str | None = None,
        keep: int | None = 1,
        validation_freq: int = 1,
    ):
        super().__init__()
        if objective is None:
            if pipeline is None:
                raise TypeError(
                    "ExportBest needs an objective, such as 'val_accuracy', or a pipeline, whose task has one."
                )
            objective = pipeline.task.objective
        if keep is not None and keep < 0:
            raise ValueError(f"keep must be None (all), 0 (the best alone) or a positive number, got {keep}.")
        self.directory = pathlib.Path(directory)
        self.objective = Objective.of(objective)
        self.keep = keep
        self.validation_freq = validation_freq
        self.best: Record | None = None
        self._pipeline = pipeline
        self._exporter: Exporter | None = None

    def on_train_begin(self, logs=None):
        self.directory.mkdir(parents=True, exist_ok=True)
        files.sweep(self.directory)
        self.best = best_record(self.directory, self.objective)
        if self.best is not None:  # what a process that died between two writes left undone
            self._settle(self.best)

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if self.objective.monitor.startswith("val_") and (epoch + 1) % self.validation_freq:
            return
        value = self.objective.read(logs)
        if not self.objective.improved(value, self.best and self.best.metrics[self.objective.monitor]):
            return
        if self._exporter is None or self._exporter.model is not self.model:
            self._exporter = Exporter(self.model, self._pipeline)
        metrics = {name: float(value) for name, value in logs.items()}
        step = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations))
        version = self._exporter.publish(self.directory, metrics=metrics, epoch=epoch, step=step)
        self.best = Record(version, epoch, step, metrics)
        logging.info(
            "%s is %g, the best so far: exported as %s/%d", self.objective.monitor, value, self.directory, version
        )
        self._settle(self.best)

    def _settle(self, best: Record) -> None:
        """Points to the best and deletes what needn't stay."""
        files.write_json(self.directory / BEST, dataclasses.asdict(best))
        prune(self.directory, keep=self.keep, best=best.version)
