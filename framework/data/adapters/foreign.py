"""What a data set of another library has to offer: its columns, its splits and a source of either."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from framework.data.sources import Source
from framework.data.tables.labels import Labels
from framework.features import Feature
from framework.media import Image
from framework.registry import did_you_mean

Aspect = Literal["stretch", "crop", "pad"]
# So much of a file or buffer, in so many places, stands for all of it.
_WHOLE, _SAMPLES, _SAMPLE = 2**20, 64, 2**14


@dataclasses.dataclass(frozen=True)
class ForeignColumn:
    """A column that can be a feature or a label.

    Attributes:
        feature: What it is when decoded; an `Image` has the size that all images have, or the default one.
        class_names: Of a column of class ids.
    """

    feature: Feature
    class_names: tuple[str, ...] | None = None

    def resized(self, size: Sequence[int] | None, aspect: Aspect) -> Feature:
        """The feature; an image of another size, `(height, width)` or `(height, width, channels)`, if one is given."""
        if not isinstance(self.feature, Image) or (size is None and aspect == self.feature.aspect):
            return self.feature
        shape = self.feature.shape if size is None else (*size, self.feature.shape[-1]) if len(size) == 2 else (*size,)
        return dataclasses.replace(self.feature, shape=shape, aspect=aspect)


class ForeignDataSet(abc.ABC):
    """A data set on this machine.

    Attributes:
        place: What it is called in messages.
        columns: `{title: ForeignColumn}` of those that can be used.
        unusable: `{title: why}` of the others.
        splits: `{name: number of examples}`.
        label: The column that is the label by the data set's own word, or `None`.
    """

    place: str
    columns: dict[str, ForeignColumn]
    unusable: dict[str, str]
    splits: dict[str, int]
    label: str | None = None

    @abc.abstractmethod
    def values(self, split: str, title: str) -> np.ndarray:
        """All values of a column, in order; text as Python's own."""

    @abc.abstractmethod
    def source(self, split: str, features: Mapping[str, Field], label: str, labels: Labels) -> Source:
        """The examples of a split.

        Args:
            split: Its name.
            features: `{feature: where it is from}`.
            label: The label's column.
            labels: How labels are read.
        """

    def check_column(self, title: str, what: str) -> None:
        """Checks that a column is there and can be used.

        Raises:
            ValueError: It isn't, or can't be.
        """
        if title in self.unusable:
            raise ValueError(f"{what} names the column {title!r} of {self.place}, which {self.unusable[title]}.")
        if title not in self.columns:
            raise ValueError(
                f"{what} names the column {title!r}, which {self.place} doesn't have."
                f"{did_you_mean(title, self.columns)} It has {[*self.columns, *self.unusable]}."
            )

    def only_label(self) -> str:
        """The label, where nobody has named it.

        Raises:
            ValueError: There is no column, or more than one, that it may be.
        """
        if self.label is not None:
            return self.label
        candidates = [title for title, column in self.columns.items() if column.class_names is not None]
        if len(candidates) != 1:
            raise ValueError(
                f"Which column of {self.place} is the label? Say label=, one of {candidates or [*self.columns]}."
            )
        return candidates[0]


@dataclasses.dataclass(frozen=True)
class Field:
    """Where a feature is from.

    Attributes:
        title: The column.
        feature: What it is when decoded.
    """

    title: str
    feature: Feature


def numbers_feature(dtype: Any, shape: Sequence[int | None]) -> Feature | str:
    """The feature of numbers, booleans or text, or why there is none."""
    if None in shape:
        return f"varies in length {tuple(shape)}; the pipeline 'sequences' reads such features from records"
    dtype = np.dtype(dtype)
    if dtype.kind in "OSU":
        return Feature(tuple(shape), "string") if not shape else f"holds text of shape {tuple(shape)}"
    return Feature(tuple(shape), dtype.name) if dtype.kind in "iufb" else f"holds {dtype}"


def sampled(digest: Any, content: memoryview | bytes) -> None:
    """Adds a buffer to a hash: all of it, or where it is long its size and evenly spaced parts."""
    view = memoryview(content).cast("B")
    digest.update(len(view).to_bytes(8, "little"))
    if len(view) <= _WHOLE:
        digest.update(view)
        return
    for place in np.linspace(0, len(view) - _SAMPLE, _SAMPLES, dtype=np.int64).tolist():
        digest.update(view[place : place + _SAMPLE])


def files_digest(paths: Sequence[str | os.PathLike[str]]) -> str:
    """Changes when one of some files does, almost surely: of their sizes and evenly spaced parts of each."""
    digest = hashlib.blake2b(digest_size=16)
    for path in paths:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            digest.update(size.to_bytes(8, "little"))
            places = [0] if size <= _WHOLE else np.linspace(0, size - _SAMPLE, _SAMPLES, dtype=np.int64).tolist()
            for place in places:
                digest.update(os.pread(file.fileno(), _WHOLE if size <= _WHOLE else _SAMPLE, place))
    return digest.hexdigest()
