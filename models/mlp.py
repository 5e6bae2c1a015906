"""A multi-layer perceptron on all numeric features.

Rumelhart, Hinton and Williams 1986, "Learning Representations by Back-Propagating Errors".
"""

import keras

import framework


@framework.register_model
def mlp(inputs, task, *, width: int = 64, depth: int = 2, dropout: float = 0.0, activation: str = "relu"):
    """All numeric inputs, flattened and joined, through `depth` hidden layers.

    Args:
        inputs: `{name: numeric [batch, ...]}`. Text inputs are an error: give them numbers in `preprocess`.
        task: Any task.
        width: Units of each hidden layer.
        depth: Hidden layers; 0 gives a linear model.
        dropout: Share of each hidden layer's outputs that are dropped in training.
        activation: A Keras activation's name.
    """
    text = [name for name, tensor in inputs.items() if tensor.dtype == "string"]
    if text:
        raise ValueError(f"mlp takes numbers, the features {text} are text. Use wide_and_deep, or encode them.")
    columns = [_as_column(tensor) for tensor in inputs.values()]
    x = keras.layers.Concatenate()(columns) if len(columns) > 1 else columns[0]
    for _ in range(depth):
        x = keras.layers.Dense(width, activation=activation)(x)
        if dropout:
            x = keras.layers.Dropout(dropout)(x)
    return task.logits(x)


def _as_column(tensor):
    """float `[batch, values]`."""
    flat = keras.layers.Flatten()(tensor)  # of a scalar: [batch, 1]
    return flat if "float" in flat.dtype else keras.ops.cast(flat, "float32")
