"""The flags of `framework.fit`, and its arguments made of them.

Names, types and defaults come from `fit`'s signature and the fields of its dataclasses: a new field is a new flag.
"""

import dataclasses
import inspect
import itertools
import re
import typing
from collections.abc import Iterator
from typing import Any

from absl import flags as absl_flags
from command_line import Flags, UsageError, assignments, import_object

import framework

# Under what the flags of a dataclass stand; one that isn't here stands under its docstring's first line.
_HEADINGS = {
    "optimization": "How weights are updated",
    "stopping": "When to stop before the last epoch",
    "checkpoints": "What is kept to go on with",
    "exports": "What is kept for serving",
    "divergence": "When the loss becomes NaN or infinite",
    "warm_start": "Where the initial weights come from",
}
# Where a field's name alone would say too little, or be taken; for other dataclasses their name stands before it.
_PREFIXES = {"Optimization": "", "Schedule": "", "Stopping": "", "Checkpoints": "checkpoint_", "Exports": "export_"}
_NAMES = {"Schedule.kind": "schedule", "Schedule.final": "schedule_final", "WarmStart.source": "warm_start"}
# A flag that isn't here is explained by the first sentence of its field's docstring.
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
    "export_classify_regress": "Add the signature for TensorFlow Serving's Classify or Regress calls.",
    "export_warmup": "Batch sizes with which TensorFlow Serving warms up, such as '(1, 32)'.",
    "export_formats": "Further formats, such as \"('litert', 'onnx')\".",
    "export_format_max_drop": "How much worse a format may be by the task's metric, as a share of its value.",
    "export_slices": "Features by whose values metrics are computed separately, such as \"('shop',)\".",
    "answers_top_k": "How many of the most probable classes are answered with their names.",
    "answers_layers": "Layers whose outputs are answered too, such as \"('embedding',)\".",
    "answers_saliency": "Add a signature with the gradient of the score by the model's inputs.",
    "answers_on_error": "What a row that can't be decoded does: raise fails the request, mask answers NaN and says so.",
    "policy_improve": "By how much a new best must be better in other logged values, such as \"{'val_auc': 0.002}\".",
    "policy_max_drop": "How much worse a new best may be in any slice, such as \"{'accuracy': 0.01}\".",
    "policy_min_examples": "Slices with fewer examples aren't held against a new best.",
    "proof_budget_secs": "Seconds for recomputing the validation metrics of an export before it is published.",
    "proof_tolerance": "Largest difference between an export's answers and the live model's, by default by precision.",
    "proof_modules": "Modules with custom operations that an export needs, such as \"('tensorflow_text',)\".",
    "proof_metrics": "Don't recompute the validation metrics of an export before it is published.",
    "warm_start_mapping": "A dict of name prefixes, here to there, such as \"{'encoder/': 'backbone/'}\".",
    "warm_start_reinitialize": "Patterns of names that keep their initial values, such as \"['logits/*']\".",
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
    with flags.heading("What is best"):
        flags.text("objective", None, "The logged value that decides which epoch is best; by default the task's.")
        flags.value("mode", typing.Literal["min", "max"] | None, None, "Whether less or more of --objective is better.")
    for parameter, configuration in configurations().items():
        with flags.heading(_HEADINGS.get(parameter) or (inspect.getdoc(configuration) or "").partition("\n")[0]):
            if parameter == "stopping":
                flags.switch("stopping", True, "Always train to the last epoch.")
            define_fields(flags, configuration)
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
    made = {parameter: from_flags(configuration, values) for parameter, configuration in configurations().items()}
    if not values.stopping:
        made["stopping"] = None
    return {
        **{name: values[name].value for name in ("model", "pipeline", "run_dir", "epochs", "batch_size", "seed")},
        "hparams": assignments("hparam", values.hparam),
        "pipeline_options": assignments("option", values.option),
        "objective": _objective(values),
        **made,
        "loss": values.loss,
        "metrics": values.metric or None,
        "callbacks": [import_object("callback", place)() for place in values.callback],
        "verbose": values.verbose,
    }


def _objective(values: absl_flags.FlagValues) -> framework.Objective | None:
    if values.objective and values.mode:
        return framework.Objective(values.objective, values.mode)
    if values.mode:
        raise UsageError("--mode says which direction of --objective is better: give both.")
    try:
        return framework.Objective.of(values.objective) if values.objective else None
    except ValueError as error:
        raise UsageError(f"Is more or less of {values.objective!r} better? Say --mode=max or --mode=min.") from error


def configurations() -> dict[str, type]:
    """The parameters of `fit` that are dataclasses of settings."""
    found = {}
    for name, parameter in inspect.signature(framework.fit, eval_str=True).parameters.items():
        for kind in (parameter.annotation, *typing.get_args(parameter.annotation)):
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind is not framework.Objective:
                found[name] = kind
    return found


def define_fields(flags: Flags, configuration: type) -> None:
    """A flag for each field of a dataclass, and of the dataclasses in it."""
    for field, kind in _fields(configuration):
        name = flag_name(configuration, field.name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            define_fields(flags, kind)
            continue
        help = _HELP.get(name) or _documented(configuration, field.name)
        if kind is bool:
            flags.switch(name, bool(field.default), help)
        else:
            flags.value(name, kind | None if _is_required(field) else kind, _default(field), help)


def from_flags(configuration: type, values: absl_flags.FlagValues) -> Any:
    """The dataclass of which `define_fields` made flags; `None` where a flag without a default wasn't given.

    Raises:
        UsageError: It wasn't given, but others that are nothing without it.
    """
    arguments, needed, given = {}, [], []
    for field, kind in _fields(configuration):
        name = flag_name(configuration, field.name)
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            arguments[field.name] = from_flags(kind, values)
            continue
        arguments[field.name] = values[name].value
        if _is_required(field) and values[name].value is None:
            needed.append(name)
        elif values[name].present:
            given.append(name)
    if needed and given:
        raise UsageError(f"--{given[0]} says nothing without --{needed[0]}: give both.")
    return None if needed else configuration(**arguments)


def flag_name(configuration: type, field: str) -> str:
    """What the flag of a field is called."""
    kind = configuration.__name__
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", kind).lower()
    return _NAMES.get(f"{kind}.{field}", f"{_PREFIXES.get(kind, f'{words}_')}{field}")


def _define_parameter(flags: Flags, name: str) -> None:
    parameter = inspect.signature(framework.fit, eval_str=True).parameters[name]
    flags.value(name, parameter.annotation, parameter.default, _HELP[name])


def _fields(configuration: type) -> Iterator[tuple[dataclasses.Field, Any]]:
    """Fields with their types."""
    hints = typing.get_type_hints(configuration)
    for field in dataclasses.fields(configuration):
        yield field, hints[field.name]


def _is_required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _default(field: dataclasses.Field) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not dataclasses.MISSING else None


def _documented(configuration: type, field: str) -> str:
    """The first sentence about a field in its class' docstring; nothing where there is none."""
    lines = (inspect.getdoc(configuration) or "").splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(f"    {field}: ")), len(lines))
    continued = itertools.takewhile(lambda line: line.startswith(" " * 8), lines[start + 1 :])
    _, _, text = " ".join(line.strip() for line in (*lines[start : start + 1], *continued)).partition(": ")
    return re.split(r"(?<=\.) ", text)[0].replace("`", "")
