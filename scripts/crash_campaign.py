"""Kills training at random instants and shows that nothing is lost.

    python scripts/crash_campaign.py                  # 100 kills over all cases
    python scripts/crash_campaign.py --kills 10 --cases table,cnn

For each case a reference is trained without interruption. Then the same run is started in processes that are killed
with SIGKILL: at a random time, as soon as a checkpoint or an export is being written, or while one that is written
waits to be proven. Each is started again until the run is finished, and everything it left behind is compared with the
reference by hash: every array of the final state (weights, optimizer, metrics, random generators), callbacks, history,
best record and the exported variables.
"""

import dataclasses
import hashlib
import json
import multiprocessing
import pathlib
import random
import tempfile
import time

import numpy as np
from absl import app, flags, logging

_KILLS = flags.DEFINE_integer("kills", 100, "Processes to kill, over all cases.")
_CASES = flags.DEFINE_list("cases", [], "Cases to run; all by default.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the instants.")
_DIR = flags.DEFINE_string("dir", None, "Where runs are kept; a temporary directory by default.")
# A run that is killed this often in a row without a new checkpoint is let finish.
_PATIENCE = 6


@dataclasses.dataclass(frozen=True)
class Case:
    """Arguments of `fit` that exercise some state."""

    model: str
    pipeline: str
    epochs: int
    batch_size: int
    optimization: dict
    hparams: dict = dataclasses.field(default_factory=dict)
    patience: int | None = None
    every_steps: int = 7


CASES = {
    # Dropout, batch normalization and augmentation; clipping and a schedule.
    "cnn": Case("campaign_cnn", "digits", 6, 48, {"clip_norm": 1.0, "steps_per_execution": 1}),
    "cnn_8_steps": Case("campaign_cnn", "digits", 6, 32, {"steps_per_execution": 8}, every_steps=8),
    "resnet_ema": Case("resnet", "digits", 3, 64, {"ema": 0.9, "optimizer": "sgd", "momentum": 0.9}, {"depth": 8}),
    "table": Case(
        "wide_and_deep", "wine", 40, 16, {"accumulation_steps": 2, "steps_per_execution": 1}, {"dropout": 0.2}
    ),
    "early_stop": Case("mlp", "diabetes", 200, 32, {"learning_rate": 0.01}, {"dropout": 0.1}, patience=6),
    "float16": Case("campaign_cnn", "digits", 3, 64, {"precision": "mixed_float16"}, every_steps=5),
}


def register() -> None:
    """A network with everything that has state of its own."""
    import keras

    import framework

    def campaign_cnn(inputs, task, *, width: int = 16):
        x = inputs["image"]
        for filters in (width, 2 * width):
            x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
            x = keras.layers.MaxPool2D()(x)
        x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
        return task.logits(x)

    framework.register_model(campaign_cnn)


def train(case: Case, run_dir: str) -> None:
    """One process's share of a run."""
    logging.set_verbosity(logging.ERROR)
    register()
    import framework

    framework.fit(
        case.model,
        case.pipeline,
        run_dir=run_dir,
        epochs=case.epochs,
        batch_size=case.batch_size,
        hparams=case.hparams,
        optimization=framework.Optimization(**case.optimization),
        stopping=framework.Stopping(patience=case.patience) if case.patience else None,
        checkpoints=framework.Checkpoints(every_steps=case.every_steps),
        verbose=0,
    )


