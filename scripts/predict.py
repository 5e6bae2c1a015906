"""Asks an export: a file, standard input or images in, predictions out.

    python scripts/predict.py --export=runs/digits zero.png one.png
    python scripts/predict.py --export=runs/wine/export/3 --input=wines.csv --outputs=class_name,probabilities
    python scripts/predict.py --export=runs/wine --input=- --format=jsonl --output=answers.csv < wines.jsonl
    python scripts/predict.py --export=runs/wine --input='data/test-*.tfrecord' --output=answers.jsonl

--export takes a SavedModel, a directory of versions or a run directory; of several versions the promoted one is asked,
else the best, else the newest. CSV has a header; JSON lines are {feature: value}; an .npz file has arrays [examples,
...] by feature name; records are TFRecord files of tf.Example protos. All but .npz are read as they are answered,
whatever their size. A table that a model was trained on can be sent to it as it is: with its names of columns, further
columns, missing values and paths of images.
"""

import contextlib
import gzip
import io
import itertools
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import IO, Any

import command_line
import numpy as np
import read_examples
import tensorflow as tf
import write_predictions
from absl import flags as absl_flags
from command_line import UsageError, did_you_mean
from progress import Progress
from trained_tables import TrainedTables

import framework
from framework import files
from framework.data.serving import DEFAULT, SERIALIZED
from framework.serving import LoadedSignature, Predictor

_READERS = {
    "csv": read_examples.read_csv,
    "jsonl": read_examples.read_json_lines,
    "npz": read_examples.read_npz,
}
_FORMATS = (*_READERS, "records")
_PLACE = "file"  # what is written beside the outputs of an image
Batch = tuple[list[str], dict[str, np.ndarray]]


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("Who is asked"):
        flags.text("export", None, "A SavedModel, a directory of versions, or a run directory.")
        flags.text(
            "signature",
            None,
            "One of the export's signatures; by default encoded for images, serialized for records, else "
            "serving_default.",
        )
        flags.value("batch_size", int, 64, "Examples of one call.")
    with flags.heading("What goes in"):
        flags.text("input", None, "A file, or - for standard input (the default where no images are given).")
        flags.choice("format", _FORMATS, None, "Of the input; by default what its name tells, jsonl for -.")
    with flags.heading("What comes out"):
        flags.text("output", "-", "A file, or - for standard output.")
        flags.choice("output_format", write_predictions.FORMATS, None, "By default csv for *.csv, else jsonl.")
        flags.text(
            "outputs",
            None,
            "Names of outputs, separated by commas; by default all of them. Of images there is the file, too.",
        )


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.require(values, "export")
    if values.batch_size < 1:
        raise UsageError(f"--batch_size must be at least 1, got {values.batch_size}.")
    if arguments and values.input:
        raise UsageError(f"Give images or --input, not both: got {len(arguments)} arguments and {values.input!r}.")
    kind = "images" if arguments else input_format(values.input or "-", values.format)
    predictor = framework.load_export(values.export, batch_size=values.batch_size)
    signature = predictor(values.signature or default_signature(predictor, kind))
    if signature.features is None:
        raise UsageError(f"Examples need a signature whose inputs have a batch axis of any length, not {signature}.")
    names = choose_outputs(signature, values.outputs, with_places=kind == "images")
    check_output(values.output, arguments or tf.io.gfile.glob(values.input or "-"))
    with contextlib.ExitStack() as stack:
        tables = TrainedTables.of(predictor.manifest)
        examples, share = read(kind, arguments, values.input or "-", signature, tables, stack)
        output = stack.enter_context(open_output(values.output))
        # Where answers go to the same terminal they are the better progress.
        progress = Progress(share, file=io.StringIO() if output.isatty() else None)
        stack.callback(progress.close)
        answers = ask(signature, batches(examples, values.batch_size), names, progress)
        is_csv = (values.output_format or ("csv" if values.output.lower().endswith(".csv") else "jsonl")) == "csv"
        if is_csv:
            write_predictions.write_csv(answers, names, output)
        else:
            write_predictions.write_json_lines(answers, output)


def input_format(source: str, given: str | None) -> str:
    """What the input is, as said or as its name tells.

    Raises:
        UsageError: Neither says it, or records shall come from standard input.
    """
    kind = given or ("jsonl" if source == "-" else read_examples.format_of(source))
    if kind is None:
        raise UsageError(f"{source}: its name doesn't tell the format; say --format={'|'.join(_FORMATS)}.")
    if kind == "records" and source == "-":
        raise UsageError("Records are read from files: say --input=data.tfrecord.")
    return kind


def default_signature(predictor: Predictor, kind: str) -> str:
    """The signature for a kind of input."""
    if kind == "images":
        return predictor.image_signature
    return SERIALIZED if kind == "records" and SERIALIZED in predictor.signatures else DEFAULT


