"""Evaluates a finished run's best weights on a split; every example counts once.

    python scripts/evaluate.py --run_dir=runs/digits
    python scripts/evaluate.py --run_dir=runs/digits --phase=validation --json

Model and pipeline are found by what the run's config.json says; modules of your own that register them, by --import.
"""

import json
import math

import command_line
from absl import flags as absl_flags

import framework
from framework.data.phases import PHASES


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What is evaluated"):
        flags.text("run_dir", None, "A finished run.")
        flags.choice("phase", PHASES, "test", "The split: train (not augmented), validation or test.")
        flags.value("batch_size", int | None, None, "Examples of a step; changes speed and memory, not the result.")
        flags.imports()
    with flags.heading("Output"):
        flags.switch("json", False, "Print one JSON object, {metric: value}.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.require(values, "run_dir")
    command_line.import_own(values)
    run = framework.Run.load(values.run_dir)
    metrics = run.evaluate(values.phase, batch_size=values.batch_size)
    if values.json:
        # JSON has no NaN.
        print(json.dumps({name: value if math.isfinite(value) else None for name, value in metrics.items()}))
        return
    examples = run.pipeline.require_source(values.phase).num_examples
    print(f"{values.run_dir}, epoch {run.best.epoch + 1}, on the {examples} examples of the {values.phase} split:")
    print(command_line.table(list(metrics.items())))


if __name__ == "__main__":
    command_line.run(main, define_flags)
