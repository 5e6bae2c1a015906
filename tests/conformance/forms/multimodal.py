import json

import numpy as np
import tensorflow as tf


def multimodal_options(directory):
    """Offers of a flea market: a photograph, a description, a price and a category; what is red sells."""
    random = np.random.default_rng(0)
    (directory / "photos").mkdir()
    with open(directory / "offers.jsonl", "w", encoding="utf-8") as file:
        for number in range(60):
            is_red = random.random() < 0.5
            pixels = random.integers(0, 80, (18 + number % 3, 20, 3), np.uint8)
            pixels[..., 0 if is_red else 2] += 150
            encode = (tf.io.encode_jpeg, tf.io.encode_png)[number % 2]
            name = f"photos/{number}.{('jpg', 'png')[number % 2]}"
            tf.io.write_file(str(directory / name), encode(pixels))
            offer = {
                "photo": name,
                "description": " ".join(random.choice(["a", "nice", "old", "lamp", "chair", "with", "legs"], 6)),
                "price": round(float(random.lognormal(3.0)), 2) if number % 8 else None,
                "kind": str(random.choice(["lamp", "chair"])),
                "sold": bool(is_red),
            }
            file.write(json.dumps(offer) + "\n")
    return {
        "path": str(directory / "offers.jsonl"),
        "label": "sold",
        "image_size": (16, 16),
        "flip": True,
        "types": {"description": "text"},
    }
