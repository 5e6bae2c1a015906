"""Everything that `fit` takes can be said on the command line."""

import dataclasses
import inspect
import typing

import command_line
import fit_flags
import pytest
import train
from absl import flags as absl_flags

import framework
from framework.export import Answers, Policy, Proof

# How the arguments of `fit` are called as flags, where they aren't fields of the dataclasses above.
_SAID_OTHERWISE = {"hparams": "hparam", "pipeline_options": "option", "metrics": "metric", "callbacks": "callback"}


def _flags(*argv):
    flags = command_line.Flags(absl_flags.FlagValues())
    train.define_flags(flags)
    flags.values(["train.py", *argv])
    return flags


def _arguments(*argv):
    return fit_flags.arguments(_flags(*argv).values)


def test_every_argument_of_fit_has_a_flag():
    flags = _flags()
    parameters = inspect.signature(framework.fit).parameters
    for name in set(parameters) - set(fit_flags.configurations()):
        assert _SAID_OTHERWISE.get(name, name) in flags.values, f"fit's {name} has no flag"
    assert set(_arguments()) == set(parameters)


def test_every_field_of_the_configuration_has_a_flag_of_its_own():
    flags = _flags()
    kinds = {*fit_flags.configurations().values(), framework.Schedule, Answers, Policy, Proof}
    assert kinds >= {framework.Optimization, framework.Stopping, framework.Checkpoints, framework.Exports}
    names = [
        fit_flags.flag_name(kind, field.name)
        for kind in kinds
        for field in dataclasses.fields(kind)
        if typing.get_type_hints(kind)[field.name] not in kinds  # whose fields have flags of their own
    ]
    assert len(set(names)) == len(names)
    assert set(names) <= set(flags.values)


def test_without_flags_everything_is_the_default():
    arguments = _arguments()
    defaults = {name: p.default for name, p in inspect.signature(framework.fit).parameters.items()}
    for name in ("epochs", "batch_size", "seed", "objective", "stopping", "loss", "metrics", "verbose"):
        assert arguments[name] == defaults[name], name
    for name, kind in fit_flags.configurations().items():
        assert arguments[name] == (None if name == "warm_start" else kind()), name
    assert arguments["callbacks"] == []
    assert arguments["hparams"] == arguments["pipeline_options"] == {}


def test_every_flag_is_explained_in_one_line():
    flags = _flags()
    lines = flags.describe().splitlines()
    described = {line.split()[0].lstrip("-").removeprefix("no").partition("=")[0] for line in lines if "--" in line}
    assert {name.removeprefix("no") for name in flags.values} == described
    for line in lines:
        assert len(line) <= 140, f"longer than a line: {line}"
        assert not line.startswith("  ") or line.endswith("."), f"no sentence: {line}"


def test_values_reach_their_fields():
    arguments = _arguments(
        "--model=small_cnn",
        "--pipeline=digits",
        "--run_dir=runs/x",
        *("--hparam", "width=64", "--hparam", "widths=(3, 4)", "--option", "shift=0.2"),
        *("--objective=val_f1", "--mode=max", "--epochs=7", "--batch_size=8", "--seed=3", "--verbose=2"),
        *("--optimizer=sgd", "--learning_rate=0.1", "--schedule=constant", "--warmup=0.1", "--momentum=0.9"),
        *("--class_weight={0: 1.0, 1: 2.0}", "--jit_compile", "--steps_per_execution=4", "--ema=0.99"),
        *("--patience=3", "--min_delta=0.01", "--checkpoint_every_epochs=2", "--checkpoint_keep=5"),
        *("--export_keep=None", "--loss=mae", "--metric=mse", "--metric=mae"),
    )
    optimization = arguments["optimization"]
    assert (optimization.optimizer, optimization.learning_rate, optimization.momentum) == ("sgd", 0.1, 0.9)
    assert optimization.schedule == framework.Schedule("constant", warmup=0.1)
    assert optimization.class_weight == {0: 1.0, 1: 2.0}
    assert optimization.jit_compile
    assert (optimization.steps_per_execution, optimization.ema) == (4, 0.99)
    assert arguments["stopping"] == framework.Stopping(patience=3, min_delta=0.01)
    assert arguments["checkpoints"] == framework.Checkpoints(every_epochs=2, keep=5)
    assert arguments["exports"] == framework.Exports(keep=None)
    assert arguments["objective"] == framework.Objective("val_f1", "max")
    assert arguments["hparams"] == {"width": 64, "widths": (3, 4)}
    assert arguments["pipeline_options"] == {"shift": 0.2}
    assert (arguments["loss"], arguments["metrics"]) == ("mae", ["mse", "mae"])
    assert [
        arguments[name] for name in ("model", "pipeline", "run_dir", "epochs", "batch_size", "seed", "verbose")
    ] == [
        *("small_cnn", "digits", "runs/x"),
        *(7, 8, 3, 2),
    ]


def test_nostopping():
    assert _arguments("--nostopping")["stopping"] is None


def test_balanced_class_weight():
    assert _arguments("--class_weight=balanced")["optimization"].class_weight == "balanced"


def test_callbacks_are_made():
    (callback,) = _arguments("--callback=keras.callbacks:TerminateOnNaN")["callbacks"]
    assert type(callback).__name__ == "TerminateOnNaN"


def test_warm_start():
    assert _arguments()["warm_start"] is None
    warm_start = _arguments("--warm_start=runs/a", "--warm_start_reinitialize=['logits/*']")["warm_start"]
    assert (warm_start.source, list(warm_start.reinitialize)) == ("runs/a", ["logits/*"])
    with pytest.raises(command_line.UsageError, match="--warm_start_mapping says nothing without --warm_start"):
        _arguments("--warm_start_mapping={'a/': 'b/'}")


def test_mode_alone():
    with pytest.raises(command_line.UsageError, match="--mode says which direction of --objective"):
        _arguments("--mode=max")


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--epochs=ten", "expected int"),
        ("--learning_rate=fast", "expected float"),
        ("--schedule=linear", "expected 'constant' or 'cosine'"),
        ("--precision=int8", "expected 'float32' or"),
        ("--class_weight=heavy", "expected"),
        ("--steps_per_execution=all", "expected int or 'auto'"),
        ("--verbose=loud", "expected int or 'auto'"),
    ],
)
def test_a_value_of_the_wrong_type(flag, message):
    with pytest.raises(absl_flags.IllegalFlagValueError, match=message):
        _flags(flag)


def test_a_field_without_help_is_explained_by_its_docstring():
    @dataclasses.dataclass
    class Settings:
        """Settings.

        Attributes:
            first: What comes `first`,
                on two lines. And more.
            last: The end; not the beginning.
        """

        first: int = 1
        last: bool = False

    flags = command_line.Flags(absl_flags.FlagValues())
    with flags.heading("Settings"):
        fit_flags.define_fields(flags, Settings)
    assert flags.values["settings_first"].help == "What comes first, on two lines."
    assert flags.values["settings_last"].help == "The end; not the beginning."
    assert flags.values["settings_last"].boolean
