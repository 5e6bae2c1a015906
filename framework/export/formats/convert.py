"""From a SavedModel to the formats that people deploy, each proven against it before it gets its name."""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import gc
import pathlib
import tempfile
import threading
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from framework import files
from framework.export.formats.errors import FormatError, FormatInterrupted
from framework.export.formats.gate import Gate
from framework.export.formats.kinds import FORMATS, SAVED_MODEL, Format, check_formats
from framework.export.formats.process import run_job
from framework.export.formats.result import FOLDER, FormatResult
from framework.export.formats.running import open_format, open_saved_model
from framework.export.formats.worker import Job

Examples = Mapping[str, Mapping[str, np.ndarray]]


def convert(
    export_dir: str | pathlib.Path,
    name: str,
    *,
    signature: str | None = None,
    representative: Examples | None = None,
    gate: Gate | None = None,
    timeout_secs: float = 1800,
) -> FormatResult:
    """Writes `<export_dir>/formats/<name>/`, everything or nothing.

    Args:
        export_dir: A SavedModel with explicit signatures.
        name: One of `FORMATS`.
        signature: What to convert. By default `serving_default`, with the preprocessing in the graph, where its inputs
            are numbers and the format can hold what it does, and `features` otherwise; the result says which, and why.
        representative: Real examples, `{signature: {input: [examples, ...]}}`, with which the format is compared, and
            from which `litert_int8` takes the ranges of activations: a hundred or so, of the training split.
        gate: What a format has to reach; without one, quantized formats too are held to a tolerance alone.
        timeout_secs: A converter that takes longer is given up.

    Raises:
        FormatError: The SavedModel can't be converted, or the format doesn't answer as it does.
        FormatRefused: The format is too much worse by the gate's metric.
        FileExistsError: It is there already.
        FileNotFoundError: There is no SavedModel.
        ValueError: There is no such format to convert to, or `litert_int8` has no representative examples.
        ImportError: A package that the format needs isn't installed.
    """
    if name == SAVED_MODEL:
        raise ValueError(f"{export_dir} is a SavedModel already; choose another format: {', '.join(FORMATS)}.")
    results = convert_all(
        export_dir, [name], signature=signature, representative=representative, gate=gate, timeout_secs=timeout_secs
    )
    result = results[name]
    if isinstance(result, FormatError):
        raise result
    return result


def convert_all(
    export_dir: str | pathlib.Path,
    names: Iterable[str],
    *,
    signature: str | None = None,
    representative: Examples | None = None,
    gate: Gate | None = None,
    timeout_secs: float = 1800,
    interrupted: threading.Event | None = None,
) -> dict[str, FormatResult | FormatError]:
    """As `convert`, for several formats in less time: one that fails doesn't stop the others.

    Args:
        export_dir: See `convert`.
        names: The formats.
        signature: See `convert`.
        representative: See `convert`.
        gate: See `convert`.
        timeout_secs: See `convert`.
        interrupted: When another thread sets it, converting is given up.

    Returns:
        `{format: its result, or the FormatError that says why there is none}`.

    Raises:
        FileExistsError: One is there already.
        FileNotFoundError: There is no SavedModel.
        ValueError: There is no such format, or `litert_int8` has no representative examples.
        ImportError: A package that a format needs isn't installed.
        FormatInterrupted: `interrupted` was set.
    """
    export_dir = pathlib.Path(export_dir).absolute()
    kinds = check_formats(names)
    _check(export_dir, kinds, representative)
    folder = export_dir / FOLDER
    with _removed_if_empty(folder), tempfile.TemporaryDirectory(dir=folder, prefix=files.TEMPORARY) as work:
        chosen = tuple(kind.name for kind in kinds)
        job = Job(str(export_dir), chosen, signature, representative or {}, gate is not None)
        answers = run_job(job, pathlib.Path(work), timeout_secs, interrupted)
        before: dict[str, float] = {}
        for name, answer in answers.items():
            if interrupted is not None and interrupted.is_set():
                raise FormatInterrupted("Converting was ended on purpose.")
            if isinstance(answer, FormatResult):
                try:
                    answers[name] = _publish(_gated(answer, export_dir, gate, before), export_dir)
                except FormatError as error:
                    answers[name] = error
    gc.collect()  # a loaded SavedModel is full of reference cycles
    return answers


@contextlib.contextmanager
def _removed_if_empty(folder: pathlib.Path) -> Iterator[None]:
    folder.mkdir(exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _check(export_dir: pathlib.Path, kinds: Iterable[Format], representative: Examples | None) -> None:
    """What can be told before any work is done."""
    if not (export_dir / "saved_model.pb").exists():
        raise FileNotFoundError(f"{export_dir} isn't a SavedModel: it has no saved_model.pb.")
    for kind in kinds:
        target = export_dir / FOLDER / kind.name
        if target.exists():
            raise FileExistsError(f"{target} exists already; delete it to convert again.")
        if kind.needs_examples and not representative:
            raise ValueError(
                f"{kind.name!r} needs representative examples, from which it takes the ranges of activations: "
                "representative=representative_examples(pipeline), or {signature: {input: array}}."
            )


def _gated(result: FormatResult, export_dir: pathlib.Path, gate: Gate | None, before: dict[str, float]) -> FormatResult:
    """The result with what the gate says of it.

    Args:
        result: What lies in the worker's directory.
        export_dir: The SavedModel.
        gate: Its metric decides.
        before: `{signature: the SavedModel's value}`, as far as it is known; what is missing is added.
    """
    result.write()
    if gate is None:
        return result
    # A strategy's scope belongs to a thread; what clients load knows nothing of it.
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
        name = result.signature
        if name not in before:
            before[name] = executor.submit(lambda: gate.score(open_saved_model(export_dir, name))).result()
        after = executor.submit(lambda: gate.score(open_format(result.path))).result()
    gate.check(result.format, before[name], after)
    result = dataclasses.replace(result, metric=gate.metric, before=before[name], after=after)
    result.write()
    return result


def _publish(result: FormatResult, export_dir: pathlib.Path) -> FormatResult:
    target = export_dir / FOLDER / result.format
    with files.publishing(target) as temporary:
        for path in result.path.iterdir():
            path.rename(temporary / path.name)
    return dataclasses.replace(result, path=target)
