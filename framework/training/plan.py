"""What a call of `fit` asks for, resolved: names looked up, defaults filled in, everything written down."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import json
import os
import platform
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import framework
from framework.building import resolve_hparams
from framework.data.phases import PHASES
from framework.data.pipeline import Pipeline
from framework.features import describe
from framework.registry import check_builder, get_model, get_pipeline, model_name, pipeline_name
from framework.tasks.objective import Objective
from framework.training.config import plain


def resolve_builder(model: str | Callable[..., Any]) -> Callable[..., Any]:
    """A registered builder by name, or a build function as given."""
    builder = get_model(model) if isinstance(model, str) else model
    check_builder(builder)
    return builder


def resolve_pipeline(pipeline: str | Pipeline | Callable[..., Pipeline], options: Mapping[str, Any]) -> Pipeline:
    """A pipeline from its registered name or class and options, or one as given.

    Raises:
        TypeError: It isn't a pipeline, doesn't take these options, or was given ready-made together with options.
    """
    if isinstance(pipeline, Pipeline):
        if options:
            raise TypeError("pipeline_options are for a pipeline given by name; set them on the object instead.")
        return pipeline
    factory = get_pipeline(pipeline) if isinstance(pipeline, str) else pipeline
    if not callable(factory):
        raise TypeError(f"pipeline must be a registered name or a Pipeline, got {pipeline!r}.")
    try:
        made = factory(**options)
    except TypeError as error:
        raise TypeError(f"The pipeline {pipeline!r} with the options {dict(options)}: {error}.") from error
    if not isinstance(made, Pipeline):
        raise TypeError(f"The pipeline {pipeline!r} must make a Pipeline, it made {type(made).__name__}.")
    if isinstance(pipeline, str) and not inspect.isclass(factory):
        # What makes it again is what the function takes, and not what it has put together.
        parameters = inspect.signature(factory).parameters.values()
        made.options = {p.name: p.default for p in parameters if p.default is not p.empty} | dict(options)
    return made


def settle_objective(objective: Objective | str | None, pipeline: Pipeline) -> Objective:
    """The objective asked for, or the task's; without a validation split it is judged on the training split."""
    chosen = pipeline.task.objective if objective is None else Objective.of(objective)
    if objective is None and not pipeline.has("validation"):
        return dataclasses.replace(chosen, monitor=chosen.monitor.removeprefix("val_"))
    return chosen


def where_from(target: Any) -> str:
    """`module:qualname`, from which `import_from` gets it back."""
    return f"{target.__module__}:{target.__qualname__}"


def import_from(place: str, what: str) -> Any:
    """Imports `module:qualname`.

    Raises:
        LookupError: It was defined in a script or a function, or its module isn't importable here.
    """
    module, _, qualname = place.partition(":")
    if module == "__main__" or "<" in qualname:
        raise LookupError(f"The run's {what} {place} was defined in a script or notebook: pass it as {what}=...")
    try:
        target: Any = importlib.import_module(module)
        for part in qualname.split("."):
            target = getattr(target, part)
    except (ImportError, AttributeError) as error:
        raise LookupError(f"The run's {what} {place} can't be imported ({error}): pass it as {what}=...") from error
    return target


def describe_model(builder: Callable[..., Any], hparams: Mapping[str, Any]) -> dict[str, Any]:
    """The model's part of `config.json`."""
    return {
        "name": model_name(builder),
        "builder": where_from(builder),
        "hparams": plain(resolve_hparams(builder, hparams)),
    }


def describe_pipeline(pipeline: Pipeline, name: str | None) -> dict[str, Any]:
    """The pipeline's part of `config.json`: what it is, and what its data are."""
    data = {}
    for phase in PHASES:
        source = pipeline.source(phase)
        if source is not None:
            data[phase] = {"examples": source.num_examples, "fingerprint": source.fingerprint()}
    options = plain(pipeline.options)
    return {
        "name": name or pipeline_name(type(pipeline)),
        "class": where_from(type(pipeline)),
        # Only what JSON keeps unchanged can make the same pipeline again.
        "options": options,
        "reloadable": _same(options, pipeline.options),
        "features": describe(pipeline.features),
        "bad_examples": plain(pipeline.bad_examples),
        "task": plain(pipeline.task.describe()),
        "data": data,
    }


def pipeline_from_config(config: Mapping[str, Any]) -> Pipeline:
    """The pipeline that a run was trained with.

    Raises:
        LookupError: It can't be made from the configuration alone.
    """
    if not config["reloadable"]:
        raise LookupError(f"The run's pipeline {config['class']} was made of objects: pass it as pipeline=...")
    factory = get_pipeline(config["name"]) if config["name"] else import_from(config["class"], "pipeline")
    return resolve_pipeline(factory, config["options"])


def builder_from_config(config: Mapping[str, Any]) -> Callable[..., Any]:
    """The build function that a run was trained with.

    Raises:
        LookupError: It can't be found by the configuration alone.
    """
    return get_model(config["name"]) if config["name"] else import_from(config["builder"], "model")


def environment() -> dict[str, str]:
    """What the last bit of a sum depends on, for the record."""
    return {
        "processor": platform.machine(),
        "threads": str(tf.config.threading.get_intra_op_parallelism_threads() or os.cpu_count()),
        "onednn": os.environ.get("TF_ENABLE_ONEDNN_OPTS", "default"),
        "framework": framework.__version__,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
    }


def _same(options: Any, original: Any) -> bool:
    try:
        return bool(json.loads(json.dumps(options)) == json.loads(json.dumps(original)))
    except (TypeError, ValueError):
        return False
