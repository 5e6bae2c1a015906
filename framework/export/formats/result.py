"""What is known of a converted model; beside each one lies `format.json` with the same."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

from framework import files
from framework.features import Feature, describe

FOLDER = "formats"
MANIFEST = "format.json"


@dataclasses.dataclass(frozen=True)
class FormatResult:
    """A converted model.

    Attributes:
        format: The format's name.
        path: Its directory, `<export>/formats/<format>`, where it was when this was made or read.
        file: The name of the file in it that a runtime opens.
        signature: Which signature of the SavedModel it is.
        inputs: `{name: Feature}`, the signature's.
        outputs: `{name: Feature}`, the signature's, without those left out.
        tensors: `{output: its name in the file}`, the same unless an input has that name.
        left_out: Outputs of text, which the format can't hold.
        passed_over: `{signature: why it isn't that one}`.
        max_difference: `{output: largest absolute difference from the SavedModel}`.
        agreement: `{output: share of equal values}` of outputs that are integers or text, such as `class_id`.
        metric: What a gate compared, or `None`.
        before: The metric's value with the SavedModel.
        after: Its value with this format.
        versions: Of the packages that made it.
    """

    format: str
    path: pathlib.Path
    file: str
    signature: str
    inputs: Mapping[str, Feature]
    outputs: Mapping[str, Feature]
    tensors: Mapping[str, str]
    left_out: tuple[str, ...]
    passed_over: Mapping[str, str]
    max_difference: Mapping[str, float]
    agreement: Mapping[str, float]
    versions: Mapping[str, str]
    metric: str | None = None
    before: float | None = None
    after: float | None = None

    @property
    def size_bytes(self) -> int:
        """Bytes of all that a runtime needs."""
        return sum(path.stat().st_size for path in self.path.iterdir() if path.name != MANIFEST)

    def write(self) -> None:
        """Writes `format.json` into the directory."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        del values["path"]  # directories are renamed
        values |= {"inputs": describe(self.inputs), "outputs": describe(self.outputs)}
        files.write_json(self.path / MANIFEST, values)

    @classmethod
    def read(cls, path: pathlib.Path) -> FormatResult:
        """What lies in a format's directory.

        Raises:
            FileNotFoundError: There is no `format.json`.
        """
        path = pathlib.Path(path)
        if not (path / MANIFEST).exists():
            raise FileNotFoundError(
                f"{path} has no {MANIFEST}: it isn't a directory that convert wrote, such as <export>/{FOLDER}/litert."
            )
        values = files.read_json(path / MANIFEST)
        values |= {key: _features(values[key]) for key in ("inputs", "outputs")}
        return cls(path=path, **(values | {"left_out": tuple(values["left_out"])}))


def _features(described: Mapping[str, Mapping[str, Any]]) -> dict[str, Feature]:
    return {name: Feature(tuple(value["shape"]), value["dtype"]) for name, value in described.items()}


def list_formats(export_dir: pathlib.Path) -> dict[str, FormatResult]:
    """What a SavedModel was converted to, `{format: result}`."""
    found = sorted(pathlib.Path(export_dir, FOLDER).glob(f"*/{MANIFEST}"))
    results = [FormatResult.read(path.parent) for path in found if not path.parent.name.startswith(files.TEMPORARY)]
    return {result.format: result for result in results}
