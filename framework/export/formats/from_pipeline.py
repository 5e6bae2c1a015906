"""What a conversion needs of a pipeline: real examples to calibrate and compare with, and the task's metric."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.data.phases import TRAIN, VALIDATION
from framework.data.pipeline import Pipeline
from framework.data.serving import DEFAULT, FEATURES, receivers
from framework.data.sources import Example, Subset
from framework.export.formats.gate import Gate
from framework.export.formats.running import FormatRunner
from framework.tasks.heads import Heads
from framework.tasks.objective import Objective
from framework.tasks.task import Task

_BATCH_SIZE = 64


def representative_examples(pipeline: Pipeline, count: int = 128) -> dict[str, dict[str, np.ndarray]]:
    """Examples of the training split, evenly spread over it, as clients would send them to each signature.

    Args:
        pipeline: Must have learned its statistics.
        count: How many; 100 to 500 are usual for calibration.

    Returns:
        `{signature: {input: [count, ...]}}` for `serving_default` and `features`.
    """
    (batch,) = _spread(pipeline, TRAIN, count, count)
    requests = {name: receivers(pipeline)[name].request for name in (DEFAULT, FEATURES)}
    return {name: dict(request(batch.features)) for name, request in requests.items() if request is not None}


def pipeline_gate(
    pipeline: Pipeline,
    *,
    objective: Objective | str | None = None,
    metrics: Any = None,
    phase: str = VALIDATION,
    max_drop: float = 0.01,
    max_examples: int = 2000,
) -> Gate:
    """A gate by one of the task's metrics, or by its loss, on a split.

    Args:
        pipeline: Must have learned its statistics.
        objective: Which metric, such as `"accuracy"`; by default the task's objective.
        metrics: Keras metrics instead of the task's, such as those of the run.
        phase: The split.
        max_drop: How much worse a format may be, as a share of the SavedModel's value.
        max_examples: No more than so many are looked at, evenly spread over the split: it is done for every format.

    Raises:
        ValueError: The pipeline has no such split, or the objective's direction isn't known.
    """
    task = pipeline.task
    objective = Objective.of(task.objective if objective is None else objective)
    objective = Objective(objective.monitor.removeprefix("val_"), objective.mode)
    batches = _spread(pipeline, phase, max_examples, _BATCH_SIZE)
    requests = {name: receiver.request for name, receiver in receivers(pipeline).items()}
    labels = _joined([batch.labels for batch in batches])
    weights = None if batches[0].weights is None else _joined([batch.weights for batch in batches])
    judge = functools.cache(functools.partial(_judge, task, metrics, weights is not None))

    def score(run: FormatRunner) -> float:
        request = requests[run.signature]
        if request is None:
            raise ValueError(f"Nobody knows what clients send to {run.signature!r}: say so by signature(request=...).")
        outputs = _joined([_model_outputs(task, run(**request(batch.features))) for batch in batches])
        return objective.read(judge().evaluate(outputs, labels, sample_weight=weights, return_dict=True, verbose=0))

    return Gate(objective.monitor, objective.mode, score, max_drop)


def _spread(pipeline: Pipeline, phase: str, count: int, batch_size: int) -> list[Example]:
    """Up to `count` examples, evenly spread over a split, as batches of arrays."""
    source = pipeline.require_source(phase).stored
    count = min(count, source.num_examples)
    indices = np.linspace(0, source.num_examples - 1, count).astype(np.int64)
    dataset = Subset(source, indices).batches(min(batch_size, count))
    return [Example(*batch).map(lambda tensor: tensor.numpy()) for batch in dataset]


def _joined(parts: list[Any]) -> Any:
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


def _model_outputs(task: Task, answers: Mapping[str, np.ndarray]) -> Any:
    """What the model returned, `[batch, units]` or a dict of such, told from what a signature answers."""
    if isinstance(task, Heads):
        return {
            head: _model_outputs(part, {name.removeprefix(f"{head}_"): value for name, value in answers.items()})
            for head, part in task.tasks.items()
        }
    name = {True: "logits", False: "probabilities", None: "value"}[task.from_logits]
    if name not in answers:
        raise ValueError(
            f"Metrics of {type(task).__name__} can't be computed from what its signatures answer: "
            f"{', '.join(sorted(answers))} without {name!r}. Write a Gate with a score of your own."
        )
    return answers[name].reshape(-1, task.units)


def _judge(task: Task, metrics: Any, is_weighted: bool) -> keras.Model:
    """Keras' own loss and metrics around outputs that are there already."""
    # All of it has a name: Keras numbers what has none through the process, and a run's own layers come later.
    if isinstance(task, Heads):
        inputs: Any = {head: keras.Input((units,), name=head) for head, units in task.units.items()}
        same: Any = {head: keras.layers.Identity(name=f"same_{head}")(tensor) for head, tensor in inputs.items()}
        weights = {"loss_weights": task.weights}
    else:
        inputs = keras.Input((task.units,), name="outputs")
        same, weights = keras.layers.Identity(name="same")(inputs), {}
    model = keras.Model(inputs, same, name="judge")
    used = {"weighted_metrics" if is_weighted else "metrics": task.metrics() if metrics is None else metrics}
    model.compile(loss=task.loss(), **used, **weights)
    return model
