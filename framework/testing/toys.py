"""Small data sets of the usual forms, the same bytes each time, which a model can really learn.

A toy is what the tests of a model need: it has every phase, learns its statistics in a moment, and a step on it takes
milliseconds. None of them is a benchmark.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from framework.data import augment
from framework.data.pipeline import Pipeline
from framework.data.sequences.masking import masked_steps
from framework.data.sources import ArraySource
from framework.data.splits import split_source
from framework.data.statistics import collect, moments, vocabulary
from framework.data.tables.texts import Tokens
from framework.features import Feature
from framework.tasks import BinaryClassification, Classification, Regression

_SHARES = {"train": 0.625, "validation": 0.1875, "test": 0.1875}


class ToyTable(Pipeline):
    """Two measurements and two categories, of which one is text; a yes or no that depends on three of them.

    The raw features are `height` float32 `[batch]` (about 170), `readings` float32 `[batch, 2]`, `shop` int64 `[batch]`
    (ids with gaps) and `colour` string `[batch]`. Numbers are standardized and categories looked up, with what was
    learned from the training split: the model gets float32 and int64.

    Args:
        num_examples: Of all splits together.
        seed: Decides the data, not their form.
    """

    features = {
        "height": Feature((), "float32"),
        "readings": Feature((2,), "float32"),
        "shop": Feature((), "int64"),
        "colour": Feature((), "string"),
    }
    task = BinaryClassification(class_names=("stays", "leaves"))

    def __init__(self, num_examples: int = 256, seed: int = 0):
        random = np.random.default_rng([seed, 1])
        height = random.normal(170.0, 10.0, num_examples).astype(np.float32)
        readings = random.normal(0.5, [0.1, 2.0], (num_examples, 2)).astype(np.float32)
        shop = random.choice([3, 14, 15, 92], num_examples)
        colour = random.choice(["blue", "green", "red"], num_examples, p=[0.5, 0.3, 0.2])
        leaning = (height - 170.0) / 10.0 + (readings[:, 0] - 0.5) / 0.1 + np.where(colour == "red", 2.0, -0.5)
        features = {"height": height, "readings": readings, "shop": shop, "colour": colour}
        self._sources = split_source(ArraySource(features, (leaning > 0).astype(np.int64)), _SHARES)

    def source(self, phase):
        return self._sources[phase]

    def learn(self, train):
        vocabularies = {name: vocabulary(train, name) for name in ("shop", "colour")}
        return {**moments(train, ["height", "readings"]), **vocabularies}

    def preprocess(self, features):
        numbers = {name: self.statistics.standardize(name, features[name]) for name in ("height", "readings")}
        return numbers | {name: self.statistics.lookup(name)(features[name]) for name in ("shop", "colour")}


class ToyImages(Pipeline):
    """Grey images of horizontal bars, upright bars or a chequerboard, in noise; the class is which.

    The raw feature is `image` uint8 `[batch, 12, 12, 1]`, 0 to 255. Training flips and shifts; the model gets float32
    from 0 to 1.

    Args:
        num_examples: Of all splits together.
        seed: Decides the data, not their form.
    """

    features = {"image": Feature((12, 12, 1), "uint8")}
    task = Classification(class_names=("horizontal", "upright", "chequered"))

    def __init__(self, num_examples: int = 256, seed: int = 0):
        random = np.random.default_rng([seed, 2])
        labels = random.integers(0, 3, num_examples)
        bright = np.isin(np.arange(12), [0, 1, 5, 6, 10, 11])  # mirror-symmetric, so that a flip keeps the class
        rows, columns = np.broadcast_to(bright[:, None], (12, 12)), np.broadcast_to(bright[None, :], (12, 12))
        patterns = np.stack([rows, columns, rows ^ columns])[labels]
        values = 60.0 + 120.0 * patterns + random.normal(0.0, 20.0, patterns.shape)
        images = np.clip(values, 0, 255).astype(np.uint8)[..., None]
        self._sources = split_source(ArraySource({"image": images}, labels), _SHARES)

    def source(self, phase):
        return self._sources[phase]

    def augment(self, features, labels, seeds):
        moved = augment.random_affine(
            features["image"], seeds, flip_horizontal=True, flip_vertical=True, shift=1.0 / 12.0
        )
        return {"image": moved}, labels

    def preprocess(self, features):
        return {"image": tf.cast(features["image"], tf.float32) / 255.0}


class ToyValues(Pipeline):
    """One vector of six numbers and a real value that is nearly a linear function of it.

    The raw feature is `values` float32 `[batch, 6]`; it is the model's input as it is.

    Args:
        num_examples: Of all splits together.
        seed: Decides the data, not their form.
    """

    features = {"values": Feature((6,), "float32")}
    task = Regression()

    def __init__(self, num_examples: int = 256, seed: int = 0):
        random = np.random.default_rng([seed, 3])
        values = random.normal(0.0, 1.0, (num_examples, 6)).astype(np.float32)
        targets = values @ random.normal(0.0, 1.0, 6) + 0.3 * np.sin(values[:, 0]) + 2.0
        targets += random.normal(0.0, 0.1, num_examples)
        self._sources = split_source(ArraySource({"values": values}, targets.astype(np.float32)), _SHARES)

    def source(self, phase):
        return self._sources[phase]


class ToySequences(Pipeline):
    """Noisy curves of two channels and 4 to 24 steps; the class is whether the first channel rises or falls.

    The raw features are `steps` float32 `[batch, 24, 2]`, zero after an example's end, and `length` int64 `[batch]`,
    how many of them there are. The model gets `steps` as long as the longest example of the batch, and `mask` bool
    `[batch, longest]` instead of the length.

    Args:
        num_examples: Of all splits together.
        seed: Decides the data, not their form.
    """

    features = {"steps": Feature((None, 2), "float32"), "length": Feature((), "int64")}
    task = Classification(class_names=("falls", "rises"))

    def __init__(self, num_examples: int = 256, seed: int = 0):
        random = np.random.default_rng([seed, 4])
        labels = random.integers(0, 2, num_examples)
        length = random.integers(4, 25, num_examples)
        place = np.arange(24) / (length[:, np.newaxis] - 1) - 0.5  # -0.5 at the beginning, 0.5 at the end
        curve = (2 * labels[:, np.newaxis] - 1) * place + random.normal(0.0, 1.0, (num_examples, 1))
        steps = np.stack([curve, random.normal(0.0, 1.0, place.shape)], axis=-1)
        steps += random.normal(0.0, 0.1, steps.shape)
        steps[np.arange(24) >= length[:, np.newaxis]] = 0.0
        features = {"steps": steps.astype(np.float32), "length": length}
        self._sources = split_source(ArraySource(features, labels), _SHARES)

    def source(self, phase):
        return self._sources[phase]

    def preprocess(self, features):
        steps, mask = masked_steps({"steps": features["steps"]}, features["length"])
        return {**steps, "mask": mask}


class ToyTexts(Pipeline):
    """Sentences of two to nine words, about a good thing or a bad one; one word of them says which.

    The raw feature is `text` string `[batch]`; the model gets `text` int64 `[batch, 8]`, ids of words: 0 after a
    sentence's end, 1 for an unknown word.

    Args:
        num_examples: Of all splits together.
        seed: Decides the data, not their form.
    """

    features = {"text": Feature((), "string")}
    task = Classification(class_names=("bad", "good"))

    def __init__(self, num_examples: int = 256, seed: int = 0):
        random = np.random.default_rng([seed, 5])
        labels = random.integers(0, 2, num_examples)
        told_by = np.array([["awful", "poor", "worse"], ["fine", "great", "lovely"]])[labels]
        sentences = []
        for words in told_by:
            others = random.choice(["the", "film", "book", "was", "very", "and", "it"], random.integers(1, 9))
            sentences.append(" ".join(random.permutation([random.choice(words), *others])).capitalize() + ".")
        self._sources = split_source(ArraySource({"text": sentences}, labels), _SHARES)
        self._tokens = Tokens(max_tokens=8)

    def source(self, phase):
        return self._sources[phase]

    def learn(self, train):
        return collect(train, {"text": self._tokens.accumulators()})

    def preprocess(self, features):
        return {"text": self._tokens.ids("text", features["text"], self.statistics)}


def toy_table(num_examples: int = 256, seed: int = 0) -> Pipeline:
    """Numbers and categories -> yes or no: see `ToyTable`."""
    return ToyTable(num_examples, seed)


def toy_images(num_examples: int = 256, seed: int = 0) -> Pipeline:
    """Images -> one of three classes: see `ToyImages`."""
    return ToyImages(num_examples, seed)


def toy_values(num_examples: int = 256, seed: int = 0) -> Pipeline:
    """A vector -> a real value: see `ToyValues`."""
    return ToyValues(num_examples, seed)


def toy_sequences(num_examples: int = 256, seed: int = 0) -> Pipeline:
    """Sequences of varying length -> one of two classes: see `ToySequences`."""
    return ToySequences(num_examples, seed)


def toy_texts(num_examples: int = 256, seed: int = 0) -> Pipeline:
    """Sentences -> one of two classes: see `ToyTexts`."""
    return ToyTexts(num_examples, seed)


# In the order in which a model is tried on them: what takes a table takes the most.
TOYS: dict[str, Callable[..., Pipeline]] = {
    "table": toy_table,
    "images": toy_images,
    "values": toy_values,
    "sequences": toy_sequences,
    "texts": toy_texts,
}
