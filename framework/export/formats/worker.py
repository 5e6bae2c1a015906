"""Converting, in a process of its own.

Measured with tensorflow 2.21 and tf2onnx 1.17: 30 lines on standard error for three formats, a handler of the root
logger, an environment variable, and a segmentation fault (LiteRT's calibration, of a model with a loop). A training run
can have none of that. And TensorFlow's kernels for one kind of processor, which mustn't get into a frozen graph, can
only be switched off before it computes anything. So `convert` starts this module, once for all formats: importing
TensorFlow takes as long as converting to all of them.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import os
import pathlib
import pickle
import re
import threading
import time
import traceback
from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from framework.export.formats.comparison import answers, compare, made_up, take
from framework.export.formats.errors import FormatError
from framework.export.formats.frozen import Frozen, freeze
from framework.export.formats.graphs import text_operations
from framework.export.formats.kinds import FORMATS, Format
from framework.export.formats.narrowing import choose_signatures, narrow, obstacle
from framework.export.formats.result import FormatResult
from framework.export.formats.running import FormatRunner, signature_runner

JOB = "job.pickle"
ANSWER = "{}.answer"
_HALF_TOLERANCE = 0.02


@dataclasses.dataclass(frozen=True)
class Job:
    """What `convert` asks for.

    Attributes:
        export_dir: The SavedModel.
        names: Formats, in order.
        signature: Which one to convert; `None` chooses.
        examples: `{signature: {input: [examples, ...]}}`.
        gated: Whether a metric will decide about quantized formats.
        parent: The process that asks; the worker doesn't outlive it.
    """

    export_dir: str
    names: tuple[str, ...]
    signature: str | None
    examples: Mapping[str, Mapping[str, np.ndarray]]
    gated: bool
    parent: int = dataclasses.field(default_factory=os.getpid)


def main(directory: str) -> None:
    """Does the job in `directory`: converts to one format after another and leaves each one's `<format>.answer`."""
    work = pathlib.Path(directory)
    job = pickle.loads((work / JOB).read_bytes())
    threading.Thread(target=leave_with, args=(job.parent,), daemon=True).start()
    converter = _Converter(job, work)
    for name in job.names:
        try:
            answer: Any = converter.convert(FORMATS[name])
        except FormatError as error:
            answer = error
        answered = work / ANSWER.format(name)
        answered.with_suffix(".part").write_bytes(pickle.dumps(answer))
        os.replace(answered.with_suffix(".part"), answered)


def leave_with(parent: int) -> None:
    """Ends this process, whatever it is doing, as soon as its parent is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class _Converter:
    """Holds what several formats of an export share: the loaded SavedModel and its signatures, narrowed and frozen."""

    def __init__(self, job: Job, work: pathlib.Path):
        self.job = job
        self.work = work
        self.loaded = tf.saved_model.load(job.export_dir)

    def convert(self, kind: Format) -> FormatResult:
        """Tries the signatures that the format might hold.

        Raises:
            FormatError: It can hold none of them.
        """
        possible, refused = self._choose(kind)
        details = []
        for signature in possible:
            try:
                return self._convert(kind, signature, dict(refused))
            except Exception as error:  # of converters, which raise anything
                refused[signature] = _reason(error)
                details.append(traceback.format_exc())
        reasons = "; ".join(f"signature {name!r}: {reason}" for name, reason in refused.items())
        where = f"{self.job.export_dir} can't be converted to {kind.name!r}"
        reasons = reasons or "it has neither serving_default nor features; name a signature"
        raise FormatError(kind.name, f"{where}: {reasons}.", "\n".join(details))

    def _choose(self, kind: Format) -> tuple[list[str], dict[str, str]]:
        name = self.job.signature
        if name is None:
            return choose_signatures(self.loaded, has_text=kind.has_text)
        if name not in self.loaded.signatures:
            return [], {name: f"there is none; there are {', '.join(sorted(self.loaded.signatures))}"}
        reason = obstacle(self.loaded.signatures[name], has_text=kind.has_text)
        return ([name], {}) if reason is None else ([], {name: reason})

    def _convert(self, kind: Format, signature: str, passed_over: dict[str, str]) -> FormatResult:
        given = self.job.examples.get(signature)
        if kind.needs_examples and given is None:
            raise ValueError(f"it needs representative examples of this signature, got those of {[*self.job.examples]}")
        examples, expected = self._expect(signature)
        frozen = self._freeze(signature, kind.has_text)
        source = frozen.source
        text = [] if kind.has_text else text_operations(frozen.graph_def)
        if text:
            raise ValueError(
                f"it works on text inside ({', '.join(text)}), as hashing does, which only a SavedModel and a frozen "
                "graph can hold"
            )
        directory = self.work / f"{kind.name}-{signature}"
        directory.mkdir()
        kind.write(frozen, directory / kind.file, given)
        call = kind.open(directory / kind.file, signature, source.tensors)
        runner = FormatRunner(kind.name, signature, source.inputs, source.outputs, call)
        tolerance = None if kind.is_quantized and self.job.gated else kind.tolerance
        if tolerance is not None and frozen.was_half:
            tolerance = max(tolerance, _HALF_TOLERANCE)  # it is the SavedModel that rounds
        return FormatResult(
            kind.name,
            directory,
            kind.file,
            signature,
            source.inputs,
            source.outputs,
            source.tensors,
            source.left_out,
            passed_over,
            **compare(expected, answers(runner, examples), tolerance),
            versions={name: importlib.metadata.version(name) for name in ("tensorflow", *kind.modules)},
        )

    @functools.cache  # noqa: B019  it lives as long as the process
    def _expect(self, signature: str) -> tuple[Mapping[str, np.ndarray], dict[int, dict[str, np.ndarray]]]:
        """Examples, and what the SavedModel answers to them."""
        saved_model = signature_runner(self.loaded, signature)
        examples = self.job.examples.get(signature) or made_up(saved_model.inputs)
        return examples, answers(saved_model, examples)

    @functools.cache  # noqa: B019
    def _freeze(self, signature: str, has_text: bool) -> Frozen:
        directory = self.work / f"{signature}-{'text' if has_text else 'numbers'}"
        examples, _ = self._expect(signature)
        return freeze(narrow(self.loaded, signature, directory, has_text=has_text), take(examples, 2))


def _reason(error: Exception) -> str:
    """What a converter's error says, in a line."""
    message = str(error)
    operations = re.findall(r"(?:TF Select|Custom) ops: ([\w, ]+)", message)
    if operations:
        return f"it has the operations {', '.join(operations)}, which the format doesn't know"
    if "TensorList" in message:
        return "it has a recurrent layer, which converts with unroll=True alone"
    return message.strip().splitlines()[0][:300] if message.strip() else type(error).__name__
