"""Asks an export: a file, standard input or images in, predictions out. Plain TensorFlow, as any client has it.

    python scripts/predict.py --export=runs/digits zero.png one.png
    python scripts/predict.py --export=runs/wine/export/3 --input=wines.csv --outputs=class_name,probabilities
    python scripts/predict.py --export=runs/wine --input=- --format=jsonl --output=answers.csv < wines.jsonl

--export takes a SavedModel, a directory of versions or a run directory; of several versions the best is asked, else
the newest. CSV has a header; JSON lines are {feature: value}; an .npz file has arrays [examples, ...] by feature name.
"""

import contextlib
import io
import itertools
import json
import pathlib
import sys
from collections.abc import Iterable, Iterator
from typing import IO, Any

import command_line
import numpy as np
import read_examples
import tensorflow as tf
import write_predictions
from absl import flags as absl_flags
from command_line import UsageError, did_you_mean

_READERS = {
    "csv": read_examples.read_csv,
    "jsonl": read_examples.read_json_lines,
    "npz": read_examples.read_npz,
}


def define_flags(flags: command_line.Flags) -> None:
    with flags.heading("Who is asked"):
        flags.text("export", None, "A SavedModel, a directory of versions, or a run directory.")
        flags.text("signature", "serving_default", "One of the export's signatures.")
        flags.value("batch_size", int, 64, "Examples of one call.")
    with flags.heading("What goes in"):
        flags.text("input", None, "A file, or - for standard input (the default where no images are given).")
        flags.choice("format", tuple(_READERS), None, "Of the input; by default what its name tells, jsonl for -.")
    with flags.heading("What comes out"):
        flags.text("output", "-", "A file, or - for standard output.")
        flags.choice("output_format", write_predictions.FORMATS, None, "By default csv for *.csv, else jsonl.")
        flags.text("outputs", None, "Names of outputs, separated by commas; by default all of them.")


def main(values: absl_flags.FlagValues, arguments: list[str]) -> None:
    command_line.require(values, "export")
    if values.batch_size < 1:
        raise UsageError(f"--batch_size must be at least 1, got {values.batch_size}.")
    if arguments and values.input:
        raise UsageError(f"Give images or --input, not both: got {len(arguments)} arguments and {values.input!r}.")
    # Held to the end: its functions don't keep its variables alive.
    loaded = tf.saved_model.load(str(find_export(pathlib.Path(values.export).expanduser())))
    function = find_signature(loaded, values.signature)
    names = choose_outputs(function, values.outputs)
    with contextlib.ExitStack() as stack:
        specs = dict(sorted(function.structured_input_signature[1].items()))
        examples = read(arguments, values, specs, stack)
        answers = ask(function, batches(examples, values.batch_size), names)
        kind = values.output_format or ("csv" if values.output.lower().endswith(".csv") else "jsonl")
        write = write_predictions.write_csv if kind == "csv" else write_predictions.write_json_lines
        write(answers, stack.enter_context(open_output(values.output)))


def find_export(path: pathlib.Path) -> pathlib.Path:
    """The SavedModel at `path`: itself, the best of the versions in it, or that of the run that it is.

    Raises:
        UsageError: There is none.
    """
    for base in (path, path / "export"):
        if (base / "saved_model.pb").is_file():
            return base
        versions = [file.parent for file in base.glob("*/saved_model.pb") if file.parent.name.isdecimal()]
        if versions:
            best = _best_version(base)
            return next((v for v in versions if v.name == best), max(versions, key=lambda v: int(v.name)))
    raise UsageError(
        f"There is no SavedModel in {path}: expected saved_model.pb, versions such as {path / '1'}, or a run's "
        f"{path / 'export'}."
    )


def _best_version(base: pathlib.Path) -> str | None:
    """What `best.json` says."""
    try:
        return str(json.loads((base / "best.json").read_text(encoding="utf-8"))["version"])
    except (OSError, ValueError, KeyError):
        return None


