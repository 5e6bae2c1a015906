"""Exports in other formats, converted once for all tests: importing TensorFlow is most of the time that it takes."""

import dataclasses
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework.export import formats
from framework.export.formats.process import ENVIRONMENT
from framework.export.formats.worker import ANSWER, JOB


@dataclasses.dataclass(frozen=True)
class Converted:
    run: Any
    images: np.ndarray
    representative: Mapping[str, Mapping[str, np.ndarray]]
    gate: formats.Gate
    results: Mapping[str, Any]


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory):
    return framework.fit("small_cnn", "digits", run_dir=tmp_path_factory.mktemp("formats") / "run", epochs=3, verbose=0)


@pytest.fixture(scope="session")
def converted(digits_run):
    representative = formats.representative_examples(digits_run.pipeline)
    gate = formats.pipeline_gate(digits_run.pipeline, max_drop=0.02)
    results = formats.convert_all(digits_run.export_dir, formats.FORMATS, representative=representative, gate=gate)
    images = next(iter(digits_run.pipeline.source("test").batches(32))).features["image"].numpy()
    return Converted(digits_run, images, representative, gate, results)


@pytest.fixture
def export_dir(converted, tmp_path):
    """A copy of the export, without formats."""
    return shutil.copytree(
        converted.run.export_dir, tmp_path / "export" / "1", ignore=shutil.ignore_patterns("formats")
    )


@pytest.fixture
def doubling(tmp_path):
    """A SavedModel that doubles."""
    function = tf.function(lambda x: {"y": 2.0 * x}, autograph=False)
    concrete = function.get_concrete_function(x=tf.TensorSpec((None, 3), tf.float32, "x"))
    tf.saved_model.save(tf.Module(), str(tmp_path / "doubling"), signatures={"serving_default": concrete})
    return tmp_path / "doubling"


_MAIN = "import sys; from framework.export.formats import worker; [worker.main(work) for work in sys.argv[1:]]"


@pytest.fixture(scope="session")
def in_one_process(tmp_path_factory):
    """Does several jobs, `{name: Job}`, in one process; returns `{name: {format: FormatResult or FormatError}}`."""

    def in_one_process(jobs):
        root = tmp_path_factory.mktemp("jobs")
        for name, job in jobs.items():
            (root / name).mkdir()
            (root / name / JOB).write_bytes(pickle.dumps(job))
        done = subprocess.run(
            [sys.executable, "-c", _MAIN, *(str(root / name) for name in jobs)],
            env=os.environ | ENVIRONMENT,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr

        def answer(name, kind):
            return pickle.loads((root / name / ANSWER.format(kind)).read_bytes())

        return {name: {kind: answer(name, kind) for kind in job.names} for name, job in jobs.items()}

    return in_one_process
