"""Publishes the best weights of a finished run once more, with the signatures that its pipeline has now; or says which
of the versions that are there is served.

    python scripts/export.py --run_dir=runs/digits
    python scripts/export.py --run_dir=runs/digits --to=/srv/models/digits --export_warmup="(1, 32)"
    python scripts/export.py --run_dir=runs/digits --list
    python scripts/export.py --run_dir=runs/digits --promote=3
    python scripts/export.py --to=/srv/models/digits --roll_back

The first adds a version to the run's own; the best of them stays what it was. What the flags don't say is as the run
had it. A promoted version is served (TensorFlow Serving takes the highest number) until it is rolled back, whatever
training publishes meanwhile.
"""

import contextlib
import dataclasses
import datetime
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import command_line
import fit_flags
from absl import flags as absl_flags

import framework
from framework.export import Evaluation, Exporter, Exports, list_versions, promote, roll_back
from framework.export.versions import BEST, PROMOTION, find_manifest, read_pointer
from framework.training.run import compile_arguments
from framework.training.run_directory import RunDirectory


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What is exported, and where to"):
        flags.text("run_dir", None, "A finished run.")
        flags.text("to", None, "A directory of versions, <to>/1, <to>/2, ...; by default <run_dir>/export.")
        flags.imports()
    with flags.heading("Which version is served"):
        flags.switch("list", False, "List the versions that are there.")
        flags.value("promote", int | None, None, "Make this version the one that is served.")
        flags.switch("roll_back", False, "Undo the last change of what is served.")
    with flags.heading("What is different from the run's exports"):
        fit_flags.define_fields(flags, Exports)


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    if not values.to:
        command_line.require(values, "run_dir")
    base = pathlib.Path(values.to).expanduser() if values.to else RunDirectory(values.run_dir).export
    if [values.list, values.promote is not None, values.roll_back].count(True) > 1:
        raise command_line.UsageError("--list, --promote and --roll_back: one at a time.")
    if values.list:
        print(command_line.table(_listed(base)))
    elif values.promote is not None:
        print(f"{base / str(promote(base, values.promote))} is served: it is version {values.promote}.")
    elif values.roll_back:
        print(f"{base / str(roll_back(base))} is served.")
    else:
        command_line.require(values, "run_dir")
        command_line.import_own(values)
        _export(values, base)


def _export(values: absl_flags.FlagValues, base: pathlib.Path) -> None:
    run = framework.Run.load(values.run_dir)
    config: Mapping[str, Any] = RunDirectory(values.run_dir).config or {}
    exporter = Exporter(
        run.model,
        run.pipeline,
        exports=_changed(Exports.from_config(config["training"]["exports"]), values),
        objective=framework.Objective(**config["training"]["objective"]),
        evaluation=Evaluation(run.batch_size, compile_arguments(run.pipeline, *_compiled_with(config))),
        configuration=config,
    )
    with _writing(base):
        version = exporter.publish(base, metrics=run.best.metrics, epoch=run.best.epoch, step=run.best.step)
    print(base / str(version))
    signatures = exporter.signatures
    for name, inputs in signatures.inputs.items():
        print(f"\n{name}")
        print(command_line.table([*_rows("in", inputs), *_rows("out", signatures.outputs[name])]))


def _writing(base: pathlib.Path) -> contextlib.AbstractContextManager:
    """Where the versions are those of a run, this one or another: nobody else may write to it meanwhile."""
    owner = RunDirectory(base.resolve().parent)
    return owner if owner.export == base.resolve() and owner.config is not None else contextlib.nullcontext()


def _compiled_with(config: Mapping[str, Any]) -> tuple[Any, Any]:
    return config["training"].get("loss"), config["training"].get("metrics")


def _changed(settings: Any, values: absl_flags.FlagValues) -> Any:
    """A dataclass of settings with the values of the flags that were given."""
    changes = {}
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            changes[field.name] = _changed(value, values)
            continue
        flag = values[fit_flags.flag_name(type(settings), field.name)]
        if flag.present:
            changes[field.name] = flag.value
    return dataclasses.replace(settings, **changes)


def _listed(base: pathlib.Path) -> list[tuple[str, ...]]:
    """A line for each version."""
    versions = list_versions(base)
    if not versions:
        raise command_line.UsageError(f"There are no versions in {base}.")
    best = read_pointer(base, BEST)
    rows: list[tuple[str, ...]] = [("version", "", "epoch", "created", "MB", "metrics")]
    for version in versions:
        manifest = find_manifest(base, version)
        promotion = manifest.get(PROMOTION)
        notes = ["served"] if version == versions[-1] else []
        notes += ["best"] if version == best else []
        notes += [f"promoted from {promotion['from']}"] if promotion else []
        metrics = ", ".join(f"{name} {float(value):.4g}" for name, value in manifest.get("metrics", {}).items())
        epoch = str(manifest["epoch"] + 1) if manifest else ""
        created = promotion["at"] if promotion else manifest.get("created", "")
        rows.append((str(version), ", ".join(notes), epoch, _when(created), _size(base / str(version)), metrics))
    return rows


def _when(created: str) -> str:
    return f"{datetime.datetime.fromisoformat(created):%Y-%m-%d %H:%M}" if created else ""


def _size(path: pathlib.Path) -> str:
    bytes_ = sum(os.path.getsize(pathlib.Path(parent, name)) for parent, _, names in os.walk(path) for name in names)
    return f"{bytes_ / 1e6:.1f}"


def _rows(direction: str, features: Mapping[str, framework.Feature]) -> list[tuple[str, str, str, str]]:
    return [(direction, name, feature.dtype, str(feature.shape)) for name, feature in features.items()]


if __name__ == "__main__":
    command_line.run(main, define_flags)
