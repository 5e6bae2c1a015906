"""The flags of `framework.fit`, and its arguments made of them.

Flags, types and defaults come from `fit`'s signature and the fields of its dataclasses, so a new field is a new flag.
"""

import dataclasses
import inspect
import itertools
import re
import typing
from typing import Any

from absl import flags as absl_flags
from command_line import Flags, UsageError, assignments, import_object

import framework

# Where the field's name alone would say too little, or be taken.
_NAMES = {"Schedule.kind": "schedule", "Schedule.final": "schedule_final"}
_PREFIXES = {"Checkpoints": "checkpoint_", "Exports": "export_"}
# A field that isn't here is explained by the first sentence of its docstring.
_HELP = {
    "epochs": "Largest number of passes over the training split.",
    "batch_size": "Examples of a step.",
    "seed": "Of initial weights, dropout, order and augmentation.",
    "verbose": "0 silent, 1 progress bars, 2 a line an epoch; 'auto': 1 on a terminal, 2 elsewhere.",
    "optimizer": "adamw, adam, sgd, rmsprop, adagrad, adafactor, lion, lamb, nadam or ftrl.",
    "learning_rate": "The peak of the schedule.",
    "schedule": "The learning rate's course over the run: constant or cosine.",
    "warmup": "Share of all steps in which the learning rate rises from 0.",
    "schedule_final": "What a cosine ends at, as a share of the peak.",
    "weight_decay": "Decoupled from the gradient, times the learning rate.",
    "clip_norm": "Largest norm of all gradients together.",
    "momentum": "Of sgd and rmsprop.",
    "ema": "Momentum of a moving average of the weights, such as 0.999; it is what is evaluated and exported.",
    "precision": "float32, mixed_float16 or mixed_bfloat16.",
    "class_weight": "Of the training loss: balanced, or a dict such as '{0: 1.0, 1: 2.5}'.",
    "jit_compile": "Compile the step with XLA; on CPUs it mostly slows down.",
    "steps_per_execution": "Steps that one call from Python runs, a divisor of an epoch's steps; or 'auto'.",
    "patience": "Epochs without improvement of the objective after which training stops.",
    "checkpoint_keep": "How many of the newest checkpoints stay.",
    "export_keep": "How many of the newest exports stay beside the best: 0, 1, ..., or None for all.",
}


def define(flags: Flags) -> None:
    """Defines a flag for everything that `fit` takes."""
    with flags.heading("What is trained"):
        flags.text("model", None, "A registered model; --list shows them.")
        flags.texts("hparam", "A hyper-parameter of the model, name=value, such as width=64. As often as needed.")
        flags.text("pipeline", None, "A registered pipeline; --list shows them.")
        flags.texts("option", "An option of the pipeline, name=value. As often as needed.")
        flags.text("run_dir", None, "Where everything is written. The same command again goes on from there.")
    with flags.heading("How long"):
        for name in ("epochs", "batch_size", "seed"):
            _define_parameter(flags, name)
    with flags.heading("What is best, and when to stop"):
        flags.text("objective", None, "The logged value that decides which epoch is best; by default the task's.")
        flags.value("mode", typing.Literal["min", "max"] | None, None, "Whether less or more of --objective is better.")
        flags.switch("stopping", True, "Always train to the last epoch.")
        define_fields(flags, framework.Stopping)
    with flags.heading("How weights are updated"):
        define_fields(flags, framework.Optimization)
        define_fields(flags, framework.Schedule)
    with flags.heading("What is kept"):
        define_fields(flags, framework.Checkpoints)
        define_fields(flags, framework.Exports)
    with flags.heading("Keras' own"):
        flags.text("loss", None, "A Keras loss by name, on the model's outputs (logits!), instead of the task's.")
        flags.texts("metric", "A Keras metric by name, instead of the task's. As often as needed.")
        flags.texts("callback", "A further callback, module:class, made without arguments. As often as needed.")
        _define_parameter(flags, "verbose")


def arguments(values: absl_flags.FlagValues) -> dict[str, Any]:
    """The arguments of `fit` that the flags stand for.

    Raises:
        UsageError: Flags that don't go together or have no such form.
        ValueError: A value that the framework refuses.
    """
    if values.mode and not values.objective:
        raise UsageError("--mode says which direction of --objective is better: give both.")
    objective = framework.Objective(values.objective, values.mode) if values.mode else values.objective
    return {
        "model": values.model,
        "pipeline": values.pipeline,
        "run_dir": values.run_dir,
        "epochs": values.epochs,
        "batch_size": values.batch_size,
        "seed": values.seed,
        "hparams": assignments("hparam", values.hparam),
        "pipeline_options": assignments("option", values.option),
        "objective": objective,
        "optimization": from_flags(framework.Optimization, values, schedule=from_flags(framework.Schedule, values)),
        "stopping": from_flags(framework.Stopping, values) if values.stopping else None,
        "checkpoints": from_flags(framework.Checkpoints, values),
        "exports": from_flags(framework.Exports, values),
        "loss": values.loss,
        "metrics": values.metric or None,
        "callbacks": [import_object("callback", place)() for place in values.callback],
        "verbose": values.verbose,
    }


def define_fields(flags: Flags, configuration: type) -> None:
    """A flag for each field of a dataclass, but for fields that are dataclasses themselves."""
    hints = typing.get_type_hints(configuration)
    for field in dataclasses.fields(configuration):
        if dataclasses.is_dataclass(hints[field.name]):
            continue
        name = flag_name(configuration, field.name)
        help = _HELP.get(name) or _documented(configuration, field.name)
        if hints[field.name] is bool:
            flags.switch(name, field.default, help)
        else:
            flags.value(name, hints[field.name], field.default, help)


def from_flags(configuration: type, values: absl_flags.FlagValues, **given: Any) -> Any:
    """The dataclass of which `define_fields` made flags; `given` are fields that have none."""
    names = [field.name for field in dataclasses.fields(configuration) if field.name not in given]
    return configuration(**{name: values[flag_name(configuration, name)].value for name in names}, **given)


def flag_name(configuration: type, field: str) -> str:
    """What the flag of a field is called."""
    kind = configuration.__name__
    return _NAMES.get(f"{kind}.{field}", f"{_PREFIXES.get(kind, '')}{field}")


def _define_parameter(flags: Flags, name: str) -> None:
    parameter = inspect.signature(framework.fit, eval_str=True).parameters[name]
    flags.value(name, parameter.annotation, parameter.default, _HELP[name])


def _documented(configuration: type, field: str) -> str:
    """The first sentence about a field in its class' docstring; nothing where there is none."""
    lines = (inspect.getdoc(configuration) or "").splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(f"    {field}: ")), len(lines))
    continued = itertools.takewhile(lambda line: line.startswith(" " * 8), lines[start + 1 :])
    _, _, text = " ".join(line.strip() for line in (*lines[start : start + 1], *continued)).partition(": ")
    return re.split(r"(?<=[.;]) ", text)[0].rstrip(";").replace("`", "")
