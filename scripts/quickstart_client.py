"""A client of an export: TensorFlow and NumPy, and nothing of the framework that trained it.

    python scripts/quickstart_client.py runs/quickstart/export/3 < request.json

Standard input is `{"image": [[0, 16, ...], ...], "label": 7}` with pixels 0..16; the label is only shown.
"""

import json
import sys

import numpy as np
import tensorflow as tf

_SHADES = " .:-=+*#%@"


def main(export_dir: str) -> None:
    request = json.load(sys.stdin)
    pixels = np.asarray(request["image"], np.uint8)
    serve = tf.saved_model.load(export_dir)
    answer = serve.signatures["serving_default"](image=tf.constant(pixels[np.newaxis, :, :, np.newaxis]))
    class_name = answer["class_name"].numpy()[0].decode()
    probability = answer["probabilities"].numpy()[0, answer["class_id"].numpy()[0]]
    if "framework" in sys.modules:
        raise AssertionError("The export must be callable without the framework that made it.")
    print(picture(pixels))
    print(f"\n  serving_default: {class_name!r} with probability {probability:.4f}; the label is {request['label']!r}.")


def picture(pixels: np.ndarray) -> str:
    """The image in characters, each pixel two wide since a character is about twice as high as wide."""
    shades = (pixels.astype(np.int64) * (len(_SHADES) - 1) + 8) // 16
    return "\n".join("    " + "".join(2 * _SHADES[shade] for shade in row).rstrip() for row in shades)


if __name__ == "__main__":
    main(sys.argv[1])
