"""Images, texts, numbers, categories and dates in one row: a table with paths of images among its columns."""

from typing import Any, Literal

import framework
from framework.data import augment
from framework.data.tables.columns import Choice, Roles
from framework.data.tables.division import Division
from framework.data.tables.encoding import Encoding
from framework.data.tables.pipeline import TablePipeline
from framework.data.tables.reading import open_parts, open_tables
from framework.data.tables.scanning import IMAGE, KINDS
from framework.data.tables.text_files import Reading
from framework.data.tables.texts import Tokens
from framework.data.tables.values import MISSING


@framework.register_pipeline(name="multimodal")
class Multimodal(TablePipeline):
    """Any mix of columns: what the pipeline `table` takes, and besides

    * `image`, told by the paths' endings: clients send uint8 pixels of any size, or a file's bytes to the signature
      `encoded`; the model gets float32 `[batch, height, width, channels]` from 0 to 1;
    * `text`, told by most rows having another: clients send a string, the model gets int64 `[batch, max_tokens]`.

    Args:
        path: See the pipeline `table`.
        label: The label's column, or several.
        image_size: `(height, width)`, or `(height, width, channels)`, to which images are resized.
        aspect: See `framework.Image`.
        root: What paths of images are relative to; by default the folder that their table is in.
        flip: Whether training mirrors images at random.
        shift: Largest shift of images in training, as a share of their size.
        rotation: Largest rotation in training, in degrees.
        zoom: Largest change of scale in training.
        validation: See the pipeline `table`, also for all that follows but has no explanation here.
        test: The same.
        task: The same.
        columns: The same.
        drop: The same.
        types: The same; `"text"` and `"image"` are kinds too.
        missing: The same.
        categories: The same.
        max_categories: The same.
        vocabulary_size: Ids altogether, of each text.
        max_tokens: Of a text; by default as many as 95% of the training texts have at most, but no more than 512.
        weight: See the pipeline `table`.
        group: The same.
        time: The same.
        folds: The same.
        fold: The same.
        sample: The same.
        balance: The same.
        on_error: What becomes of rows that can't be used and images that can't be read: `"raise"` or `"skip"`.
        max_bad_share: The same.
        delimiter: The same.
        encoding: The same.
        seed: The same.

    Raises:
        FileNotFoundError: The table or an image isn't there.
        ValueError: See the pipeline `table`.
    """

    def __init__(
        self,
        path: Any,
        label: str | list[str],
        *,
        image_size: tuple[int, ...] = (96, 96),
        aspect: Literal["stretch", "crop", "pad"] = "stretch",
        root: str | None = None,
        flip: bool = False,
        shift: float = 0.0,
        rotation: float = 0.0,
        zoom: float = 0.0,
        validation: Any = 0.15,
        test: Any = 0.15,
        task: Any = None,
        columns: list[str] | None = None,
        drop: list[str] | None = None,
        types: dict[str, str] | None = None,
        missing: list[str] | tuple[str, ...] = MISSING,
        categories: Literal["one_hot", "ids"] = "one_hot",
        max_categories: int = 1000,
        vocabulary_size: int = 20_000,
        max_tokens: int | None = None,
        weight: str | None = None,
        group: str | None = None,
        time: str | None = None,
        folds: int | None = None,
        fold: int = 0,
        sample: str | None = None,
        balance: bool = False,
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_share: float = 0.01,
        delimiter: str | None = None,
        encoding: str = "utf-8",
        seed: int = 0,
    ):
        reading = Reading(delimiter, encoding)
        tables, shares = open_parts(path, validation, test, lambda data: open_tables(data, reading))
        image = framework.Image((*image_size, *((3,) if len(image_size) == 2 else ())), aspect=aspect)
        super().__init__(
            tables,
            Roles(label, weight, group, time),
            Choice(KINDS, columns, drop or (), types, missing, image),
            Division(**shares, folds=folds, fold=fold, sample=sample, seed=seed),
            Encoding(categories, max_categories, Tokens(vocabulary_size, max_tokens)),
            task=task,
            balance=balance,
            policy=framework.BadExamples(on_error, max_bad_share),
            root=root,
        )
        self._affine = {"flip_horizontal": flip, "shift": shift, "rotation": rotation, "zoom": zoom}

    def augment(self, features, labels, seeds):
        if not any(self._affine.values()):
            return features, labels
        images = [column.name for column in self.columns if column.kind == IMAGE]
        moved = {name: augment.random_affine(features[name], seeds, **self._affine) for name in images}
        return {**features, **moved}, labels
