import os

import numpy as np
import tensorflow_datasets


class Pictures(tensorflow_datasets.core.GeneratorBasedBuilder):
    """Dark and light pictures of different sizes, with a number and text."""

    VERSION = tensorflow_datasets.core.Version("1.0.0")
    # For a class in a package the library imports importlib_resources, which it doesn't bring (4.9.10).
    __module__ = "pictures"

    def _info(self):
        kinds = tensorflow_datasets.features
        features = kinds.FeaturesDict(
            {
                "picture": kinds.Image(shape=(None, None, 3)),
                "age": kinds.Scalar(np.int32),
                "words": kinds.Text(),
                "kind": kinds.ClassLabel(names=["dark", "light"]),
            }
        )
        return tensorflow_datasets.core.DatasetInfo(
            builder=self, features=features, supervised_keys=("picture", "kind")
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(60), "test": self._generate_examples(20)}

    def _generate_examples(self, count):
        random = np.random.default_rng(count)
        for row in range(count):
            label = int(random.integers(0, 2))
            picture = random.integers(0, 100, (8 + row % 3, 6, 3)) + 120 * label
            words = str(random.choice(["it is late", "it is noon", "so it is"]))
            age = int(random.integers(0, 90))
            yield row, {"picture": picture.astype(np.uint8), "age": age, "words": words, "kind": label}


def tfds_options(directory):
    """A data set as `download_and_prepare` leaves it."""
    tensorflow_datasets.disable_progress_bar()
    builder = Pictures(data_dir=os.fspath(directory), file_format="array_record")
    builder.download_and_prepare()
    return {"path": os.fspath(builder.data_dir), "image_size": [8, 8]}
