import numpy as np

import framework
from framework import tasks
from framework.data import records


def sequences_options(directory):
    """Curves that rise or fall, with a word a step and an age, as records that describe themselves."""
    random = np.random.default_rng(0)

    def examples(count):
        for _ in range(count):
            label, length = int(random.integers(0, 2)), int(random.integers(2, 20))
            curve = (2 * label - 1) * np.linspace(-1.0, 1.0, length) + random.normal(0.0, 0.1, length)
            points = np.stack([curve, random.normal(size=length)], axis=1).astype(np.float32)
            words = random.choice(["up" if label else "down", "so"], length)
            yield {"points": points, "words": words, "age": np.float32(random.normal(40.0, 10.0))}, label

    for split, count in (("train", 60), ("validation", 20)):
        records.write(
            list(examples(count)),
            directory / "curves",
            split=split,
            task=tasks.Classification(class_names=["falls", "rises"]),
            features={"points": framework.Feature((None, 2)), "words": framework.Feature((None,), "string")},
            kind=records.SequenceSchema,
            layout=records.Layout(shards=2),
        )
    return {"path": str(directory / "curves"), "max_length": 0.9}