def left_behind(run_dir: pathlib.Path) -> dict[str, str]:
    """A hash of everything that a finished run left, by name."""
    import tensorflow as tf

    def digest(data: bytes) -> str:
        return hashlib.blake2b(data, digest_size=16).hexdigest()

    found = {}
    newest = max(path for path in (run_dir / "checkpoints").iterdir() if path.name[0].isdigit())
    found["position"] = newest.name
    with np.load(newest / "snapshot.npz") as arrays:
        for name, array in arrays.items():
            found[f"state {name}"] = digest(array.tobytes())
    for name in ("history.csv", "result.json", "export/best.json", "statistics.npz"):
        found[name] = digest((run_dir / name).read_bytes())
    exports = sorted(path for path in (run_dir / "export").iterdir() if path.name.isdecimal())
    found["exports"] = str([path.name for path in exports])
    for export in exports:
        manifest = json.loads((export / "manifest.json").read_text())
        found[f"metrics of export {export.name}"] = json.dumps(
            [manifest["epoch"], manifest["step"], manifest["metrics"]]
        )
        reader = tf.train.load_checkpoint(str(export / "variables" / "variables"))
        for key in manifest["variables"]:
            found[f"export {export.name} {key}"] = digest(
                reader.get_tensor(f"{key}/.ATTRIBUTES/VARIABLE_VALUE").tobytes()
            )
    return found


def kill_somewhere(process, run_dir: pathlib.Path, seconds: float, rng: random.Random) -> str | None:
    """Kills the process at an instant of a random kind; `None` if it was done before."""
    kind = rng.choice(["time", "time", "checkpoint", "export", "proof"])
    deadline = time.monotonic() + (rng.uniform(0, seconds) if kind == "time" else 10 * seconds + 60)
    folder = run_dir / {"time": ".", "checkpoint": "checkpoints", "export": "export", "proof": "export"}[kind]
    prefix = ".staged-" if kind == "proof" else ".tmp-"
    delay = rng.uniform(0, 0.3 if kind == "proof" else 0.05)  # into it, not always at its very beginning
    while process.is_alive() and time.monotonic() < deadline:
        if kind != "time" and folder.is_dir() and any(path.name.startswith(prefix) for path in folder.iterdir()):
            time.sleep(delay)
            break
        time.sleep(0.001)
    if not process.is_alive():
        return None
    process.kill()
    process.join()
    return kind


def run_case(name: str, case: Case, kills: int, base: pathlib.Path, rng: random.Random, context) -> tuple[int, int]:
    """Trains the reference and interrupted runs until `kills` processes died; returns (identical, runs)."""
    reference = base / name / "reference"
    started = time.monotonic()
    process = context.Process(target=train, args=(case, str(reference)))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise RuntimeError(f"The reference of {name} ended with exit code {process.exitcode}.")
    seconds = time.monotonic() - started
    expected = left_behind(reference)
    done = identical = runs = 0
    while done < kills:
        runs += 1
        run_dir = base / name / f"run{runs}"
        kinds: list[str] = []
        while True:
            process = context.Process(target=train, args=(case, str(run_dir)))
            process.start()
            kind = (
                kill_somewhere(process, run_dir, seconds, rng)
                if done + len(kinds) < kills and len(kinds) < _PATIENCE
                else None
            )
            if kind is None:
                process.join()
                if process.exitcode != 0:
                    raise RuntimeError(f"{run_dir} ended with exit code {process.exitcode}.")
                break
            kinds.append(kind)
        done += len(kinds)
        got = left_behind(run_dir)
        differing = sorted(key for key in {*expected, *got} if expected.get(key) != got.get(key))
        identical += not differing
        verdict = "identical" if not differing else f"DIFFERS in {', '.join(differing[:8])}"
        print(f"{name} run {runs}: killed {len(kinds)} times ({', '.join(kinds)}): {verdict}", flush=True)
    return identical, runs


def main(_):
    names = _CASES.value or list(CASES)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["framework.training.fit", "keras", "tensorflow", "sklearn.datasets"])
    rng = random.Random(_SEED.value)
    with tempfile.TemporaryDirectory() as temporary:
        base = pathlib.Path(_DIR.value or temporary)
        identical = runs = 0
        for index, name in enumerate(names):
            share = _KILLS.value * (index + 1) // len(names) - _KILLS.value * index // len(names)
            same, of = run_case(name, CASES[name], share, base, rng, context)
            identical, runs = identical + same, runs + of
    print(f"{identical}/{runs} identical after {_KILLS.value} kills")
    if identical != runs:
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
