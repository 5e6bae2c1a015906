"""Trains a registered model on a registered pipeline: `framework.fit` on the command line.

    python scripts/train.py --list
    python scripts/train.py --model=small_cnn --pipeline=digits --run_dir=runs/digits
    python scripts/train.py --model=resnet --hparam depth=14 --pipeline=digits --option rotation=15 \\
        --run_dir=runs/resnet --epochs=30 --learning_rate=0.01 --ema=0.99
    python scripts/train.py --import my_package.my_models --model=mine --pipeline=wine --run_dir=runs/mine

The same command again goes on with an interrupted run, and returns a finished one at once.
"""

import inspect
from collections.abc import Callable, Iterable
from typing import Any

import command_line
import fit_flags
from absl import flags as absl_flags

import framework
from framework.training.run_directory import RunDirectory


def define_flags(flags: command_line.Flags) -> None:
    fit_flags.define(flags)
    with flags.heading("What there is"):
        flags.imports()
        flags.switch("list", False, "Show the models and pipelines, and what they take; then end.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.import_own(values)
    if values.list:
        print(listing())
        return
    command_line.require(values, "model", "pipeline", "run_dir", hint="--list shows what there is to train.")
    fit = fit_flags.arguments(values)
    before = RunDirectory(values.run_dir).result
    run = framework.fit(**fit)
    print(summary(run, was_finished=before is not None and before == RunDirectory(values.run_dir).result))


def listing() -> str:
    """All models and pipelines with the first line of their docstrings and their arguments."""
    lines = ["Models (--model; --hparam name=value)"]
    for name in framework.list_models():
        builder = framework.get_model(name)
        hparams = [p for p in inspect.signature(builder).parameters.values() if p.kind is p.KEYWORD_ONLY]
        lines += _entry(name, builder, hparams)
    lines += ["", "Pipelines (--pipeline; --option name=value)"]
    for name in framework.list_pipelines():
        factory = framework.get_pipeline(name)
        lines += _entry(name, factory, inspect.signature(factory).parameters.values())
    return "\n".join(lines)


def _entry(name: str, target: Callable[..., Any], parameters: Iterable[inspect.Parameter]) -> list[str]:
    takes = [str(p) for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    first_line = (inspect.getdoc(target) or "").partition("\n")[0]
    return [f"  {name:<16} {first_line}", *([f"  {'':<16} {', '.join(takes)}"] if takes else [])]


def summary(run: framework.Run, *, was_finished: bool) -> str:
    """How a run went and where everything lies."""
    epochs = len(next(iter(run.history.values())))
    how = "was finished before" if was_finished else "is finished"
    rows = [(name, value) for name, value in run.best.metrics.items()]
    places = [("export", run.export_dir), ("report", run.run_dir / "report"), ("logs", run.run_dir / "logs")]
    return "\n".join(
        [
            f"The run in {run.run_dir} {how}: {epochs} epochs, of which epoch {run.best.epoch + 1} is the best:",
            command_line.table(rows),
            command_line.table(places),
        ]
    )


if __name__ == "__main__":
    command_line.run(main, define_flags)
