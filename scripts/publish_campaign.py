"""Publishes exports while it kills the publisher at random instants, and shows that readers never see half of one.

    python scripts/publish_campaign.py                      # 200 publishes, killed about 40 times
    python scripts/publish_campaign.py --publishes=12 --kills=3

A reader in a process of its own looks at the export directory again and again, as TensorFlow Serving does: every
directory whose name is an integer must be whole whenever it is seen, and `best.json` and `latest.json` must point to
versions that are there. Meanwhile a person promotes versions and rolls back. The publisher is killed with SIGKILL: at a
random time, while an export is being written, or while one that is written waits to be proven. Each time another one
goes on. In the end there must be as many exports as epochs, and the best must be the last.
"""

import contextlib
import json
import multiprocessing
import os
import pathlib
import random
import tempfile
import time

from absl import app, flags, logging

_PUBLISHES = flags.DEFINE_integer("publishes", 200, "Exports to publish.")
_KILLS = flags.DEFINE_integer("kills", 40, "How often the publisher is killed.")
_SEED = flags.DEFINE_integer("seed", 0, "Of the instants.")
_DIR = flags.DEFINE_string("dir", None, "Where exports are published; a temporary directory by default.")

_FILES = ("saved_model.pb", "fingerprint.pb", "variables/variables.index", "model_card.md", "manifest.json")
_DATA = "variables/variables.data-00000-of-00001"
_KEEP = 3
# A publisher that is killed this often in a row without an export gets the time for one.
_PATIENCE = 4
# Between two looks, so that there is a processor for whoever is looked at.
_PAUSE_SECS = 0.0005


def publish(directory: str, publishes: int) -> None:
    """One process's share: epochs that get better and better, from where the last process got to."""
    logging.set_verbosity(logging.ERROR)
    import keras

    from framework.callbacks import ExportBest
    from framework.export import Exports

    given = keras.Input((4,), name="given")
    model = keras.Model(given, keras.layers.Dense(3)(given))
    model.compile("sgd", "mse")
    callback = ExportBest(directory, objective="val_accuracy", exports=Exports(keep=_KEEP))
    callback.set_model(model)
    callback.on_train_begin()
    while True:
        best = callback.best
        epoch = best.epoch + 1 if best else 0
        if epoch >= publishes:
            break
        model.set_weights([weight + 1.0 for weight in model.get_weights()])
        callback.on_epoch_end(epoch, {"val_accuracy": epoch / publishes})
    callback.on_train_end()


def read(directory: pathlib.Path, stop, results) -> None:
    """Looks at the directory until it is told to stop; sends how often, and everything that wasn't whole."""
    looks, wrong, seen = 0, [], set()
    while not stop.is_set():
        time.sleep(_PAUSE_SECS)
        looks += 1
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(directory):
                if entry.name.isdecimal():
                    seen.add(entry.name)
                    wrong += [f"version {entry.name}: {what}" for what in missing(pathlib.Path(entry.path))]
        wrong += [*dangling(directory, "best.json"), *dangling(directory, "latest.json")]
    results.put((looks, len(seen), wrong[:20]))


def missing(export: pathlib.Path) -> list[str]:
    """What a version lacks that is there."""
    try:
        manifest = json.loads((export / "manifest.json").read_text())
        sizes = {name: (export / name).stat().st_size for name in (*_FILES, _DATA)}
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError) as error:
        # Gone as a whole meanwhile is what deleting looks like.
        return [str(error)] if export.exists() else []
    found = []
    if sizes["saved_model.pb"] != manifest["sizes"]["graph_bytes"]:
        found.append("its graph is cut off")
    if sizes[_DATA] + sizes["variables/variables.index"] != manifest["sizes"]["variables_bytes"]:
        found.append("its variables are cut off")
    if str(manifest["version"]) != export.name:
        found.append(f"its manifest says that it is version {manifest['version']}")
    return found if export.exists() else []


def dangling(directory: pathlib.Path, pointer: str) -> list[str]:
    """Whether a pointer points to nothing, twice in a row."""
    for _ in range(2):
        try:
            version = json.loads((directory / pointer).read_text())["version"]
        except FileNotFoundError:
            return []
        if (directory / str(version)).is_dir():
            return []
    again = json.loads((directory / pointer).read_text())["version"]
    return [f"{pointer} points to {version}, which isn't there"] if again == version else []