def find_signature(loaded: Any, name: str) -> Any:
    """A loaded SavedModel's signature.

    Raises:
        UsageError: It has none of that name.
    """
    if name not in loaded.signatures:
        raise UsageError(
            f"The export has no signature {name!r}.{did_you_mean(name, loaded.signatures)} "
            f"It has: {', '.join(sorted(loaded.signatures)) or 'none'}."
        )
    return loaded.signatures[name]


def choose_outputs(function: Any, wanted: str | None) -> list[str]:
    """The outputs to write, in order.

    Raises:
        UsageError: The signature has no such output.
    """
    known = sorted(function.structured_outputs)  # a SavedModel keeps no order
    names = [name.strip() for name in wanted.split(",")] if wanted else known
    for name in names:
        if name not in known:
            raise UsageError(
                f"The signature has no output {name!r}.{did_you_mean(name, known)} It has: {', '.join(known)}."
            )
    return names


def read(
    images: list[str], values: absl_flags.FlagValues, specs: read_examples.Specs, stack: contextlib.ExitStack
) -> Iterator[read_examples.Example]:
    """The examples that the command line speaks of."""
    if images:
        return read_examples.read_images(images, specs)
    source = values.input or "-"
    kind = values.format or ("jsonl" if source == "-" else read_examples.format_of(source))
    if kind is None:
        raise UsageError(f"{source}: its name doesn't tell the format; say --format={'|'.join(_READERS)}.")
    if source != "-":
        return _READERS[kind](stack.enter_context(pathlib.Path(source).open("rb")), source, specs)
    if sys.stdin.isatty():
        print(f"Reading {kind} from standard input; end it with Ctrl-D.", file=sys.stderr)
    return _READERS[kind](sys.stdin.buffer, "standard input", specs)


def batches(examples: Iterable[read_examples.Example], batch_size: int) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Up to `batch_size` examples at a time, fewer where their shapes change: `(place, {name: [batch, ...]})`."""

    def shapes(example: read_examples.Example) -> list[tuple[int, ...]]:
        return [array.shape for array in example[1].values()]

    for _, alike in itertools.groupby(examples, shapes):
        while batch := list(itertools.islice(alike, batch_size)):
            first, last = batch[0][0], batch[-1][0]
            place = first if len(batch) == 1 else f"{first} to {last}"
            yield place, {name: np.stack([example[name] for _, example in batch]) for name in batch[0][1]}


def ask(
    function: Any, fed: Iterable[tuple[str, dict[str, np.ndarray]]], names: list[str]
) -> Iterator[Iterator[dict[str, Any]]]:
    """Calls the signature on each batch; yields the rows of its answers.

    Raises:
        UsageError: The signature refuses a batch.
    """
    for place, batch in fed:
        try:
            answered = function(**{name: tf.constant(array) for name, array in batch.items()})
        except tf.errors.OpError as error:
            # Between the heading and the graph's nodes is what the operation says.
            _, _, reason = f"\n{error.message}".rpartition("<stack traces unavailable>\n")
            reason, _, _ = reason.partition("\n\t [[")
            raise UsageError(f"{place}: the signature refuses this: {reason.strip()}") from error
        answers = {name: answered[name].numpy() for name in names}
        size = len(next(iter(batch.values())))
        for name, array in answers.items():
            if array.shape[:1] != (size,):
                raise UsageError(f"The output {name!r} has shape {array.shape} for {size} examples: one row each?")
        yield write_predictions.rows(answers)


def open_output(path: str) -> contextlib.AbstractContextManager[IO[str]]:
    """Standard output for `-`, else the file; UTF-8 either way."""
    if path != "-":
        return pathlib.Path(path).open("w", encoding="utf-8", newline="")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    return contextlib.nullcontext(sys.stdout)


if __name__ == "__main__":
    command_line.run(main, define_flags, arguments="[image ...]")