def choose_outputs(signature: LoadedSignature, wanted: str | None, *, with_places: bool = False) -> list[str]:
    """The outputs to write, in order; with places, `file` before those of the signature.

    Raises:
        UsageError: The signature has no such output, or it is of complex numbers.
    """
    known = list(dict.fromkeys([*([_PLACE] if with_places else []), *signature.outputs]))
    names = [name.strip() for name in wanted.split(",")] if wanted else known
    for name in names:
        if name not in known:
            raise UsageError(
                f"The signature has no output {name!r}.{did_you_mean(name, known)} It has: {', '.join(known)}."
            )
        if name in signature.outputs and (dtype := signature.outputs[name].dtype).is_complex:
            raise UsageError(
                f"The output {name!r} is {dtype.name}, which can't be written. Choose others by --outputs, of "
                f"{', '.join(known)}."
            )
    return list(dict.fromkeys(names))


def check_output(path: str, sources: Iterable[str]) -> None:
    """Checks that no input would be overwritten.

    Raises:
        UsageError: One would.
    """
    for source in sources:
        if path != "-" and os.path.exists(path) and os.path.exists(source) and os.path.samefile(path, source):
            raise UsageError(f"--output={path} is an input, too: it would be overwritten. Give another name.")


def read(
    kind: str,
    images: list[str],
    source: str,
    signature: LoadedSignature,
    tables: TrainedTables,
    stack: contextlib.ExitStack,
) -> tuple[Iterator[read_examples.Example], Callable[[int], float] | None]:
    """The examples that the command line speaks of, and what tells which share of them a number of examples is."""
    specs = signature.inputs
    if kind == "images":
        return read_examples.read_images(images, specs), lambda count: count / len(images)
    if kind == "records":
        return read_examples.read_records(source, specs), None
    if source == "-":
        if sys.stdin.isatty():
            print(f"Reading {kind} from standard input; end it with Ctrl-D.", file=sys.stderr)
        return _READERS[kind](sys.stdin.buffer, "standard input", specs, tables), None
    file = stack.enter_context(open(source, "rb"))  # noqa: SIM115  the stack closes it
    size = max(os.path.getsize(source), 1)
    content: Any = gzip.GzipFile(fileobj=file) if source.lower().endswith(".gz") else file
    return _READERS[kind](content, source, specs, tables), lambda count: file.tell() / size


def batches(examples: Iterable[read_examples.Example], batch_size: int) -> Iterator[Batch]:
    """Up to `batch_size` examples at a time, fewer where their shapes change: `(places, {name: [batch, ...]})`."""

    def shapes(example: read_examples.Example) -> list[tuple[int, ...]]:
        return [array.shape for array in example[1].values()]

    for _, alike in itertools.groupby(examples, shapes):
        while batch := list(itertools.islice(alike, batch_size)):
            places = [place for place, _ in batch]
            yield places, {name: np.stack([example[name] for _, example in batch]) for name in batch[0][1]}


def ask(
    signature: LoadedSignature, fed: Iterable[Batch], names: list[str], progress: Progress
) -> Iterator[Iterator[dict[str, Any]]]:
    """Calls the signature on each batch; yields the rows of its answers.

    Raises:
        UsageError: The signature refuses an example.
    """
    for places, batch in fed:
        answers = {_PLACE: np.array(places, object), **answer(signature, places, batch)}
        for name in names:
            if answers[name].shape[:1] != (len(places),):
                raise UsageError(
                    f"The output {name!r} has shape {answers[name].shape} for {len(places)} examples: one row each?"
                )
        progress.add(len(places))
        yield write_predictions.rows({name: answers[name] for name in names})


def answer(signature: LoadedSignature, places: list[str], batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the signature answers to one batch.

    Raises:
        UsageError: It refuses an example; the message names the first one.
    """
    try:
        return signature.run(batch)
    except tf.errors.OpError as error:
        if len(places) > 1:  # the whole batch failed: whose fault was it?
            for index, place in enumerate(places):
                answer(signature, [place], {name: array[index : index + 1] for name, array in batch.items()})
        where = places[0] if len(places) == 1 else f"{places[0]} to {places[-1]}"
        raise UsageError(f"{where}: the signature refuses this: {error}") from error


@contextlib.contextmanager
def open_output(path: str) -> Iterator[IO[str]]:
    """Standard output for `-`, else the file, which has its name when all is written; UTF-8 either way."""
    if path == "-":
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(encoding="utf-8")
        yield sys.stdout
        return
    is_replaced = os.path.isfile(path) or not os.path.exists(path)  # not a pipe or a device
    target = pathlib.Path(path).resolve()
    with (
        files.replacing(target) if is_replaced else contextlib.nullcontext(target) as place,
        place.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


if __name__ == "__main__":
    command_line.run(main, define_flags, arguments="[image ...]")
