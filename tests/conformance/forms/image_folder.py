import numpy as np
import tensorflow as tf


def image_folder_options(directory):
    """Stripes that lie or stand, as JPEG and PNG files of several sizes."""
    random = np.random.default_rng(0)
    for number in range(80):
        height, width = random.integers(18, 60, 2)
        stripes = 110 + 100 * np.sin(np.arange(height if number % 2 else width) * random.uniform(0.4, 0.8))
        stripes = stripes[:, None] if number % 2 else stripes[None]
        pixels = stripes[..., None] + random.normal(0, 15, (height, width, 3))
        pixels = np.clip(pixels, 0, 255).astype(np.uint8)
        kind = ("jpg", "PNG", "jpeg", "JPG")[number // 2 % 4]
        encoded = tf.io.encode_png(pixels) if kind == "PNG" else tf.io.encode_jpeg(pixels, quality=90)
        folder = directory / "stripes" / ("standing", "lying")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        tf.io.write_file(str(folder / f"{number}.{kind}"), encoded)
    return {"path": str(directory / "stripes"), "size": 16, "rotation": 10.0, "zoom": 0.1}
