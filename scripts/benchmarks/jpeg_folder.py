"""How fast JPEG files become training batches of 224x224, and how much memory a larger folder takes.

    python scripts/benchmarks/jpeg_folder.py
    python scripts/benchmarks/jpeg_folder.py --images=2000 --seconds=4

Speed: the folder is made of random crops of scikit-learn's two sample photographs, at 500x375 and quality 92. "All
three" are flip, rotation by up to 10 degrees and zoom by up to 10%. All make float32 from 0 to 255, as Keras' loader
does. Those who read take turns; ratios are the medians of those within a round. The limit is `tf.io.decode_jpeg` of
the files and nothing else, in as many threads. Milliseconds are of processor time, which changes less than images/s
where a machine has other things to do.

Memory: the peak of a process that reads an epoch of the folder, and of one ten times as large.
"""

import importlib
import importlib.util
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
import psutil
import tensorflow as tf
from absl import app, flags, logging
from sklearn.datasets import load_sample_images

import framework
from framework.data.stages import PARALLEL_CALLS, configure
from framework.data.train import train_dataset

_IMAGES = flags.DEFINE_integer("images", 1000, "Of the folder.", lower_bound=100)
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 32, "Images of a batch; 32 is also Keras' own.", lower_bound=1)
_SECONDS = flags.DEFINE_float("seconds", 2.0, "Of each turn.", lower_bound=0.1)
_ROUNDS = flags.DEFINE_integer("rounds", 7, "Turns of each.", lower_bound=1)
_MEMORY = flags.DEFINE_bool("memory", True, "Measure memory, too.")
_READ = flags.DEFINE_string("read", None, "Only read an epoch of this folder and print the peak memory in MB.")

SIZE = 224
ROTATION, ZOOM = 10.0, 0.1
LIMIT, OURS, KERAS, TORCH = "limit: decode alone", "ours, all three", "keras, all three", "torch and Pillow, flip"
TARGETS = {LIMIT: 0.75, KERAS: 6.0, TORCH: 2.0}
Batches = Iterator[Any]


