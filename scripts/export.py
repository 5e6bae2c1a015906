"""Publishes the best weights of a finished run once more, with the signatures that its pipeline has now.

    python scripts/export.py --run_dir=runs/digits
    python scripts/export.py --run_dir=runs/digits --to=/srv/models/digits

The first adds a version to the run's own; the best of them stays what it was.
"""

import contextlib
import pathlib
from collections.abc import Mapping

import command_line
from absl import flags as absl_flags

import framework
from framework.export import Exporter
from framework.training.run_directory import RunDirectory


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What is exported, and where to"):
        flags.text("run_dir", None, "A finished run.")
        flags.text("to", None, "A directory of versions, <to>/1, <to>/2, ...; by default <run_dir>/export.")
        flags.imports()


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.require(values, "run_dir")
    command_line.import_own(values)
    run = framework.Run.load(values.run_dir)
    directory = RunDirectory(values.run_dir)
    base = pathlib.Path(values.to).expanduser() if values.to else directory.export
    exporter = Exporter(run.model, run.pipeline)
    # Nobody else may write to the run's own exports meanwhile.
    with contextlib.nullcontext() if values.to else directory:
        version = exporter.publish(base, metrics=run.best.metrics, epoch=run.best.epoch, step=run.best.step)
    print(base / str(version))
    signatures = exporter.signatures
    for name, inputs in signatures.inputs.items():
        print(f"\n{name}")
        print(command_line.table([*_rows("in", inputs), *_rows("out", signatures.outputs[name])]))


def _rows(direction: str, features: Mapping[str, framework.Feature]) -> list[tuple[str, str, str, str]]:
    return [(direction, name, feature.dtype, str(feature.shape)) for name, feature in features.items()]


if __name__ == "__main__":
    command_line.run(main, define_flags)
