"""A linear model that remembers and a deep one that generalizes, trained together on tables.

Cheng et al. 2016, "Wide & Deep Learning for Recommender Systems". Categories are hashed (Weinberger et al. 2009,
"Feature Hashing for Large Scale Multitask Learning"), so that no vocabulary is needed and none is out of it.
"""

import itertools

import keras

import framework


@framework.register_model
def wide_and_deep(
    inputs,
    task,
    *,
    widths: tuple[int, ...] = (64, 32),
    embedding_size: int = 8,
    num_bins: int = 1000,
    cross: bool = True,
    dropout: float = 0.0,
):
    """Numbers and categories through a wide and a deep part, whose hidden outputs are weighted jointly.

    Args:
        inputs: Numbers are float `[batch]` or `[batch, values]`; categories are text, integers or booleans `[batch]`.
        task: Any task.
        widths: Units of the deep part's hidden layers.
        embedding_size: Length of each category's embedding in the deep part.
        num_bins: Hash buckets of each category, and of each pair of categories.
        cross: Whether the wide part sees every pair of categories as one.
        dropout: Share of the deep part's hidden outputs that are dropped in training.
    """
    numbers, categories = [], []
    for name, tensor in inputs.items():
        if "float" in tensor.dtype:
            numbers.append(keras.layers.Flatten()(tensor))
        elif tensor.ndim == 1:
            # Yes and no are numbers to Keras' hashing.
            categories.append((name, keras.ops.cast(tensor, "int32") if tensor.dtype == "bool" else tensor))
        else:
            raise ValueError(f"wide_and_deep takes categories as [batch], '{name}' has shape {tuple(tensor.shape)}.")
    pairs = list(itertools.combinations(categories, 2)) if cross else []

    wide = list(numbers)
    for name, tensor in categories:
        hashed = keras.layers.Hashing(num_bins, name=f"{name}_wide_hash")(tensor)
        wide.append(keras.layers.Embedding(num_bins, task_width(task), name=f"{name}_wide")(hashed))
    for (first, a), (second, b) in pairs:
        crossed = keras.layers.HashedCrossing(num_bins, name=f"{first}_x_{second}_hash")((a, b))
        wide.append(keras.layers.Embedding(num_bins, task_width(task), name=f"{first}_x_{second}")(crossed))

    deep = list(numbers)
    for name, tensor in categories:
        hashed = keras.layers.Hashing(num_bins, name=f"{name}_deep_hash")(tensor)
        deep.append(keras.layers.Embedding(num_bins, embedding_size, name=f"{name}_embedding")(hashed))
    x = _joined(deep)
    for units in widths:
        x = keras.layers.Dense(units, activation="relu")(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return task.logits(_joined([*wide, x]))


def task_width(task) -> int:
    """Weights of a category in the wide part: as many as there are outputs."""
    return sum(task.units.values()) if isinstance(task.units, dict) else task.units


def _joined(tensors):
    return keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
