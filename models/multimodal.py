"""Images, texts, numbers and categories, each through layers of its own, whose answers are joined.

Ngiam et al. 2011, "Multimodal Deep Learning", section 3: a shared representation on top of one for each modality.
"""

import keras

import framework


@framework.register_model
def multimodal(
    inputs,
    task,
    *,
    width: int = 32,
    hidden: int = 128,
    vocabulary_size: int = 20_000,
    embedding_size: int = 32,
    num_bins: int = 1000,
    dropout: float = 0.3,
):
    """Any mix of inputs, told apart by their dtypes and shapes.

    Args:
        inputs: Images are float `[batch, height, width, channels]`, texts integer `[batch, tokens]` (ids; 0 is padding,
            1 unknown), numbers float `[batch]` or `[batch, values]`, categories text, integer or bool `[batch]`.
        task: Any task.
        width: Filters of the first convolution of an image; each of the three doubles them.
        hidden: Units of the layer that joins all.
        vocabulary_size: Token ids with an embedding: the pipeline's `vocabulary_size`, or fewer.
        embedding_size: Of a token and of a category.
        num_bins: Hash buckets of each category.
        dropout: Share of what is joined that is dropped in training.
    """
    branches = []
    for name, tensor in inputs.items():
        is_float = "float" in tensor.dtype
        if is_float and tensor.ndim == 4:
            branches.append(_image(name, tensor, width))
        elif is_float and tensor.ndim <= 2:
            branches.append(keras.layers.Flatten()(tensor))
        elif "int" in tensor.dtype and tensor.ndim == 2:
            branches.append(_text(name, tensor, vocabulary_size, embedding_size))
        elif not is_float and tensor.ndim == 1:
            branches.append(_category(name, tensor, num_bins, embedding_size))
        else:
            raise ValueError(f"multimodal has no layers for '{name}', {tensor.dtype}{tuple(tensor.shape)}.")
    x = keras.layers.Concatenate()(branches) if len(branches) > 1 else branches[0]
    x = keras.layers.Dropout(dropout)(keras.layers.Dense(hidden, activation="relu")(x))
    return task.logits(x)


def _image(name, x, width):
    """float `[batch, 4 * width]`."""
    for stage in range(3):
        x = keras.layers.Conv2D(
            width * 2**stage, 3, padding="same", activation="relu", name=f"{name}_convolution_{stage}"
        )(x)
        x = keras.layers.MaxPool2D(padding="same")(x)
    return keras.layers.GlobalAveragePooling2D()(x)


def _text(name, ids, vocabulary_size, embedding_size):
    """The mean embedding of a text's tokens, float `[batch, embedding_size]`."""
    known = keras.ops.where(ids < vocabulary_size, ids, 1)
    embedded = keras.layers.Embedding(vocabulary_size, embedding_size, name=f"{name}_embedding")(known)
    mask = keras.ops.cast(ids != 0, embedded.dtype)[..., None]
    return keras.ops.sum(embedded * mask, axis=1) / keras.ops.maximum(keras.ops.sum(mask, axis=1), 1)


def _category(name, values, num_bins, embedding_size):
    if values.dtype == "bool":  # to Keras' hashing yes and no are numbers
        values = keras.ops.cast(values, "int32")
    hashed = keras.layers.Hashing(num_bins, name=f"{name}_hash")(values)
    return keras.layers.Embedding(num_bins, embedding_size, name=f"{name}_embedding")(hashed)
