"""What an export costs: time until training may go on, bytes, and the proof, which goes on beside it.

    python scripts/benchmarks/export_cost.py
    python scripts/benchmarks/export_cost.py --rounds=1 --size=64

ResNet50 (random weights, compiled with Adam and trained for a step) with five signatures, written by

    ours                  what training waits for: the SavedModel, the live model's answers to real requests, fsync
    ours, again           the same of the next epoch: of the SavedModel only the variables are new
    ours, SavedModel only without anything that proves it
    tf.saved_model.save   of the model, with the same five signatures
    model.export          of Keras, with its one signature

and then proven: loaded in another process by two loaders, every signature run, metrics recomputed on the validation
split. Bytes are those of the variables, relative to the parameters, and of the graph. Ratios are to ours, again.

On two cores, November 2026, TensorFlow 2.21: ours 2.8 to 3.3 s the first time (each signature's graph is optimized),
then 0.6 s; the SavedModel alone 1.6 s, tf.saved_model.save 5.1 s and 3.0 times the bytes, model.export 4.9 s and 2.0
times the bytes. The proof takes 8 s and the first one 13 s, nearly all of them in the other process.
"""

import pathlib
import statistics
import tempfile
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import framework
from framework.data.evaluate import eval_dataset
from framework.export import Evaluation, Exporter, Exports, Moment
from framework.export.saved_model import SavedModelWriter

_ROUNDS = flags.DEFINE_integer("rounds", 3, "Repetitions; the median is printed.")
_SIZE = flags.DEFINE_integer("size", 224, "Height and width of the images.")
_EXAMPLES = flags.DEFINE_integer("examples", 64, "Of the validation split.")
_BATCH_SIZE = 16


class Photographs(framework.Pipeline):
    """Noise as JPEG files."""

    task = framework.tasks.Classification(1000)

    def __init__(self, size: int, examples: int):
        self.features = {"image": framework.Image((size, size, 3))}
        noise = np.random.default_rng(0).integers(0, 256, (examples, size, size, 3), np.uint8)
        self._files = np.array([tf.io.encode_jpeg(image).numpy() for image in noise], object)

    def source(self, phase):
        return framework.ArraySource({"image": self._files}, np.arange(len(self._files)))

    def preprocess(self, features):
        return {"image": tf.cast(features["image"], tf.float32) / 255.0}


def resnet50(inputs, task):
    """The network as Keras has it."""
    weights = {"weights": None, "classes": task.num_classes, "classifier_activation": None}
    return keras.applications.ResNet50(input_tensor=inputs["image"], **weights).output


class Bench:
    """The model, its exporter, and where everything is written.

    Args:
        base: A directory for this.
    """

    def __init__(self, base: pathlib.Path):
        self.base = base
        self.pipeline = Photographs(_SIZE.value, _EXAMPLES.value)
        task = self.pipeline.task
        compiled = {"loss": task.loss(), "metrics": task.metrics()}
        self.model = framework.build_model(resnet50, self.pipeline.interface(), task, seed=0)
        self.model.compile("adam", **compiled)
        dataset = eval_dataset(self.pipeline, "validation", batch_size=_BATCH_SIZE)
        self.model.train_on_batch(*next(iter(dataset.take(1))))
        self.metrics = {f"val_{k}": v for k, v in self.model.evaluate(dataset, return_dict=True, verbose=0).items()}
        self.exporter = Exporter(
            self.model,
            self.pipeline,
            exports=Exports(classify_regress=True),
            evaluation=Evaluation(_BATCH_SIZE, compiled),
        )
        self.parameters = 4 * self.model.count_params()
        self.number = 0

    def directory(self) -> str:
        """A new one."""
        self.number += 1
        return str(self.base / f"other{self.number}")

    def ours(self) -> pathlib.Path:
        return self.exporter.stage(self.base / "export", Moment(0, 1, self.metrics)).model

    def written(self) -> pathlib.Path:
        directory = pathlib.Path(self.directory())
        directory.mkdir()
        SavedModelWriter(self.exporter.signatures).write(directory)
        return directory

    def saved_model(self) -> pathlib.Path:
        directory = self.directory()
        tf.saved_model.save(self.model, directory, signatures=dict(self.exporter.signatures.functions))
        return pathlib.Path(directory)

    def export(self) -> pathlib.Path:
        directory = self.directory()
        self.model.export(directory, verbose=False)
        return pathlib.Path(directory)


def timed(function: Callable) -> tuple[float, pathlib.Path]:
    started = time.perf_counter()
    result = function()
    return time.perf_counter() - started, result


def measured(function: Callable, rounds: int) -> tuple[float, pathlib.Path]:
    """Median seconds, and what the last call wrote."""
    times, path = [], pathlib.Path()
    for _ in range(rounds):
        seconds, path = timed(function)
        times.append(seconds)
    return statistics.median(times), path


def sizes(directory: pathlib.Path) -> tuple[int, int]:
    """Bytes of variables and graph."""
    variables = sum(path.stat().st_size for path in (directory / "variables").iterdir())
    return variables, (directory / "saved_model.pb").stat().st_size


def main(_):
    logging.set_verbosity(logging.ERROR)
    with tempfile.TemporaryDirectory() as temporary:
        bench = Bench(pathlib.Path(temporary))
        tracing, _ = timed(lambda: bench.exporter.signatures)
        print(f"signatures: {', '.join(bench.exporter.signatures.functions)}; traced in {tracing:.2f} s, once")
        rows = [("ours", *timed(bench.ours)), ("ours, again", *measured(bench.ours, _ROUNDS.value))]
        for name, function in (
            ("ours, SavedModel only", bench.written),
            ("tf.saved_model.save", bench.saved_model),
            ("model.export", bench.export),
        ):
            rows.append((name, *measured(function, _ROUNDS.value)))
        base = rows[1][1]
        print(f"{'':22}{'seconds':>9}{'ratio':>8}{'variables':>12}{'graph':>10}")
        for name, seconds, path in rows:
            variables, graph = sizes(path)
            ratio = variables / bench.parameters
            print(f"{name:22}{seconds:9.2f}{seconds / base:8.2f}{ratio:11.3f}x{graph / 1e6:7.2f} MB")
        for name in ("proof, first", "proof, again"):
            staged = bench.exporter.stage(bench.base / "export", Moment(0, 1, bench.metrics))
            seconds, _ = timed(lambda staged=staged: bench.exporter.finish(staged, bench.exporter.prove(staged)))
            print(f"{name:22}{seconds:9.2f}{seconds / base:8.2f}")


if __name__ == "__main__":
    app.run(main)
