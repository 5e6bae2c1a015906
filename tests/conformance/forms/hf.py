import datasets
import numpy as np
import tensorflow as tf


def hf_options(directory):
    """Dark and light pictures of different sizes, with a number and text, as `save_to_disk` leaves them."""
    random = np.random.default_rng(0)
    features = datasets.Features(
        {
            "picture": datasets.Image(),
            "age": datasets.Value("int32"),
            "words": datasets.Value("string"),
            "kind": datasets.ClassLabel(names=["dark", "light"]),
        }
    )
    labels = random.integers(0, 2, 60)
    pictures = [random.integers(0, 100, (8 + row % 3, 6, 3)) + 120 * label for row, label in enumerate(labels)]
    columns = {
        "picture": [
            {"bytes": tf.io.encode_png(picture.astype(np.uint8)).numpy(), "path": None} for picture in pictures
        ],
        "age": random.integers(0, 90, 60),
        "words": random.choice(["it is late", "it is noon", "so it is"], 60),
        "kind": labels,
    }
    datasets.disable_progress_bars()
    datasets.DatasetDict({"train": datasets.Dataset.from_dict(columns, features=features)}).save_to_disk(
        directory / "hf"
    )
    return {"path": str(directory / "hf"), "image_size": [8, 8]}
