"""Exports, loaded by a new process that has TensorFlow and nothing of ours."""

from __future__ import annotations

import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Iterable

import numpy as np

from framework.data.serving import receivers
from framework.testing.checks import BATCH_SIZE, held_out, require, require_equal
from framework.training.run import Run

_TIMEOUT_SECS = 300

_RELOAD = """
import pickle, sys
import tensorflow as tf

with open(sys.argv[1], "rb") as file:
    exports = pickle.load(file)
answers = []
for directory, requests in exports:
    loaded = tf.saved_model.load(directory)
    answers.append([
        {name: value.numpy() for name, value in loaded.signatures[signature](**{
            name: tf.constant(value) for name, value in inputs.items()
        }).items()}
        for signature, inputs in requests
    ])
foreign = sorted({"framework", "models", "pipelines"} & {module.partition(".")[0] for module in sys.modules})
with open(sys.argv[2], "wb") as file:
    pickle.dump((answers, foreign), file)
"""


def assert_export_reloads(runs: Iterable[Run]) -> None:
    """Loads the exports of several runs in one new process that imports TensorFlow alone, and compares the answers.

    Raises:
        AssertionError: One doesn't load, or a signature doesn't answer as `Run.predict` does.
    """
    runs = list(runs)
    requests = [(str(run.export_dir), _requests(run)) for run in runs]
    for run, (answers, (_, asked)) in zip(runs, zip(_reload(requests), requests, strict=True), strict=True):
        for answer, (signature, inputs) in zip(answers, asked, strict=True):
            size = len(next(iter(inputs.values())))
            where = f"{run.export_dir}, signature {signature!r}, batch of {size}"
            expected = run.predict(held_out(run.pipeline, size))
            require(
                set(answer) == set(expected),
                f"{where} answers {sorted(answer)}, Run.predict {sorted(expected)}.",
            )
            for name, values in expected.items():
                require_equal(answer[name], values, f"{where}: {name!r} differs from Run.predict")


def _requests(run: Run) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(signature, inputs) for each signature whose input can be made of a split, at two batch sizes."""
    return [
        (name, dict(receiver.request(held_out(run.pipeline, size))))
        for size in (1, BATCH_SIZE)
        for name, receiver in receivers(run.pipeline).items()
        if receiver.request is not None
    ]


def _reload(requests: list[tuple[str, list]]) -> list[list[dict[str, np.ndarray]]]:
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = pathlib.Path(directory, "asked"), pathlib.Path(directory, "answered")
        asked.write_bytes(pickle.dumps(requests))
        process = subprocess.run(
            # -P: not what happens to lie in the current directory.
            [sys.executable, "-P", "-c", _RELOAD, str(asked), str(answered)],
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECS,
            check=False,
        )
        where = ", ".join(directory for directory, _ in requests)
        require(process.returncode == 0, f"A new process couldn't use the export {where}:\n{process.stderr}")
        answers, foreign = pickle.loads(answered.read_bytes())
    require(not foreign, f"Loading the exports imported {foreign}: an export must need TensorFlow alone.")
    return answers
