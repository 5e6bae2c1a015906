"""Shows what a pipeline makes of its data: phases, batches, labels, statistics, interface and signatures.

    python scripts/inspect_pipeline.py --pipeline=digits
    python scripts/inspect_pipeline.py --pipeline=digits --option rotation=30 --sheet=digits.png
    python scripts/inspect_pipeline.py --pipeline=digits --gallery=augmentations.png
    python scripts/inspect_pipeline.py --import my_package.my_data --pipeline=mine --benchmark
    python scripts/inspect_pipeline.py --pipeline=table --option path=june.csv --against=runs/may

What `fit` would refuse before step 0 is refused here, too. With --against it only tells where the data differ from
those that a run or an export was trained on, and exits with 1 if a difference is severe.
"""

import itertools
import pathlib
import statistics
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import command_line
import gallery
import numpy as np
import tensorflow as tf
from absl import flags as absl_flags

import framework
from framework import files, tasks
from framework.data.bad_examples import BadExample, count_kinds
from framework.data.checking import naming_bad_examples, skipped_examples
from framework.data.contract import categories, compare_profiles
from framework.data.evaluate import eval_dataset
from framework.data.phases import PHASES, TRAIN
from framework.data.profile import PROFILE, profile_source
from framework.data.serving import receivers
from framework.data.tables.pipeline import TablePipeline
from framework.data.train import steps_per_epoch, train_dataset
from framework.data.validation import check_batch_size, check_pipeline
from framework.export.versions import list_versions, read_manifest
from framework.training.plan import resolve_pipeline
from framework.training.reporting import training_sheet

_ROUNDS = 5
_MOST_CLASSES = 30  # of a table
_MOST_LABELS = 100_000  # read from a stream to count them

Row = tuple[Any, ...]


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What is inspected"):
        flags.text("pipeline", None, "A registered pipeline; scripts/train.py --list shows them.")
        flags.texts("option", "An option of the pipeline, name=value. As often as needed.")
        flags.imports()
        flags.value("batch_size", int, 64, "Examples of a batch.")
        flags.value("seed", int, 0, "Of order and augmentation.")
    with flags.heading("What else to do"):
        flags.text("against", None, "A run or an export: tell where a split differs from what that was trained on.")
        flags.choice("phase", PHASES, TRAIN, "The split that --against is about.")
        flags.text("sheet", None, "Write a picture of training examples, as read and as augmented, to this PNG file.")
        flags.text(
            "gallery", None, "Write a picture of all augmentations there are, on training images, to this PNG file."
        )
        flags.switch("benchmark", False, "Measure examples/s of the training pipeline.")
        flags.value("seconds", float, 2.0, f"Of each of the benchmark's {_ROUNDS} rounds, of which the median counts.")


@naming_bad_examples()
def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.require(values, "pipeline", hint="scripts/train.py --list shows what there is.")
    command_line.import_own(values)
    raw = resolve_pipeline(values.pipeline, command_line.assignments("option", values.option))
    left_out = skipped_examples(raw) if raw.bad_examples.on_error == "skip" else {}
    raw = raw.without_bad({phase: [example.index for example in bad] for phase, bad in left_out.items()})
    if values.against:
        sys.exit(tell_differences(raw, values.phase, pathlib.Path(values.against).expanduser()))
    check_pipeline(raw)
    check_batch_size(values.batch_size, raw.require_source(TRAIN).num_examples)
    pipeline = raw.with_statistics()
    if left_out:
        print(f"Examples that are left out\n{command_line.table(list(left_out_rows(left_out)))}\n")
    for title, rows in sections(pipeline, values.batch_size, values.seed):
        print(f"{title}\n{command_line.table(rows)}\n" if rows else f"{title}\n  none\n")
    if values.sheet:
        path = pathlib.Path(values.sheet).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        training_sheet(pipeline, path, seed=values.seed)
        print(f"Training examples: {path}" if path.exists() else "There are neither images nor numbers to draw.")
    if values.gallery:
        path = pathlib.Path(values.gallery).expanduser()
        path.parent.mkdir(parents=True, exist_ok=True)
        drawn = gallery.draw_gallery(pipeline, path, seed=values.seed)
        print(f"Augmentations: {path}" if drawn else "There are no images to augment.")
    if values.benchmark:
        rates = measure(pipeline, values.batch_size, values.seed, values.seconds)
        print(
            f"Training pipeline: {statistics.median(rates):,.0f} examples/s (median of {len(rates)} rounds, "
            f"{min(rates):,.0f} to {max(rates):,.0f}) in batches of {values.batch_size}"
        )


