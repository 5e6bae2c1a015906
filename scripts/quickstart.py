"""Trains `small_cnn` on handwritten digits and asks the export about one of them: a first look, in a minute or two.

    python scripts/quickstart.py
    python scripts/quickstart.py --run_dir=/tmp/quickstart --seed=1

A second call finds the run finished.
"""

import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from typing import cast

import command_line
from absl import flags as absl_flags

import framework
from framework.data.phases import TEST
from framework.training.run_directory import RunDirectory

_REQUEST = "request.jsonl"
_CLIENT = pathlib.Path(__file__).resolve().parent / "quickstart_client.py"


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What to do"):
        flags.text("run_dir", "runs/quickstart", "Where everything is written.")
        flags.value("seed", int, 0, "Of initial weights, dropout, order and augmentation.")
        flags.value("image", int, 0, "Which image of the test split is sent to the export.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    finished_before = RunDirectory(values.run_dir).result is not None
    if finished_before:
        print(f"{values.run_dir} holds a finished run, which the same call returns. Delete it to train anew.")
    else:
        print("Training small_cnn on 1,258 handwritten digits; early stopping watches 270 others.\n")
    began = time.monotonic()
    run = train(values.run_dir, values.seed)
    epochs = len(run.history["loss"])
    if not finished_before:
        print(f"\n{epochs} epochs in {time.monotonic() - began:.0f} seconds; ", end="")
        print("the best, epoch", run.best.epoch + 1, "of them, is exported.")
    print("\nAnother process, which has TensorFlow and not this framework, loads the export and asks it:\n")
    ask(run, values.image)
    print("\nOn the test split, which training never saw:")
    metrics = run.evaluate(TEST)
    print(command_line.table(list(metrics.items())))
    print(f"\nWhere everything lies\n{command_line.table(places(run))}")
    print(f"\nWhat to try next\n{command_line.table(next_steps(run))}")


def train(run_dir: str, seed: int) -> framework.Run:
    """The run: what a person would write to train a model of theirs on data of theirs."""
    return framework.fit(
        "small_cnn",
        "digits",
        run_dir=run_dir,
        epochs=40,
        batch_size=32,
        seed=seed,
        hparams={"width": 64, "dropout": 0.5},
        optimization=framework.Optimization(learning_rate=2e-3),
        stopping=framework.Stopping(patience=8),
    )


def ask(run: framework.Run, index: int) -> None:
    """Sends an image of the test split to the export, from a process of its own."""
    source = cast(framework.ArraySource, run.pipeline.require_source(TEST))
    if not 0 <= index < source.num_examples:
        raise command_line.UsageError(f"--image is 0 to {source.num_examples - 1}, got {index}.")
    example = source.arrays
    request = {"image": example.features["image"][index].tolist(), "label": str(example.labels[index])}
    path = run.run_dir / _REQUEST
    path.write_text(f"{json.dumps(request)}\n", encoding="utf-8")
    sys.stdout.flush()  # what was said so far comes first
    subprocess.run([sys.executable, str(_CLIENT), str(run.export_dir), str(path)], check=True)


def places(run: framework.Run) -> list[tuple[str, str]]:
    """What lies where."""
    report = run.run_dir / "report"
    return [
        ("the best export", str(run.export_dir)),
        *(("picture", str(path)) for path in sorted(report.glob("*.png"))),
        ("every epoch", str(run.run_dir / "history.csv")),
        ("configuration", str(run.run_dir / "config.json")),
    ]


def next_steps(run: framework.Run) -> list[tuple[str, str]]:
    """Commands that work from here."""
    tools, scripts = os.path.relpath(pathlib.Path(sys.executable).parent), os.path.relpath(_CLIENT.parent)
    request, base = run.run_dir / _REQUEST, run.export_dir.parent.resolve()
    volume = f"--volume={base}:/models/digits"
    commands: dict[str, list[str | pathlib.Path]] = {
        "curves": [f"{tools}/tensorboard", "--logdir", run.run_dir / "logs"],
        "signatures": [f"{tools}/saved_model_cli", "show", "--all", "--dir", run.export_dir],
        "predict": [f"{tools}/python", f"{scripts}/predict.py", f"--export={run.run_dir}", f"--input={request}"],
        "serve": ["docker", "run", "-p", "8501:8501", "-e", "MODEL_NAME=digits", volume, "tensorflow/serving"],
    }
    return [(what, shlex.join(map(str, command))) for what, command in commands.items()]


if __name__ == "__main__":
    command_line.run(main, define_flags)
