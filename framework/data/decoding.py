"""From stored features to raw ones: the encoded media of a batch, decoded one example at a time.

TensorFlow's decoders fail as a whole on one junk image in a batch. Here each example is an element of a small dataset
inside of the graph, which leaves the failing ones out: the caller knows which rows are good. The same function stands
in training, in evaluation and in every signature (it needs no Python), and decodes in several threads where asked to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import tensorflow as tf

from framework.features import Feature

Decode = Callable[..., Mapping[str, tf.Tensor]]


def encoded_names(features: Mapping[str, tf.Tensor | tf.TensorSpec], raw: Mapping[str, Feature]) -> list[str]:
    """The features of a batch that are in their stored form and have to be decoded."""
    return [name for name, tensor in features.items() if raw[name].is_encoded and tensor.dtype == tf.string]


def undecodable_kind(features: Mapping[str, tf.Tensor], raw: Mapping[str, Feature]) -> str:
    """What kind of bad example one is that can't be decoded, from its stored features `{name: [...]}`."""
    names = encoded_names(features, raw)
    foreign = (raw[name].foreign(features[name].numpy()) for name in names)
    return next(filter(None, foreign), f"undecodable {type(raw[names[0]]).__name__.lower()}")


def map_good(
    function: Decode,
    rows: tuple[Any, ...],
    made: Mapping[str, Feature],
    *,
    parallel_calls: int | None = None,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """Applies a function to each row of a batch; leaves the rows out for which it fails.

    Args:
        function: Called with one row of each of `rows`; returns `{name: tensor}` of one example.
        rows: Tensors, or dicts of them, `[batch, ...]`.
        made: What the function makes, each of one shape.
        parallel_calls: Threads; `None` stays in the caller's.

    Returns:
        `{name: [good, ...]}` of the good rows, in order, and the places of these rows: int64 `[good]`.
    """
    count = tf.shape(tf.nest.flatten(rows)[0], out_type=tf.int64)[0]

    def apply(index: tf.Tensor, *row: Any) -> tuple:
        values = function(*row)
        missing = [name for name in made if name not in values]
        if missing:
            raise ValueError(f"decode must return the raw tensors of {list(made)}, it left out {missing}.")
        return index, {name: tf.ensure_shape(values[name], feature.shape) for name, feature in made.items()}

    # tf.data warns of a `deterministic` where there is nothing parallel.
    parallel = {} if parallel_calls is None else {"num_parallel_calls": parallel_calls, "deterministic": True}
    good = tf.data.Dataset.from_tensor_slices((tf.range(count), *rows)).map(apply, **parallel).ignore_errors()
    # Something is always there to be batched; it is cut off again.
    nothing = (tf.constant(-1, tf.int64), {name: tf.zeros(f.shape, f.dtype) for name, f in made.items()})
    options = tf.data.Options()
    options.autotune.enabled = False
    batch = good.concatenate(tf.data.Dataset.from_tensors(nothing)).batch(count + 1).with_options(options)
    places, values = batch.get_single_element()
    return {name: value[:-1] for name, value in values.items()}, places[:-1]


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
    rows = (dict(features),) if seeds is None else (dict(features), seeds)
    made, places = map_good(decode, rows, {name: raw[name] for name in names}, parallel_calls=parallel_calls)
    rest = {name: tf.gather(value, places) for name, value in features.items() if name not in made}
    return {**rest, **made}, _mask(places, tf.shape(features[names[0]], out_type=tf.int64)[0])


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


def or_zeros(
    function: Decode,
    rows: tuple[Any, ...],
    made: Mapping[str, Feature],
    *,
    parallel_calls: int | None = None,
) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
    """As `map_good`, with zeros for the rows for which the function fails.

    Returns:
        `{name: [batch, ...]}` and which rows are good: bool `[batch]`.
    """
    values, places = map_good(function, rows, made, parallel_calls=parallel_calls)
    is_good = _mask(places, tf.shape(tf.nest.flatten(rows)[0], out_type=tf.int64)[0])
    # The good ones stand in their order, and behind them a row of zeros for all others.
    source = tf.where(is_good, tf.cumsum(tf.cast(is_good, tf.int64)) - 1, tf.size(places, out_type=tf.int64))
    padded = {
        name: tf.concat([value, tf.zeros((1, *made[name].shape), made[name].dtype)], axis=0)
        for name, value in values.items()
    }
    return {name: tf.gather(value, source) for name, value in padded.items()}, is_good


def _mask(places: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    return tf.scatter_nd(places[:, tf.newaxis], tf.ones_like(places, tf.bool), count[tf.newaxis])