def make(folder: pathlib.Path, num_images: int) -> None:
    """Writes two classes of files."""
    random = np.random.default_rng(0)
    photographs = load_sample_images().images
    for number in range(num_images):
        photograph = photographs[number % 2]
        height = int(random.integers(300, photograph.shape[0]))
        width = height * 4 // 3
        top, left = random.integers(photograph.shape[0] - height), random.integers(photograph.shape[1] - width)
        window = tf.image.resize(photograph[top : top + height, left : left + width], (375, 500))
        encoded = tf.io.encode_jpeg(tf.cast(tf.round(window), tf.uint8), quality=92)
        path = folder / "train" / str(number % 2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        tf.io.write_file(str(path), encoded)


def ours(folder: str, **options: Any) -> tf.data.Dataset:
    pipeline = framework.get_pipeline("image_folder")(
        folder, size=SIZE, scale="pixels", validation=0.0, test=0.0, **{"flip": False} | options
    )
    return train_dataset(pipeline, batch_size=_BATCH_SIZE.value, seed=0)


def keras_loader(folder: str) -> tf.data.Dataset:
    return keras.utils.image_dataset_from_directory(
        f"{folder}/train", image_size=(SIZE, SIZE), batch_size=_BATCH_SIZE.value, verbose=False
    )


def keras_augmented(folder: str) -> tf.data.Dataset:
    layers = keras.Sequential(
        [
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomRotation(ROTATION / 360),
            keras.layers.RandomZoom(ZOOM),
        ]
    )
    loaded = keras_loader(folder)
    return loaded.map(
        lambda images, labels: (layers(images, training=True), labels), num_parallel_calls=tf.data.AUTOTUNE
    )


def decoded(folder: str, *, resized: bool) -> tf.data.Dataset:
    """What TensorFlow's documentation teaches; the limit where nothing is resized."""

    def read(path: tf.Tensor) -> tf.Tensor:
        pixels = tf.io.decode_jpeg(tf.io.read_file(path), channels=3)
        return tf.image.resize(pixels, (SIZE, SIZE)) if resized else pixels

    paths = [str(path) for path in pathlib.Path(folder).glob("train/*/*")]
    images = tf.data.Dataset.from_tensor_slices(paths).map(read, num_parallel_calls=PARALLEL_CALLS)
    if not resized:
        # A stage of its own, or TensorFlow would decode no more than is looked at; and every 50th, for a corner alone
        # would be cut out while decoding.
        images = images.map(lambda pixels: pixels[::50, ::50])
    return configure(images.repeat().batch(_BATCH_SIZE.value).prefetch(2))


def torch_batches(folder: str) -> Batches:
    """A DataLoader with Pillow and two workers, as PyTorch's tutorials have it; flip alone."""
    torch: Any = importlib.import_module("torch.utils.data")
    image: Any = importlib.import_module("PIL.Image")
    paths = [str(path) for path in pathlib.Path(folder).glob("train/*/*")]

    random = np.random.default_rng()

    class Files(torch.Dataset):
        def __len__(self):
            return len(paths)

        def __getitem__(self, index):
            pixels = np.asarray(image.open(paths[index]).convert("RGB").resize((SIZE, SIZE), image.Resampling.BILINEAR))
            pixels = pixels[:, ::-1] if random.random() < 0.5 else pixels
            return pixels.transpose(2, 0, 1).astype(np.float32)

    loader = torch.DataLoader(Files(), batch_size=_BATCH_SIZE.value, shuffle=True, num_workers=2)
    while True:
        yield from loader


def read(batches: Batches, seconds: float) -> tuple[float, float]:
    """(Images/s, milliseconds of processor time for an image) of one turn, after some time to find its pace."""
    began = time.perf_counter()
    while time.perf_counter() - began < seconds / 2:
        next(batches)
    process = psutil.Process()
    began, used = time.perf_counter(), sum(process.cpu_times()[:2])
    steps = 0
    while (elapsed := time.perf_counter() - began) < seconds:
        next(batches)
        steps += 1
    images = steps * _BATCH_SIZE.value
    return images / elapsed, (sum(process.cpu_times()[:2]) - used) / images * 1e3


def compare(folder: str) -> None:
    moves = {"flip": True, "rotation": ROTATION, "zoom": ZOOM}
    readers: dict[str, Callable[[], Any]] = {
        LIMIT: lambda: decoded(folder, resized=False),
        "decode and resize": lambda: decoded(folder, resized=True),
        OURS: lambda: ours(folder, warp="opencv", **moves),
        "ours, all three, TensorFlow": lambda: ours(folder, **moves),
        "ours, random resized crop": lambda: ours(folder, crop=0.08),
        "ours, all three, cached": lambda: ours(folder, warp="opencv", cache="memory", **moves),
        "ours, none": lambda: ours(folder),
        KERAS: lambda: keras_augmented(folder).repeat(),
        "keras, none": lambda: keras_loader(folder).repeat(),
    }
    if importlib.util.find_spec("torch"):
        readers[TORCH] = lambda: torch_batches(folder)
    turns: dict[str, list[tuple[float, float]]] = {name: [] for name in readers}
    datasets = {name: reader() for name, reader in readers.items()}
    for _ in range(_ROUNDS.value):
        for name, dataset in datasets.items():
            # An iterator of its own for each turn: others would go on reading ahead.
            turns[name].append(read(iter(dataset), _SECONDS.value))
    print(f"{'':30}{'images/s':>10}{'of the limit':>14}{'ms/image':>10}{'of the limit':>14}")
    for name, measured in turns.items():
        rates, milliseconds = (statistics.median(column) for column in zip(*measured, strict=True))
        print(
            f"{name:30}{rates:10,.0f}{_ratio(turns, name, LIMIT):14.2f}{milliseconds:10.2f}{_cost(turns, name):14.2f}"
        )
    print()
    for name, target in TARGETS.items():
        if name in turns:
            print(f"{OURS!r} against {name!r}: {_ratio(turns, OURS, name):.2f}, to be at least {target}")
    if TORCH not in turns:
        print("torch isn't installed: not compared")


def _ratio(turns: dict[str, list[tuple[float, float]]], name: str, other: str) -> float:
    """Of images/s."""
    return statistics.median(mine[0] / theirs[0] for mine, theirs in zip(turns[name], turns[other], strict=True))


def _cost(turns: dict[str, list[tuple[float, float]]], name: str) -> float:
    """What the limit takes of processor time, as a share of what this takes."""
    return statistics.median(limit[1] / mine[1] for mine, limit in zip(turns[name], turns[LIMIT], strict=True))


def peak_memory(folder: str) -> float:
    """Of a new process that reads an epoch, in MB."""
    command = [sys.executable, __file__, f"--read={folder}", f"--batch_size={_BATCH_SIZE.value}"]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def read_an_epoch(folder: str) -> None:
    dataset = ours(folder, warp="opencv", flip=True, rotation=ROTATION, zoom=ZOOM)
    count = len(list(pathlib.Path(folder).glob("train/*/*")))
    for _ in dataset.take(-(-count // _BATCH_SIZE.value)):
        pass
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main(_):
    logging.set_verbosity(logging.ERROR)
    if _READ.value:
        read_an_epoch(_READ.value)
        return
    with tempfile.TemporaryDirectory() as directory:
        folder, large = pathlib.Path(directory, "folder"), pathlib.Path(directory, "large")
        make(folder, _IMAGES.value)
        compare(str(folder))
        if _MEMORY.value:
            for path in folder.glob("train/*/*"):
                (large / path.relative_to(folder)).parent.mkdir(parents=True, exist_ok=True)
                for copy in range(10):
                    os.link(path, (large / path.relative_to(folder)).with_stem(f"{path.stem}-{copy}"))
            small_peak, large_peak = peak_memory(str(folder)), peak_memory(str(large))
            print(
                f"Peak memory: {small_peak:,.0f} MB for {_IMAGES.value:,} images, {large_peak:,.0f} MB for ten times "
                f"as many: {large_peak / small_peak:.2f}, to be at most 1.1"
            )


if __name__ == "__main__":
    app.run(main)