def kill_somewhere(process, directory: pathlib.Path, seconds: float, rng: random.Random) -> str | None:
    """Kills the publisher at an instant of a random kind; `None` if it was done before."""
    kind = rng.choice(["time", "writing", "waiting"])
    deadline = time.monotonic() + (rng.uniform(0, seconds) if kind == "time" else 10 * seconds + 60)
    prefix = {"time": None, "writing": ".tmp-", "waiting": ".staged-"}[kind]
    patience = rng.randrange(4)  # not always the first one
    before = False
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(_PAUSE_SECS)
        now = prefix is not None and any(name.startswith(prefix) for name in os.listdir(directory))
        if now and not before:
            if not patience:
                time.sleep(rng.uniform(0, 0.02 if kind == "writing" else 0.3))
                break
            patience -= 1
        before = now
    if not process.is_alive():
        return None
    process.kill()
    process.join()
    return kind


def meddle(directory: pathlib.Path, rng: random.Random) -> None:
    """What a person does meanwhile: promotes a version, or rolls back."""
    from framework.export import list_versions, promote, roll_back

    # What training deletes meanwhile can't be promoted.
    with contextlib.suppress(LookupError, FileNotFoundError):
        if rng.random() < 0.5:
            promote(directory, rng.choice(list_versions(directory) or [0]))
        else:
            roll_back(directory)


def run(directory: pathlib.Path, publishes: int, kills: int, rng: random.Random, context) -> tuple[list[str], int]:
    """Publishes until all is done; returns the kinds of kills and how often somebody meddled."""
    from framework.export import list_versions
    from framework.export.versions import BEST, read_pointer

    kinds: list[str] = []
    meddled = in_vain = 0
    while True:
        process = context.Process(target=publish, args=(str(directory), publishes))
        process.start()
        before = read_pointer(directory, BEST)
        while in_vain >= _PATIENCE and process.is_alive() and read_pointer(directory, BEST) == before:
            time.sleep(0.01)
        kind = kill_somewhere(process, directory, 12.0, rng) if len(kinds) < kills else None
        if kind is None:
            process.join()
            if process.exitcode != 0:
                raise RuntimeError(f"The publisher ended with exit code {process.exitcode}.")
            return kinds, meddled
        kinds.append(kind)
        in_vain = in_vain + 1 if read_pointer(directory, BEST) == before else 0
        if list_versions(directory) and rng.random() < 0.5:
            meddle(directory, rng)
            meddled += 1


def main(_):
    from framework.export import list_versions, read_manifest
    from framework.export.versions import BEST, read_pointer

    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["framework.callbacks", "keras", "tensorflow"])
    rng = random.Random(_SEED.value)
    with tempfile.TemporaryDirectory() as temporary:
        directory = pathlib.Path(_DIR.value or temporary) / "export"
        directory.mkdir(parents=True, exist_ok=True)
        stop, results = context.Event(), context.Queue()
        reader = context.Process(target=read, args=(directory, stop, results))
        reader.start()
        kinds, meddled = run(directory, _PUBLISHES.value, _KILLS.value, rng, context)
        stop.set()
        looks, seen, wrong = results.get(timeout=60)
        reader.join()
        best = read_pointer(directory, BEST)
        if best != _PUBLISHES.value or read_manifest(directory / str(best))["epoch"] != _PUBLISHES.value - 1:
            wrong.append(f"the best is {best}, expected the last of {_PUBLISHES.value}")
        if not set(list_versions(directory)) >= {_PUBLISHES.value - back for back in range(_KEEP)}:
            wrong.append(f"the newest {_KEEP} aren't all there: {list_versions(directory)}")
        left = [name for name in os.listdir(directory) if name.startswith((".tmp-", ".staged-"))]
        wrong += [f"left behind: {name}" for name in left]
    print(f"killed {len(kinds)} times ({', '.join(f'{kind} {kinds.count(kind)}' for kind in sorted(set(kinds)))})")
    print(f"promoted or rolled back {meddled} times")
    print(f"{looks} looks at {seen} versions")
    print("\n".join(wrong) or f"{_PUBLISHES.value} publishes, never anything half")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    app.run(main)
