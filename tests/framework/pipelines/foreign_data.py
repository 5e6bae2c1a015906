"""Small data sets of other libraries, made by the libraries themselves; nothing may reach for the network."""

import contextlib
import socket

import numpy as np
import tensorflow as tf

NAMES = ("dark", "light")


@contextlib.contextmanager
def no_network():
    """Connections and look-ups fail, and are an error at the end even where somebody has swallowed that."""
    attempts = []

    def refused(*args, **kwargs):
        attempts.append(args)
        raise OSError("no network here")

    saved = socket.socket.connect, socket.getaddrinfo
    socket.socket.connect, socket.getaddrinfo = refused, refused
    try:
        yield
    finally:
        socket.socket.connect, socket.getaddrinfo = saved
    assert attempts == []


def rows(count, seed):
    """Dark and light pictures of different sizes, with numbers and text that say the same less clearly."""
    random = np.random.default_rng(seed)
    for index in range(count):
        label = int(random.integers(0, 2))
        height = int(random.integers(8, 14))
        yield {
            "image": (random.integers(0, 60, (height, 10, 3)) + 180 * label).astype(np.uint8),
            "label": label,
            "x": float(random.normal() + label),
            "count": int(random.integers(0, 9)),
            "vector": random.normal(size=3).astype(np.float32),
            "flag": bool(random.integers(0, 2)),
            "words": f"it is {random.choice(['night', 'late'] if not label else ['day', 'noon'])}",
            "shop": ["north", "south"][index % 2],
            "tags": ["a"] * (index % 3),
        }


def png(image):
    return tf.io.encode_png(image).numpy()
