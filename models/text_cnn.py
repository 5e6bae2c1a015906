"""A convolutional network for texts: n-gram detectors of several lengths, and the strongest answer of each.

Kim 2014, "Convolutional Neural Networks for Sentence Classification", section 2, with embeddings that are learned.
"""

import keras

import framework


@framework.register_model
def text_cnn(
    inputs,
    task,
    *,
    vocabulary_size: int = 20_000,
    embedding_size: int = 64,
    filters: int = 64,
    widths: tuple[int, ...] = (2, 3, 4),
    dropout: float = 0.3,
):
    """Token ids through an embedding, convolutions of several widths, and the maximum over the text.

    Args:
        inputs: `{name: integers [batch, tokens]}`, one text or several; 0 is padding, 1 an unknown token.
        task: Any task.
        vocabulary_size: Ids with an embedding: the pipeline's `vocabulary_size`, or fewer. Others count as unknown.
        embedding_size: Length of a token's embedding.
        filters: Detectors of each width.
        widths: Over how many neighbouring tokens they look.
        dropout: Share of the detectors' answers that are dropped in training.
    """
    other = {name: tensor for name, tensor in inputs.items() if "int" not in tensor.dtype or tensor.ndim != 2}
    if other:
        name, tensor = next(iter(other.items()))
        raise ValueError(
            f"text_cnn takes token ids, integers [batch, tokens]; '{name}' is {tensor.dtype}{tuple(tensor.shape)}."
        )
    found = [
        keras.layers.GlobalMaxPool1D()(convolved)
        for name, ids in inputs.items()
        for convolved in _convolutions(name, ids, vocabulary_size, embedding_size, filters, widths)
    ]
    x = keras.layers.Concatenate()(found) if len(found) > 1 else found[0]
    return task.logits(keras.layers.Dropout(dropout)(x))


def _convolutions(name, ids, vocabulary_size, embedding_size, filters, widths):
    known = keras.ops.where(ids < vocabulary_size, ids, 1)
    embedded = keras.layers.Embedding(vocabulary_size, embedding_size, name=f"{name}_embedding")(known)
    # Padding is silent, whatever its embedding and however much of it there is: relu's least is 0, too.
    is_token = keras.ops.cast(ids != 0, embedded.dtype)[..., None]
    for width in widths:
        convolution = keras.layers.Conv1D(filters, width, padding="same", activation="relu", name=f"{name}_{width}")
        yield convolution(embedded * is_token) * is_token
