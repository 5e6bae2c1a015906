"""A local data set of the Hugging Face `datasets` library (the extra `hf`): saved to disk, or plain files."""

from typing import Literal

import framework
from framework.data.adapters.hf import HuggingFaceDataSet
from framework.data.adapters.pipeline import Choice, ForeignPipeline
from framework.data.tables.division import Division
from framework.data.tables.encoding import Encoding


@framework.register_pipeline(name="hf")
class HuggingFace(ForeignPipeline):
    """Images stay encoded until they are needed, class names go to the export, rows are read from the mapped table.

    Args:
        path: The directory of `save_to_disk`, a folder of Parquet, CSV, JSON or image files, or one such file. Nothing
            is downloaded: it has to be there.
        label: The label's column; by default the only `ClassLabel`.
        columns: The features' columns; by default all others.
        types: `{column: "categorical"}` of texts or integers that are categories; other text is tokenized.
        image_size: Of images, `[height, width]` or `[height, width, channels]`; by default 224 by 224 in colour.
        aspect: What becomes of images of other proportions: `"stretch"`, `"crop"` or `"pad"`.
        task: `"classification"`, `"binary"` or `"regression"`, where the label doesn't tell.
        splits: `{"train": name, ...}`, where a split isn't called by its usual name.
        validation: Share of the training split to split off where the data set has no validation split; 0 for none.
        test: The same for a test split.
        sample: The part of a split that is used, such as `"train[:10%]"`.
        seed: Decides what is random in these splits.
        categories: What the model gets of a category: `"one_hot"`, or `"ids"` for models with embeddings.
        on_error: What becomes of images that can't be decoded: `"raise"`, or `"skip"` leaves them out.
        max_bad_share: The share of a split that may be skipped.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        ValueError: There is no such column or split, or it can't be used.
        ImportError: The library isn't installed.
    """

    def __init__(
        self,
        path: str,
        label: str | None = None,
        columns: list[str] | None = None,
        *,
        types: dict[str, str] | None = None,
        image_size: list[int] | None = None,
        aspect: Literal["stretch", "crop", "pad"] = "stretch",
        task: str | None = None,
        splits: dict[str, str] | None = None,
        validation: float = 0.1,
        test: float = 0.1,
        sample: str | None = None,
        seed: int = 0,
        categories: Literal["one_hot", "ids"] = "one_hot",
        on_error: Literal["raise", "skip"] = "raise",
        max_bad_share: float = 0.01,
    ):
        self.bad_examples = framework.BadExamples(on_error, max_bad_share)
        super().__init__(
            HuggingFaceDataSet(path),
            Choice(label, columns, types or {}, image_size, aspect, task, splits),
            Division(validation, test, sample=sample, seed=seed),
            Encoding(categories),
        )
