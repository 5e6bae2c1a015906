"""Turns any pipeline's examples into TFRecord files, and looks at such files, whoever made them.

    python scripts/make_records.py --pipeline=digits --to=data/digits --shards=4
    python scripts/make_records.py --import my_package.my_data --pipeline=mine --to=data/mine --shards=64 --gzip
    python scripts/make_records.py --describe=data/digits
    python scripts/make_records.py --verify=data/digits
    python scripts/make_records.py --verify="others/*" --feature image="image(224, 224, 3) from image/encoded" \\
        --label="int64 from image/class/label" --num_classes=1000

What is written are the examples as they lie in the pipeline's sources: images as the bytes they were, nothing augmented
or preprocessed. The same command again goes on with one that was interrupted. The pipeline `records` reads the files:

    python scripts/train.py --model=small_cnn --pipeline=records --option path=data/digits --run_dir=runs/digits
"""

import collections
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import command_line
import keras
from absl import flags as absl_flags

from framework.data import records
from framework.data.phases import PHASES
from framework.training.config import plain
from framework.training.plan import resolve_pipeline

_MOST_CLASSES = 30  # of a table
_MOST_PROBLEMS = 100  # that are printed; all are counted


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("What is written"):
        flags.text("pipeline", None, "A registered pipeline; scripts/train.py --list shows them.")
        flags.texts("option", "An option of the pipeline, name=value. As often as needed.")
        flags.imports()
        flags.texts("phase", "A split to write: train, validation or test; by default all. As often as needed.")
        flags.text("to", None, "The directory of the data set; made if missing.")
    with flags.heading("How it is written"):
        flags.value("shards", int, 1, "Files of the largest split; smaller splits have fewer.")
        flags.switch("gzip", False, "Compress. Then files are read as a stream; encoded images gain nothing.")
        flags.value("threads", int | None, None, "Files written at a time; by default one for each processor.")
        flags.switch("sequences", False, "Write tf.train.SequenceExamples; files without a dataset.json hold such.")
    with flags.heading("What is looked at"):
        flags.text("describe", None, "Say what is in a data set: a directory, or a pattern such as 'data/*.tfrecord'.")
        flags.text(
            "verify", None, "Check every checksum, example, label and image of a data set. Problems: exit code 1."
        )
        flags.texts("feature", "Of files without a dataset.json: name=text, such as age=float32. As often as needed.")
        flags.text("label", None, "Of files without a dataset.json: such as 'int64 from class'.")
        flags.value("num_classes", int | None, None, "Of a whole-numbered label, whose range is then checked.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.import_own(values)
    if not (values.pipeline or values.describe or values.verify):
        raise command_line.UsageError("Give --pipeline and --to, or --describe, or --verify; see --helpshort.")
    if values.pipeline:
        command_line.require(values, "to")
        write(values)
    if values.describe:
        describe(values)
    if values.verify:
        verify(values)


def write(values: absl_flags.FlagValues) -> None:
    """Writes the splits of a pipeline."""
    options = command_line.assignments("option", values.option)
    pipeline = resolve_pipeline(values.pipeline, options)
    if isinstance(inspect.getattr_static(type(pipeline), "task", None), property):
        pipeline = pipeline.with_statistics()  # on which such a task may depend
    phases = values.phase or list(PHASES)
    may_skip = pipeline.bad_examples.on_error == "skip"  # nobody knows yet how many
    total = sum(pipeline.require_source(phase).num_examples for phase in phases if pipeline.has(phase))
    sidecar = records.write_pipeline(
        pipeline,
        values.to,
        layout=records.Layout(values.shards, values.gzip, values.threads),
        phases=phases,
        made_from={"pipeline": values.pipeline, "options": plain(pipeline.options)},
        kind=records.SequenceSchema if values.sequences else records.Schema,
        on_written=progress(f"Writing the examples to {values.to}", None if may_skip else total),
    )
    print(f"{values.to}\n{command_line.table(list(split_rows(sidecar)))}")


def describe(values: absl_flags.FlagValues) -> None:
    """Prints what is in a data set."""
    if not values.feature and not records.Sidecar.exists(values.describe):
        for split, paths in records.find_splits(values.describe).items():
            print(f"{split}: {len(paths)} files\n{command_line.table(list(records.seen_keys(paths).items()))}")
        return
    data_set = _data_set(values.describe, values)
    for title, rows in sections(data_set):
        print(f"{title}\n{command_line.table(rows)}\n")


def verify(values: absl_flags.FlagValues) -> None:
    """Prints all that is wrong with a data set; exits with 1 if anything is."""
    data_set = _data_set(values.verify, values)
    task = None
    if values.num_classes is not None:
        label = data_set.schema.structure(lambda field: field.feature).labels
        task = records.task_of_label(label, num_classes=values.num_classes)
    bar = progress(f"Checking {values.verify}", None)
    checked: collections.Counter[str] = collections.Counter()
    kinds: collections.Counter[str] = collections.Counter()

    def on_checked(count: int) -> None:
        checked["records"] += count
        if bar:
            bar(count)

    for problem in records.verify_data_set(data_set, task, on_checked=on_checked):
        kinds[problem.kind] += 1
        if kinds.total() <= _MOST_PROBLEMS:
            print(problem)
    if kinds:
        found = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        print(f"{values.verify}: {kinds.total()} problems in {checked['records']} records: {found}")
        sys.exit(1)
    print(f"{values.verify}: {checked['records']} records, nothing wrong")


def sections(data_set: records.DataSet) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Titles and tables of a data set."""
    sidecar = data_set.sidecar
    described = data_set.schema.describe()
    labels = described["labels"] if isinstance(described["labels"], dict) else {"": described["labels"]}
    labels = {f"label {head}".strip(): text for head, text in labels.items()}
    fields = [*described["features"].items(), *labels.items()]
    yield "What is in a record", fields
    yield f"Lists of the {data_set.schema.proto}", list(data_set.schema.lists.items())
    if sidecar is None:
        yield "Splits", [(name, len(paths), "files") for name, paths in data_set.files.items()]
        return
    yield "Task", [(name, str(value)) for name, value in (sidecar.task or {}).items()]
    yield "Splits", list(split_rows(sidecar))
    for title in next(iter(sidecar.splits.values())).summary.classes:
        yield f"Examples of each class, by {title}", list(class_rows(sidecar, title))
    for name, split in sidecar.splits.items():
        rows = [
            (title, "from", numbers.least, "to", numbers.largest, "mean", numbers.mean, "deviation", numbers.deviation)
            for title, numbers in split.summary.numbers.items()
        ]
        yield f"Numbers of {name} (of text and images, their bytes)", rows


def split_rows(sidecar: records.Sidecar) -> Iterator[tuple[Any, ...]]:
    """Examples, files and bytes of each split."""
    for name, split in sidecar.splits.items():
        yield name, split.examples, "examples in", len(split.shards), "files of", split.bytes, "bytes"


def class_rows(sidecar: records.Sidecar, label: str) -> Iterator[tuple[Any, ...]]:
    """How many examples of each class there are in each split."""
    counts = [split.summary.classes.get(label, {}) for split in sidecar.splits.values()]
    names = (sidecar.task or {}).get("class_names") or ()
    ids = sorted(set().union(*counts))
    yield ("class", *sidecar.splits)
    for class_id in ids[:_MOST_CLASSES]:
        name = f" {names[class_id]}" if class_id < len(names) else ""
        yield (f"{class_id}{name}", *(count.get(class_id, 0) for count in counts))
    if len(ids) > _MOST_CLASSES:
        yield (f"{len(ids) - _MOST_CLASSES} more", *(sum(c.get(i, 0) for i in ids[_MOST_CLASSES:]) for c in counts))


def progress(title: str, total: int | None) -> Callable[[int], Any] | None:
    """A progress bar under a title, on a terminal."""
    if not sys.stdout.isatty():
        return None
    print(title)
    return keras.utils.Progbar(total).add


def _data_set(path: str, values: absl_flags.FlagValues) -> records.DataSet:
    features = dict(_texts(values.feature)) or None
    kind = records.SequenceSchema if values.sequences else None
    return records.DataSet.find(path, features, values.label, kind=kind)


def _texts(items: Iterable[str]) -> Iterator[tuple[str, str]]:
    for item in items:
        name, equals, text = item.partition("=")
        if not equals:
            raise command_line.UsageError(f"--feature takes name=text, such as --feature age=float32. Got {item!r}.")
        yield name, text


if __name__ == "__main__":
    command_line.run(main, define_flags)
