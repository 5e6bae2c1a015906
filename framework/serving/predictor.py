"""All of an export's signatures in this process."""

from __future__ import annotations

import os
import pathlib
import types
from collections.abc import Iterable, Mapping
from typing import Any, overload

import numpy as np
import tensorflow as tf

from framework import files
from framework.data.serving import DEFAULT
from framework.export.versions import MANIFEST
from framework.registry import did_you_mean
from framework.serving.images import image_input, read_image
from framework.serving.locating import find_export
from framework.serving.signatures import Arrays, LoadedSignature, join_answers

ENCODED = "encoded"
_BATCH_SIZE = 64


class Predictor:
    """A loaded export. Safe to call from many threads.

        predictor = framework.load_export("runs/digits")
        predictor(image=images)["class_name"]               # serving_default
        predictor("features")(image=inputs)                 # another signature
        predictor.predict_files(["zero.png", "one.png"])

    Args:
        path: The SavedModel's directory.
        batch_size: The largest number of examples in one call of TensorFlow; larger batches are split and joined.
        short_lived: Whether it will be dropped for another one, as a server's versions are; see `LoadedSignature`.

    Attributes:
        path: The SavedModel's directory.
        manifest: What its `manifest.json` says; empty where it has none.
        signatures: `{name: LoadedSignature}`.
    """

    def __init__(self, path: pathlib.Path, *, batch_size: int = _BATCH_SIZE, short_lived: bool = False):
        self.path = pathlib.Path(path)
        self.batch_size = batch_size
        self.manifest: dict[str, Any] = _read_manifest(self.path)
        loaded = tf.saved_model.load(str(self.path))
        self.signatures: Mapping[str, LoadedSignature] = types.MappingProxyType(
            {
                name: LoadedSignature(name, function, loaded, batch_size=batch_size, short_lived=short_lived)
                for name, function in loaded.signatures.items()
            }
        )

    def __repr__(self) -> str:
        lines = "".join(f"\n  {signature!r}" for signature in self.signatures.values())
        return f"<Predictor {self.path}{lines}>"

    @property
    def version(self) -> int | None:
        """The number that the directory is called by, if it is."""
        return int(self.path.name) if self.path.name.isdecimal() else None

    @property
    def class_names(self) -> tuple[str, ...] | dict[str, Any] | None:
        """Names of the classes (or labels) in the order of their ids, by the manifest; `None` where it has none.

        Several heads have a dict of them.
        """
        return _class_names(self.manifest.get("task"))

    @overload
    def __call__(self, signature: str, /) -> LoadedSignature: ...

    @overload
    def __call__(self, /, **arrays: Any) -> Arrays: ...

    def __call__(self, signature: str | None = None, /, **arrays: Any) -> LoadedSignature | Arrays:
        """A signature by name; or, given arrays, what `serving_default` answers.

        Args:
            signature: Its name.
            **arrays: `name=[examples, ...]` for each input of `serving_default`; see `LoadedSignature`.

        Raises:
            LookupError: There is no such signature.
            TypeError: A name and arrays are given; these go to the signature. Or arrays without their names.
            ValueError: As `LoadedSignature`.
            tf.errors.OpError: As `LoadedSignature`.
        """
        if signature is None:
            return self._signature(DEFAULT)(**arrays)
        if not isinstance(signature, str):
            raise TypeError(
                f"Expected a signature's name, got a {type(signature).__name__}. Arrays go by their names: "
                "predictor(**arrays)."
            )
        if arrays:
            raise TypeError(f"Arrays go to the signature: predictor({signature!r})({', '.join(arrays)}=...).")
        return self._signature(signature)

    def predict_files(self, paths: Iterable[str | os.PathLike], *, signature: str | None = None) -> Arrays:
        """Answers image files, read `batch_size` at a time.

        Args:
            paths: JPEG, PNG, GIF, BMP or WebP files.
            signature: One with a single input, string `[batch]` for files' bytes or uint8 `[batch, height, width,
                channels]`; by default `encoded`, or `serving_default` where there is none.

        Returns:
            `{name: [files, ...]}`.

        Raises:
            LookupError: There is no such signature.
            TypeError: One path is given instead of several.
            ValueError: The signature doesn't take images, or a file isn't one; the message names it.
            OSError: A file can't be read.
        """
        if isinstance(paths, str | os.PathLike):
            raise TypeError(f"Expected paths, got one of them: predict_files([{os.fspath(paths)!r}]).")
        chosen = self._signature(signature or self.image_signature)
        name = image_input(chosen.inputs)
        paths = list(paths)
        parts = []
        for first in range(0, len(paths), self.batch_size):
            some = paths[first : first + self.batch_size]
            parts.append((slice(first, first + len(some)), self._answer_files(chosen, name, some)))
        return join_answers(parts) if parts else chosen(**{name: _no_images(chosen.inputs[name])})

    @property
    def image_signature(self) -> str:
        """The signature that image files go to."""
        return ENCODED if ENCODED in self.signatures else DEFAULT

    def _answer_files(self, signature: LoadedSignature, name: str, paths: list[Any]) -> Arrays:
        images = [read_image(path, signature.inputs[name]) for path in paths]
        try:
            return signature(**{name: images})
        except (ValueError, tf.errors.OpError):
            for path, image in zip(paths, images, strict=True):  # the whole batch failed: whose fault was it?
                try:
                    signature(**{name: [image]})
                except (ValueError, tf.errors.OpError) as error:
                    raise ValueError(f"{path}: signature {signature.name!r} refuses it: {error}") from error
            raise

    def _signature(self, name: str) -> LoadedSignature:
        if name not in self.signatures:
            raise LookupError(
                f"The export {self.path} has no signature {name!r}.{did_you_mean(name, self.signatures)} It has: "
                f"{', '.join(sorted(self.signatures)) or 'none'}."
            )
        return self.signatures[name]


def load_export(path: str | os.PathLike, *, batch_size: int = _BATCH_SIZE) -> Predictor:
    """Loads an export into this process, or any SavedModel with signatures.

    Args:
        path: A SavedModel, a directory of versions (the promoted one is taken, else the best, else the newest) or a
            run directory.
        batch_size: The largest number of examples in one call of TensorFlow; larger batches are split and joined.

    Returns:
        `predictor(image=images)` answers `serving_default`, `predictor(name)` is another signature.

    Raises:
        FileNotFoundError: There is no SavedModel.
        ValueError: `batch_size` isn't positive, or the manifest isn't JSON.
    """
    return Predictor(find_export(path), batch_size=batch_size)


def _read_manifest(path: pathlib.Path) -> dict[str, Any]:
    manifest = files.read_json(path / MANIFEST) if (path / MANIFEST).is_file() else {}
    return manifest if isinstance(manifest, dict) else {}


def _class_names(task: Any) -> tuple[str, ...] | dict[str, Any] | None:
    if not isinstance(task, dict):
        return None
    if isinstance(task.get("tasks"), dict):
        heads = {head: _class_names(part) for head, part in task["tasks"].items()}
        return {head: names for head, names in heads.items() if names} or None
    names = task.get("class_names") or task.get("label_names")
    return tuple(names) if names else None


def _no_images(spec: tf.TensorSpec) -> np.ndarray:
    return np.empty((0, *(axis or 0 for axis in spec.shape[1:])), object if spec.dtype == tf.string else np.uint8)