def tell_differences(pipeline: framework.Pipeline, phase: str, trained: pathlib.Path) -> int:
    """Prints where a split differs from the data of a run or an export; returns 1 if that is severe, otherwise 0."""
    old = training_profile(trained)
    new = profile_source(pipeline.require_source(phase), pipeline.features, pipeline.task, categories=categories(old))
    findings = compare_profiles(old, new)
    examples = f"the {new['num_examples']:,} examples of {pipeline.name}'s {phase} split"
    if not findings:
        print(f"Nothing in {examples} differs from what {trained} was trained on.")
        return 0
    print(f"How {examples} differ from what {trained} was trained on:")
    rows = [(finding.severity, finding.subject, finding.got, finding.expected) for finding in findings]
    print(command_line.table([("", "", "got", "expected"), *rows]))
    return int(findings[0].severity == "severe")


def training_profile(path: pathlib.Path) -> dict[str, Any]:
    """The profile that a run directory, an export directory or one of its versions holds.

    Raises:
        UsageError: It holds none.
    """
    if (path / PROFILE).exists():
        return files.read_json(path / PROFILE)
    version = path / str(max(list_versions(path), default=""))
    profile = read_manifest(version).get("data") if path.is_dir() else None
    if profile is None:
        raise command_line.UsageError(
            f"--against {path} has no profile of training data: neither {PROFILE} nor a manifest."
        )
    return profile


def sections(pipeline: framework.Pipeline, batch_size: int, seed: int) -> Iterator[tuple[str, list[Row]]]:
    """Titles and tables, in the order in which an example meets what they are about."""
    phases = [phase for phase in PHASES if pipeline.has(phase)]
    task = pipeline.task
    objective = task.objective
    yield (
        f"Pipeline {pipeline.name}",
        [
            *((name, _short(value)) for name, value in pipeline.options.items()),
            ("task", _short(task)),
            ("objective", f"{objective.monitor}, {objective.mode}"),
        ],
    )
    yield "Raw features, as a client has them", [_feature_row(*item) for item in pipeline.features.items()]
    if isinstance(pipeline, TablePipeline):
        yield "Columns that they were made of", pipeline.describe()
    yield "Labels", list(label_rows(pipeline, phases))
    yield "Statistics of the training split", [statistic_row(*item) for item in pipeline.statistics.items()]
    yield "Interface: the model's inputs, in one training batch", list(interface_rows(pipeline, batch_size, seed))
    yield "Phases", [phase_row(pipeline, phase, batch_size, seed) for phase in phases]
    yield (
        "Signatures",
        [
            (name if first else "", *_feature_row(feature, spec))
            for name, receiver in receivers(pipeline).items()
            for first, (feature, spec) in zip(
                itertools.chain([True], itertools.repeat(False)), receiver.inputs.items(), strict=False
            )
        ],
    )


def left_out_rows(left_out: Mapping[str, Sequence[BadExample]]) -> Iterator[Row]:
    """How many bad examples of each kind a phase is without, and where the first of them lies."""
    for phase, bad in left_out.items():
        for kind, count in count_kinds(bad).items():
            yield phase, count, kind, next(example.place for example in bad if example.kind == kind)


def phase_row(pipeline: framework.Pipeline, phase: str, batch_size: int, seed: int) -> Row:
    """Examples and batches of a phase, and the form of what it yields."""
    source = pipeline.require_source(phase)
    dataset = (
        train_dataset(pipeline, batch_size=batch_size, seed=seed)
        if phase == TRAIN
        else eval_dataset(pipeline, phase, batch_size=batch_size)
    )
    inputs, *targets = dataset.element_spec
    parts = [f"{name} {_spec(spec)}" for name, spec in inputs.items()]
    for title, target in zip(("labels", "weights"), targets, strict=False):
        named = target.items() if isinstance(target, dict) else [("", target)]
        parts += [f"{title} {head} {_spec(spec)}".replace("  ", " ") for head, spec in named]
    shown = parts if len(parts) <= 4 else [*parts[:2], f"... {len(parts) - 3} more", parts[-1]]
    steps = steps_per_epoch(source, batch_size)
    return phase, source.num_examples, "examples", steps, "batches of", "; ".join(shown)


