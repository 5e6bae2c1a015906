"""From stored features to raw ones: the encoded media of a batch, decoded one example at a time.

TensorFlow's decoders fail as a whole on one junk image in a batch. Here each example is an element of a small dataset
inside of the graph, which leaves the failing ones out: the caller knows which rows are good. The same function stands
in training, in evaluation and in every signature (it needs no Python), and decodes in several threads where asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import tensorflow as tf

from framework.features import Feature

Decode = Callable[..., Mapping[str, tf.Tensor]]


def encoded_names(features: Mapping[str, tf.Tensor | tf.TensorSpec], raw: Mapping[str, Feature]) -> list[str]:
    """The features of a batch that are in their stored form and have to be decoded."""
    return [name for name, tensor in features.items() if raw[name].is_encoded and tensor.dtype == tf.string]


def decode_good(
    features: Mapping[str, tf.Tensor],
    raw: Mapping[str, Feature],
    decode: Decode,
    *,
    seeds: tf.Tensor | None = None,
    parallel_calls: int | None = None,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Decodes what is encoded, of the rows where that works.

    Args:
        features: `{name: [batch, ...]}`, at least one of them encoded; others are passed through.
        raw: What all features are when decoded.
        decode: `decode(example)`, or `decode(example, seed)` where there are seeds: the encoded features' raw tensors
            of one example.
        seeds: int64 `[batch, 2]`, one for each example.
        parallel_calls: Threads; `None` decodes in the caller's.

    Returns:
        The raw features of the good rows, in order, `{name: [good, ...]}`, and which rows these are: bool `[batch]`.
    """
    names = encoded_names(features, raw)
    count = tf.shape(features[names[0]], out_type=tf.int64)[0]
    indices = tf.range(count)
    rows = (indices, dict(features)) if seeds is None else (indices, dict(features), seeds)

    def decoded(index: tf.Tensor, example: dict[str, tf.Tensor], *seed: tf.Tensor) -> tuple:
        made = decode(example, *seed)
        missing = [name for name in names if name not in made]
        if missing:
            raise ValueError(f"decode must return the raw tensors of {names}, it left out {missing}.")
        return index, {name: tf.ensure_shape(made[name], raw[name].shape) for name in names}

    examples = tf.data.Dataset.from_tensor_slices(rows)
    # tf.data warns of a `deterministic` where there is nothing parallel.
    parallel = {} if parallel_calls is None else {"num_parallel_calls": parallel_calls, "deterministic": True}
    good = examples.map(decoded, **parallel).ignore_errors()
    # Something is always there to be batched; it is cut off again.
    nothing = (tf.constant(-1, tf.int64), {name: tf.zeros(raw[name].shape, raw[name].dtype) for name in names})
    batch = good.concatenate(tf.data.Dataset.from_tensors(nothing)).batch(count + 1)
    options = tf.data.Options()
    options.autotune.enabled = False
    places, made = batch.with_options(options).get_single_element()
    places = places[:-1]
    is_good = tf.scatter_nd(places[:, tf.newaxis], tf.ones_like(places, tf.bool), count[tf.newaxis])
    rest = {name: tf.gather(value, places) for name, value in features.items() if name not in made}
    return {**rest, **{name: value[:-1] for name, value in made.items()}}, is_good


def decode_all(
    features: Mapping[str, tf.Tensor],
    raw: Mapping[str, Feature],
    decode: Decode,
    *,
    parallel_calls: int | None = None,
) -> dict[str, tf.Tensor]:
    """`decode_good` of a batch in which every row must be good; nothing to do where nothing is encoded.

    Raises:
        tf.errors.InvalidArgumentError: (when run) A row can't be decoded; the message has the indices of such rows.
    """
    names = encoded_names(features, raw)
    if not names:
        return dict(features)
    made, is_good = decode_good(features, raw, decode, parallel_calls=parallel_calls)
    # Without quotes, which TensorFlow would escape.
    message = f"Cannot decode {', '.join(names)} in these rows of the batch, counted from 0:"
    bad = tf.reshape(tf.where(tf.logical_not(is_good)), [-1])
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(is_good), [message, bad], summarize=32)]):
        return {name: tf.identity(value) for name, value in made.items()}
