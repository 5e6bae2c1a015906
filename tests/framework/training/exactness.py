"""What the tests of exact resume share: small runs with much state, and everything they leave behind."""

from __future__ import annotations

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

import framework
from framework.data import augment


def busy_network(inputs, task, *, width: int = 6):
    """Batch normalization, dropout: variables that aren't weights."""
    x = keras.layers.Conv2D(width, 3, use_bias=False)(inputs["image"])
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    return task.logits(x)


def images_pipeline() -> framework.Pipeline:
    """60 training images in 8 uneven batches of 8, augmented."""
    rng = np.random.default_rng(0)
    labels = np.arange(90) % 3
    images = (rng.normal(size=(90, 6, 6, 1)) + labels[:, None, None, None]).astype(np.float32)

    def flip(features, labels, seeds):
        return {"image": augment.random_flip(features["image"], seeds)}, labels

    return framework.pipeline_from_arrays(
        {"image": images[:60]}, labels[:60], validation=({"image": images[60:]}, labels[60:]), augment=flip
    )


class StopAt(keras.callbacks.Callback):
    """Dies after a step of an epoch, once."""

    def __init__(self, epoch: int, batch: int):
        super().__init__()
        self.at = (epoch, batch)
        self.armed = False

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.armed and (self.epoch, batch) >= self.at:
            self.armed = False
            self.die()

    def die(self):
        raise RuntimeError("killed")

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def left_behind(run_dir: pathlib.Path) -> dict[str, object]:
    """Everything a run left that must not depend on interruptions."""
    newest = max(path for path in (run_dir / "checkpoints").iterdir() if path.name[0].isdigit())
    found: dict[str, object] = {"position": newest.name, "history": (run_dir / "history.csv").read_text()}
    with np.load(newest / "snapshot.npz") as arrays:
        found |= {f"state {name}": array.tobytes() for name, array in arrays.items()}
    best = json.loads((run_dir / "export/best.json").read_text())
    export = run_dir / "export" / str(best["version"])
    found |= {"best": best, "versions": sorted(p.name for p in (run_dir / "export").iterdir())}
    reader = tf.train.load_checkpoint(str(export / "variables/variables"))
    for key in reader.get_variable_to_shape_map():
        if "model_variables" in key:
            found[key] = reader.get_tensor(key).tobytes()
    return found


def differences(one: pathlib.Path, other: pathlib.Path) -> list[str]:
    """What two runs left differently."""
    first, second = left_behind(one), left_behind(other)
    return sorted(name for name in {*first, *second} if first.get(name) != second.get(name))
