"""The manifest of an export: what it is, how good it is, and how that was proven.

`manifest.schema.json` beside this module is its JSON schema (draft 2020-12). Numbers that JSON hasn't are the texts
"NaN", "Infinity" and "-Infinity", which Python's `float` reads.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.resources
import json
import math
import platform
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.data.pipeline import Pipeline
from framework.export.plain_json import plain_json
from framework.export.signatures import Signatures
from framework.features import describe
from framework.tasks.objective import Objective
from framework.tasks.task import Task
from framework.variables import variable_names

FORMAT_VERSION = 1
PREDICT = tf.saved_model.PREDICT_METHOD_NAME


@dataclasses.dataclass(frozen=True)
class Moment:
    """When in training an export was written.

    Attributes:
        epoch: Counted from 0.
        step: Optimizer steps taken.
        metrics: The epoch's logs.
    """

    epoch: int = 0
    step: int = 0
    metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)


def schema() -> dict[str, Any]:
    """The JSON schema of a manifest."""
    file = importlib.resources.files("framework.export") / "manifest.schema.json"
    return json.loads(file.read_text(encoding="utf-8"))


def begin_manifest(
    model: keras.Model,
    signatures: Signatures,
    pipeline: Pipeline | None,
    moment: Moment,
    *,
    method_names: Mapping[str, str],
    objective: Objective | None,
    configuration: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """What is known of an export when it is written; the proof adds the rest."""
    names = variable_names(model)
    variables = signatures.module.model_variables
    outputs = signatures.outputs
    task = pipeline.task if pipeline else None
    return plain_json(
        {
            "manifest_version": FORMAT_VERSION,
            "epoch": moment.epoch,
            "step": moment.step,
            "metrics": {name: float(value) for name, value in moment.metrics.items()},
            "objective": dataclasses.asdict(objective) if objective else None,
            "task": task.describe() if task else None,
            "class_names": class_names(task),
            # How clients' columns are called that can't be called so in a signature.
            "renamed": dict(pipeline.renamed) if pipeline else {},
            "pipeline": {"name": pipeline.name, "features": describe(pipeline.features)} if pipeline else None,
            # What the training split looks like: `framework.data.contract` compares other data with it.
            "data": pipeline.profile if pipeline else None,
            "signatures": {
                name: {
                    "method_name": method_names.get(name, PREDICT),
                    "inputs": describe(inputs),
                    "outputs": describe(outputs[name]),
                }
                for name, inputs in signatures.inputs.items()
            },
            # Weights by name for whoever wants to start from this export; the keys are those of its checkpoint.
            "variables": {
                f"model_variables/{index}": {
                    "name": names[int(index)],
                    "shape": list(variable.shape),
                    "dtype": variable.dtype.name,
                }
                for index, variable in variables.items()
            },
            "parameters": sum(math.prod(variable.shape) for variable in variables.values()),
            "parameter_bytes": sum(
                math.prod(variable.shape) * variable.dtype.size
                for variable in [*variables.values(), *signatures.module.other_variables]
            ),
            "versions": {
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            "configuration": configuration,
            "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        }
    )


def class_names(task: Task | None) -> Any:
    """Names of classes or labels in the order of their ids; a dict of them for several heads; `None` without names."""
    if task is None:
        return None
    heads = getattr(task, "tasks", None)
    if isinstance(heads, Mapping):
        named = {head: class_names(part) for head, part in heads.items()}
        return {head: names for head, names in named.items() if names} or None
    names = getattr(task, "class_names", None) or getattr(task, "label_names", None)
    return list(names) if names else None