def interface_rows(pipeline: framework.Pipeline, batch_size: int, seed: int) -> Iterator[Row]:
    """Each input's dtype and shape, and the values that it has in the first batch."""
    batch = next(iter(train_dataset(pipeline, batch_size=batch_size, seed=seed)))[0]
    for name, feature in pipeline.interface().items():
        values = batch[name].numpy()
        yield (*_feature_row(name, feature), *(_numbers(values) if values.dtype.kind in "biuf" else ()))


def label_rows(pipeline: framework.Pipeline, phases: Sequence[str]) -> Iterator[Row]:
    """How labels are distributed in each split: counts of classes, or the range of values."""
    task = pipeline.task
    heads = task.tasks if isinstance(task, tasks.Heads) else {"": task}
    read = {phase: _labels(pipeline, phase) for phase in phases}
    for head, head_task in heads.items():
        labels = {phase: np.asarray(read[phase][head] if head else read[phase]) for phase in phases}
        yield (head, *phases)
        if isinstance(head_task, tasks.MultiLabelClassification):
            names = head_task.label_names or range(head_task.units)
            yield from _counted(names, [array.sum(axis=0) for array in labels.values()])
        elif isinstance(head_task, tasks.Classification | tasks.BinaryClassification):
            names = head_task.class_names or range(max(head_task.units, 2))
            counts = [np.bincount(array.astype(np.int64), minlength=len(names)) for array in labels.values()]
            yield from _counted(names, counts)
        else:
            summaries = [(float(a.min()), float(a.mean()), float(a.max()), float(a.std())) for a in labels.values()]
            for index, title in enumerate(("least", "mean", "largest", "deviation")):
                yield (title, *(summary[index] for summary in summaries))


def _counted(names: Sequence[Any], counts: Sequence[np.ndarray]) -> Iterator[Row]:
    for index, name in list(enumerate(names))[:_MOST_CLASSES]:
        yield (str(name), *(int(column[index]) for column in counts))
    if len(names) > _MOST_CLASSES:
        rest = [int(column[_MOST_CLASSES:].sum()) for column in counts]
        yield (f"{len(names) - _MOST_CLASSES} more", *rest)


def _labels(pipeline: framework.Pipeline, phase: str) -> Any:
    source = pipeline.require_source(phase)
    if isinstance(source, framework.ArraySource):
        return source.arrays.labels
    size = 1024
    batches = [example[1] for example in source.batches(size).take(_MOST_LABELS // size)]
    return tf.nest.map_structure(lambda *parts: np.concatenate([part.numpy() for part in parts]), *batches)


def statistic_row(name: str, array: np.ndarray) -> Row:
    """A learned array: itself where it is short."""
    value = f"{array:.6g}" if array.dtype.kind == "f" and not array.ndim else _short(array.tolist())
    return name, array.dtype.name, str(array.shape), value


def measure(pipeline: framework.Pipeline, batch_size: int, seed: int, seconds: float) -> list[float]:
    """Examples/s of the training pipeline alone, in several rounds, after a batch that isn't counted."""
    batches = iter(train_dataset(pipeline, batch_size=batch_size, seed=seed))
    next(batches)
    rates = []
    for _ in range(_ROUNDS):
        examples, began = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds or not examples:
            inputs = next(batches)[0]
            examples += int(next(iter(inputs.values())).shape[0])
        rates.append(examples / elapsed)
    return rates


def _feature_row(name: str, feature: framework.Feature) -> Row:
    return name, feature.dtype, str(feature.shape)


def _numbers(values: np.ndarray) -> Row:
    return "from", float(values.min()), "to", float(values.max()), "mean", float(values.mean())


def _spec(spec: tf.TensorSpec) -> str:
    return f"{spec.dtype.name} {tuple(spec.shape)}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 90 else f"{text[:87]}..."


if __name__ == "__main__":
    command_line.run(main, define_flags)
