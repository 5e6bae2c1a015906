"""The pictures of a finished run, in `report/`."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from framework import report
from framework.data import random
from framework.data.phases import TEST, TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.stages import raw_examples
from framework.tasks import BinaryClassification, Classification, Heads, Regression, Task
from framework.training.run import Run
from framework.training.run_directory import RunDirectory

_SHEET_EXAMPLES = 16
_SHEET_EPOCHS = 2
_SHEET_ROWS = 4096


def write_report(run: Run) -> None:
    """Writes learning curves, a sheet of training examples, and what is confused with what.

    A picture that can't be drawn is named in the log; the run is complete without it.
    """
    folder = RunDirectory(run.run_dir).report
    folder.mkdir(exist_ok=True)
    pictures: dict[str, Callable[[pathlib.Path], Any]] = {
        "learning_curves.png": lambda path: report.learning_curves(run.history, path, best_epoch=run.best.epoch),
        "train_examples.png": lambda path: training_sheet(run.pipeline, path),
    }
    phase = next((phase for phase in (TEST, VALIDATION) if run.pipeline.has(phase)), TRAIN)
    pictures |= _prediction_pictures(run, phase)
    for name, draw in pictures.items():
        try:
            draw(folder / name)
        except Exception:  # a picture isn't worth a trained model
            logging.exception("The picture %s couldn't be drawn.", folder / name)


def training_sheet(pipeline: Pipeline, path: pathlib.Path, *, seed: int = 0) -> None:
    """Training examples as read and as augmented in two epochs: images where there are any, else histograms.

    What is shown is what the model is fed, after `preprocess`.
    """
    source = pipeline.require_source(TRAIN)
    count = min(_SHEET_EXAMPLES, source.num_examples)
    stored = next(iter(source.batches(count)))
    indices = tf.range(count, dtype=tf.int64)
    fed = [("as read", pipeline.preprocess(dict(raw_examples(pipeline, TRAIN, indices, stored).features)))]
    for epoch in range(_SHEET_EPOCHS):
        seeds = random.example_seeds(seed, epoch, indices)
        raw = raw_examples(pipeline, TRAIN, indices, stored, seeds)
        augmented, _ = pipeline.augment(dict(raw.features), raw.labels, seeds)
        fed.append((f"augmented, epoch {epoch}", pipeline.preprocess(augmented)))
    images = [name for name, tensor in fed[0][1].items() if _is_image(tensor)]
    if images:
        rows = [(f"{name}: {title}", inputs[name].numpy()) for name in images for title, inputs in fed]
        report.image_sheet(rows, path)
        return
    splits = []
    for phase in (TRAIN, VALIDATION):
        if pipeline.has(phase):
            example = next(iter(pipeline.require_source(phase).batches(_SHEET_ROWS)))
            inputs = pipeline.preprocess(dict(example.features))
            splits.append((phase, _columns(inputs)))
    if splits[0][1]:
        report.feature_sheet(splits, path)


def _columns(inputs: Mapping[str, tf.Tensor]) -> dict[str, np.ndarray]:
    """Numeric inputs as columns `[batch]`; a vector's elements are columns of their own."""
    columns = {}
    for name, tensor in inputs.items():
        if tensor.dtype == tf.string:
            continue
        if tensor.shape.rank == 1:
            columns[name] = tensor.numpy()
        elif tensor.shape.rank == 2:
            columns |= {f"{name}[{index}]": column for index, column in enumerate(tensor.numpy().T)}
    return columns


def _is_image(tensor: tf.Tensor) -> bool:
    return tensor.dtype != tf.string and tensor.shape.rank == 4 and tensor.shape[-1] in (1, 3, 4)


def _prediction_pictures(run: Run, phase: str) -> dict[str, Callable[[pathlib.Path], Any]]:
    """A confusion matrix or a scatter plot for each head that has one."""
    task = run.pipeline.task
    heads: Mapping[str, Task] = task.tasks if isinstance(task, Heads) else {"": task}
    drawable = {
        head: t for head, t in heads.items() if isinstance(t, (Classification, BinaryClassification, Regression))
    }
    if not drawable:
        return {}
    labels, predictions = _labels_and_predictions(run, phase)
    pictures: dict[str, Callable[[pathlib.Path], Any]] = {}
    for head, head_task in drawable.items():
        prefix = f"{head}_" if head else ""
        true = labels[head] if head else labels
        if isinstance(head_task, Regression):
            if head_task.num_values == 1:
                values = predictions[f"{prefix}value"]
                pictures[f"{prefix}predicted_{phase}.png"] = _bind(
                    report.predicted_against_true, true, values, name=head or phase
                )
            continue
        names = head_task.class_names or [str(index) for index in range(max(head_task.units, 2))]
        ids = predictions[f"{prefix}class_id"]
        pictures[f"{prefix}confusion_{phase}.png"] = _bind(
            report.confusion_matrix, np.asarray(true).astype(np.int64), ids, class_names=list(names)
        )
    return pictures


def _bind(draw: Callable[..., Any], first: Any, second: Any, **named: Any) -> Callable[[pathlib.Path], Any]:
    return lambda path: draw(first, second, path, **named)


def _labels_and_predictions(run: Run, phase: str) -> tuple[Any, dict[str, np.ndarray]]:
    labels, predictions = [], []
    for example in run.pipeline.require_source(phase).batches(run.batch_size):
        labels.append(tf.nest.map_structure(lambda value: value.numpy(), example.labels))
        predictions.append(run.predict({name: value.numpy() for name, value in example.features.items()}))
    joined = {name: np.concatenate([part[name] for part in predictions]) for name in predictions[0]}
    return tf.nest.map_structure(lambda *parts: np.concatenate(parts), *labels), joined
