"""What it costs to ask an export from Python.

    python scripts/benchmarks/predictor.py

Milliseconds of one call with NumPy arrays in and out, and their ratio to calling the SavedModel's signature: the
predictor of `framework.load_export`, the signature with a tensor that is ready, a v1 session on the same file
(`Session.make_callable`), `model(x)` and `model.predict`. For a small MLP, a small CNN and MobileNetV2: at batch 1,
where the time around the model counts, and at batch 32. Then the predictor's calls a second from 1, 2 and 4 threads.

All take turns in each round; the medians are printed.
"""

import pathlib
import statistics
import tempfile
import threading
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

import framework
from framework.export import Exporter

_ROUNDS = flags.DEFINE_integer("rounds", 7, "Repetitions; the median is printed.")
_SECS = flags.DEFINE_float("secs", 0.1, "Of each way of asking in each round.")


def mlp() -> keras.Model:
    inputs = keras.Input((20,), name="row")
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.Dense(32, activation="relu")(inputs)))


def cnn() -> keras.Model:
    x = inputs = keras.Input((28, 28, 1), name="image")
    for filters in (32, 64):
        x = keras.layers.MaxPool2D()(keras.layers.Conv2D(filters, 3, padding="same", activation="relu")(x))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Flatten()(x)))


def mobilenet() -> keras.Model:
    return keras.applications.MobileNetV2(weights=None, input_shape=(96, 96, 3), classes=100)


def ways_to_ask(model: keras.Model, export_dir: pathlib.Path, x: np.ndarray) -> dict[str, Callable[[], object]]:
    """Each way as a function without arguments, the first of them being the one that others are compared with."""
    predictor = framework.load_export(export_dir)
    loaded = tf.saved_model.load(str(export_dir))
    signature = loaded.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]
    tensor = tf.constant(x)
    session = tf.compat.v1.Session(graph=tf.Graph())
    with session.graph.as_default():
        definition = tf.compat.v1.saved_model.load(session, ["serve"], str(export_dir)).signature_def["serving_default"]
    fetches = [output.name for output in definition.outputs.values()]
    run = session.make_callable(
        [session.graph.get_tensor_by_name(fetch) for fetch in fetches],
        [session.graph.get_tensor_by_name(definition.inputs[name].name)],
    )
    return {
        "signature": lambda: {key: value.numpy() for key, value in signature(**{name: tf.constant(x)}).items()},
        "predictor": lambda: predictor(**{name: x}),
        "signature, tensor ready": lambda: signature(**{name: tensor}),
        "v1 make_callable": lambda: run(x),
        "model(x)": lambda: model(x, training=False).numpy(),
        "model.predict": lambda: model.predict(x, verbose=0),
    }


def measure(ways: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of one call, the median of the rounds."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for ask in ways.values():
        ask()
    for _ in range(_ROUNDS.value):
        for name, ask in ways.items():
            calls, started = 0, time.perf_counter()
            while not calls or time.perf_counter() - started < _SECS.value:
                ask()
                calls += 1
            seconds[name].append((time.perf_counter() - started) / calls)
    return {name: statistics.median(values) for name, values in seconds.items()}


def calls_per_second(ask: Callable[[], object], num_threads: int) -> float:
    counts = [0] * num_threads
    stop = time.perf_counter() + 2 * _SECS.value

    def work(index: int) -> None:
        while time.perf_counter() < stop:
            ask()
            counts[index] += 1

    threads = [threading.Thread(target=work, args=(index,)) for index in range(num_threads)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (2 * _SECS.value)


def main(_):
    logging.set_verbosity(logging.ERROR)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as directory:
        for build in (mlp, cnn, mobilenet):
            model = build()
            base = pathlib.Path(directory, build.__name__)
            export_dir = base / str(Exporter(model).publish(base))
            for batch_size in (1, 32):
                x = rng.random((batch_size, *model.input_shape[1:]), np.float32)
                ways = ways_to_ask(model, export_dir, x)
                seconds = measure(ways)
                print(f"\n{build.__name__}, batch {batch_size}")
                for name, value in seconds.items():
                    ratio = value / seconds["signature"]
                    print(f"  {name:24} {1e3 * value:9.3f} ms   {ratio:6.2f}   {batch_size / value:10,.0f} examples/s")
                if batch_size == 1:
                    rates = [
                        statistics.median(calls_per_second(ways["predictor"], threads) for _ in range(3))
                        for threads in (1, 2, 4)
                    ]
                    print(f"  predictor, calls/s from 1, 2, 4 threads: {', '.join(f'{rate:,.0f}' for rate in rates)}")


if __name__ == "__main__":
    app.run(main)
