"""A recurrent network over sequences of varying or fixed length.

Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder for Statistical Machine Translation",
section 2.3 (gated recurrent units); both directions as Schuster and Paliwal 1997, "Bidirectional Recurrent Neural
Networks". Categories are hashed (Weinberger et al. 2009, "Feature Hashing for Large Scale Multitask Learning"), so that
no vocabulary is needed and none is out of it.
"""

import keras

import framework


@framework.register_model
def gru(
    inputs,
    task,
    *,
    units: int = 64,
    num_layers: int = 1,
    bidirectional: bool = False,
    dropout: float = 0.0,
    embedding_size: int = 16,
    num_bins: int = 1000,
):
    """The last state of stacked recurrent layers, beside what doesn't change along the sequence.

    Args:
        inputs: Sequences are float `[batch, time, channels]`, or `[batch, time]` where time varies, in which integers
            and text are categories; all are read side by side. `mask` bool `[batch, time]` says which steps are there;
            without it all are. Floats `[batch]` or `[batch, values]` of fixed length are joined to the last state.
        task: Any task of one answer a sequence.
        units: Of each layer, in each direction.
        num_layers: Recurrent layers, one on top of the other.
        bidirectional: Whether each layer reads from both ends.
        dropout: Share of each layer's inputs that are dropped in training.
        embedding_size: Length of the vector that stands for a category.
        num_bins: Hash buckets of each feature of categories.
    """
    mask = inputs.get("mask")
    sequences, context = [], []
    for name, tensor in inputs.items():
        if name == "mask":
            continue
        if tensor.ndim == 3 or (tensor.ndim == 2 and tensor.shape[1] is None):
            sequences.append(_channels(name, tensor, num_bins, embedding_size))
        elif tensor.ndim < 3 and "float" in tensor.dtype:
            context.append(keras.layers.Flatten()(tensor))
        else:
            raise ValueError(
                f"gru takes sequences and floats, '{name}' is {tensor.dtype} of shape {tuple(tensor.shape)}."
            )
    if not sequences:
        shapes = {name: tuple(tensor.shape) for name, tensor in inputs.items()}
        raise ValueError(f"gru needs a sequence [batch, time, channels], or [batch, None]; the inputs are {shapes}.")
    x = _joined(sequences)
    for number in range(num_layers):
        layer = keras.layers.GRU(units, return_sequences=number < num_layers - 1, dropout=dropout)
        x = (keras.layers.Bidirectional(layer) if bidirectional else layer)(x, mask=mask)
    return task.logits(_joined([x, *context]))


def _channels(name, tensor, num_bins, embedding_size):
    """float `[batch, time, channels]`."""
    if "float" in tensor.dtype:
        return tensor if tensor.ndim == 3 else keras.ops.expand_dims(tensor, -1)
    if tensor.ndim == 3:
        raise ValueError(f"gru takes categories as [batch, time], '{name}' has shape {tuple(tensor.shape)}.")
    hashed = keras.layers.Hashing(num_bins, name=f"{name}_hash")(tensor)
    return keras.layers.Embedding(num_bins, embedding_size, name=f"{name}_embedding")(hashed)


def _joined(tensors):
    return keras.layers.Concatenate()(tensors) if len(tensors) > 1 else tensors[0]
