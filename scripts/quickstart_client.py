"""A client of an export: TensorFlow and NumPy, and nothing of the framework that trained it.

    python scripts/quickstart_client.py runs/quickstart/export/3 runs/quickstart/request.jsonl

The request is `{"image": [[[0], [16], ...], ...], "label": "7"}` with pixels 0..16; the label is only shown.
"""

import json
import pathlib
import sys

import numpy as np
import tensorflow as tf

_SHADES = " .:-=+*#%@"


def main(export_dir: str, request_path: str) -> None:
    request = json.loads(pathlib.Path(request_path).read_text(encoding="utf-8"))
    image = np.asarray(request["image"], np.uint8)
    served = tf.saved_model.load(export_dir)
    answer = served.signatures["serving_default"](image=tf.constant(image[np.newaxis]))
    class_name = answer["class_name"].numpy()[0].decode()
    probability = answer["probabilities"].numpy()[0, answer["class_id"].numpy()[0]]
    if "framework" in sys.modules:
        raise AssertionError("The export must be callable without the framework that made it.")
    print(picture(image[..., 0]))
    print(f"\n  serving_default: {class_name!r} with probability {probability:.4f}; the label is {request['label']!r}.")


def picture(pixels: np.ndarray) -> str:
    """Pixels `[height, width]` in characters, each pixel two wide since a character is about twice as high as wide."""
    shades = (pixels.astype(np.int64) * (len(_SHADES) - 1) + 8) // 16
    return "\n".join("    " + "".join(2 * _SHADES[shade] for shade in row).rstrip() for row in shades)


if __name__ == "__main__":
    main(*sys.argv[1:])
