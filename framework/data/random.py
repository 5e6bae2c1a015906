"""Per-example stateless randomness for batches: what an example draws depends on (seed, epoch, index) alone.

`tf.random.stateless_*` takes one seed for a whole tensor, so an example's numbers would change with its place
in the batch. Here every row of a batch has its own seed, and all rows are drawn in one go:

```python
seeds = random.example_seeds(seed=7, epoch=3, indices=indices)  # int64 [batch, 2]
angles = random.uniform(random.fold_in(seeds, "angle"), low=-10.0, high=10.0)  # float32 [batch]
```

The generator is SplitMix64: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
2014, figure 17, with the output function `mix64` of Stafford's variant 13, as in Vigna's public
`splitmix64.c`. Word k of the stream with state s is `mix64(s + (k + 1) * GAMMA)`: a counter is all the state
there is. Streams nest the way the paper's `split` does: an epoch's state is an output of the seed's stream, a
row's state an output of the epoch's stream, and the numbers drawn are outputs of the row's.

It was chosen over Philox for its length: a draw is some twenty integer operations on a small tensor, which
run in the input pipeline's threads beside training. Everything is `uint64` add, multiply, xor and shift,
which TensorFlow has on CPU and GPU, and gives the same bits on both. Not for cryptography.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import ParamSpec, TypeAlias, TypeVar

import numpy as np
import tensorflow as tf

GAMMA = 0x9E3779B97F4A7C15  # the odd integer closest to 2**64 / golden ratio
MIX_1 = 0xBF58476D1CE4E5B9
MIX_2 = 0x94D049BB133111EB

# Eigen evaluates cos, sin and log of the last few elements of a tensor with other code than the rest, and the
# last bit differs. Where their arguments come in multiples of the widest SIMD register there is no such rest.
_WIDEST_PACKET = 16

# Counters up to here are graph constants; longer ones would only swell the graph.
_MAX_CONSTANT_WORDS = 1024

Shape: TypeAlias = Sequence[int | tf.Tensor] | tf.Tensor

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def without_autograph(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Tells AutoGraph to leave a function as it is, which saves seconds where a data set's `map` is first traced."""
    return tf.autograph.experimental.do_not_convert(function)


@without_autograph
def example_seeds(seed: int | tf.Tensor, epoch: int | tf.Tensor, indices: tf.Tensor) -> tf.Tensor:
    """Returns one seed per example.

    Column 0 mixes seed and epoch, column 1 is the example's index. Each row is also a valid seed for the
    `tf.random.stateless_*` functions, so that per-example code can run under `tf.map_fn`.

    Args:
        seed: The run's seed, an integer of 64 bits.
        epoch: The epoch of the examples: one integer, or integers [batch] where a batch spans two epochs.
        indices: Integers [batch], each example's position in the data set.

    Returns:
        int64 [batch, 2].

    Raises:
        TypeError: An argument isn't of integers.
        ValueError: `indices` isn't of rank 1, or a Python integer needs more than 64 bits.
    """
    indices = _integers("indices", indices)
    if indices.shape.rank != 1:
        raise ValueError(
            f"indices has shape {indices.shape}, expected [batch]: one index per example. "
            "For a single example pass [index] and take row 0 of the result."
        )
    state = _mix64(tf.bitcast(_integers("seed", seed), tf.uint64))
    streams = _nth_word(state, tf.bitcast(_integers("epoch", epoch), tf.uint64))
    streams = tf.broadcast_to(tf.bitcast(streams, tf.int64), tf.shape(indices))
    seeds = tf.stack([streams, indices], axis=1)
    seeds.set_shape([indices.shape[0], 2])
    return seeds


@without_autograph
def fold_in(seeds: tf.Tensor, *salts: int | str) -> tf.Tensor:
    """Returns the seeds of an independent stream of the same examples.

    Different salts give independent streams, so do the same salts in another order. Strings are hashed with
    BLAKE2b: the result is the same in every process. Several salts cost what one does.

    Args:
        seeds: int64 [batch, 2].
        *salts: What tells this stream from the others; `1` and `"1"` are different salts.

    Returns:
        int64 [batch, 2]; column 1 is still the index.

    Raises:
        TypeError: A salt is neither an integer nor a string, or `seeds` isn't int64.
        ValueError: `seeds` isn't [batch, 2].
    """
    for salt in salts:
        if isinstance(salt, bool) or not isinstance(salt, int | str):
            raise TypeError(
                f"salt is {salt!r}, of type {type(salt).__name__}; expected an int or a str, because only those are "
                "hashed alike in every process."
            )
    _check_seeds(seeds)
    hashed = int.from_bytes(hashlib.blake2b(repr(salts).encode(), digest_size=8).digest(), "little")
    streams = tf.bitcast(seeds[:, 0], tf.uint64)
    streams = _mix64(tf.bitwise.bitwise_xor(streams, _constant(hashed)))
    return tf.stack([tf.bitcast(streams, tf.int64), seeds[:, 1]], axis=1)


@without_autograph
def uniform(seeds: tf.Tensor, shape: Shape = (), low: float = 0.0, high: float = 1.0) -> tf.Tensor:
    """Draws uniformly from [low, high), in steps of (high - low) / 2**24; never `high` itself.

    Args:
        seeds: int64 [batch, 2].
        shape: Of one example's draw. A shorter draw holds the first numbers of a longer one.
        low: Smallest value.
        high: Where the interval ends.

    Returns:
        float32 [batch, *shape].

    Raises:
        TypeError: `seeds` isn't int64.
        ValueError: `seeds` isn't [batch, 2], or low < high doesn't hold in finite float32.
    """
    _check_seeds(seeds)
    with np.errstate(over="ignore"):  # infinite is what is looked for
        first, end = np.float32(low), np.float32(high)
        span = end - first
    if not (first < end and np.isfinite(span)):
        raise ValueError(f"uniform got low={low!r}, high={high!r}; expected finite numbers with low < high in float32.")
    unit = _unit(_bits(seeds, _size(shape)))
    if (low, high) != (0.0, 1.0):
        # Rounding may carry the product up to `high`: 1 + (1 - 2**-24) is 2 in float32.
        unit = tf.minimum(unit * span + first, np.nextafter(end, first))
    return _reshape(unit, seeds, shape)


@without_autograph
def normal(seeds: tf.Tensor, shape: Shape = (), mean: float = 0.0, stddev: float = 1.0) -> tf.Tensor:
    """Draws from a normal distribution, by Box and Muller (1958); the largest magnitude is 5.8 standard deviations.

    Args:
        seeds: int64 [batch, 2].
        shape: Of one example's draw. A shorter draw holds the first numbers of a longer one.
        mean: Mean.
        stddev: Standard deviation, at least 0.

    Returns:
        float32 [batch, *shape].

    Raises:
        TypeError: `seeds` isn't int64.
        ValueError: `seeds` isn't [batch, 2], `mean` isn't finite, or `stddev` is negative or not finite.
    """
    _check_seeds(seeds)
    if not (math.isfinite(mean) and math.isfinite(stddev) and stddev >= 0):
        raise ValueError(
            f"normal got mean={mean!r}, stddev={stddev!r}; expected finite numbers and a stddev of 0 or more."
        )
    size = _size(shape)
    num_bits = -(-size // (2 * _WIDEST_PACKET)) * (2 * _WIDEST_PACKET)
    unit = tf.reshape(_unit(_bits(seeds, num_bits)), [-1, num_bits // 2, 2])
    radius = tf.sqrt(-2.0 * tf.math.log(1.0 - unit[:, :, 0]))  # 1 - unit is in (0, 1]
    angle = (2.0 * math.pi) * unit[:, :, 1]
    values = tf.stack([radius * tf.cos(angle), radius * tf.sin(angle)], axis=2)
    values = tf.reshape(values, [-1, num_bits])[:, :size]
    if (mean, stddev) != (0.0, 1.0):
        values = values * stddev + mean
    return _reshape(values, seeds, shape)


@without_autograph
def integers(seeds: tf.Tensor, shape: Shape, low: int | tf.Tensor, high: int | tf.Tensor) -> tf.Tensor:
    """Draws integers from [low, high), by multiplication and shift (Lemire 2019, without its rejection step).

    The probabilities of two values differ by at most 2**-32.

    Args:
        seeds: int64 [batch, 2].
        shape: Of one example's draw. A shorter draw holds the first numbers of a longer one.
        low: Smallest value: an int, or an integer scalar.
        high: Where the interval ends: an int, or an integer scalar; as a tensor it isn't checked to be above
            `low`.

    Returns:
        int32 [batch, *shape].

    Raises:
        TypeError: `seeds` isn't int64, or a bound isn't an integer.
        ValueError: `seeds` isn't [batch, 2], low < high doesn't hold, or a bound is outside int32.
    """
    _check_seeds(seeds)
    if isinstance(low, int) and isinstance(high, int) and not -(2**31) <= low < high <= 2**31:
        raise ValueError(f"integers got low={low}, high={high}; expected low < high, both within int32.")
    low, high = _integers("low", low), _integers("high", high)
    span = tf.bitcast(high - low, tf.uint64)
    bits = tf.cast(_bits(seeds, _size(shape)), tf.uint64)
    offsets = tf.bitwise.right_shift(bits * span, _constant(32))
    return _reshape(tf.cast(tf.bitcast(offsets, tf.int64) + low, tf.int32), seeds, shape)


@without_autograph
def bernoulli(seeds: tf.Tensor, probability: float, shape: Shape = ()) -> tf.Tensor:
    """Draws True with the given probability; 0 is never and 1 is always.

    Args:
        seeds: int64 [batch, 2].
        probability: In [0, 1].
        shape: Of one example's draw. A shorter draw holds the first values of a longer one.

    Returns:
        bool [batch, *shape].

    Raises:
        TypeError: `seeds` isn't int64.
        ValueError: `seeds` isn't [batch, 2], or `probability` is outside [0, 1].
    """
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"bernoulli got probability={probability!r}; expected a number in [0, 1].")
    return uniform(seeds, shape) < probability


def _constant(value: int) -> tf.Tensor:
    return tf.constant(value, tf.uint64)


def _mix64(words: tf.Tensor) -> tf.Tensor:
    xor, shift = tf.bitwise.bitwise_xor, tf.bitwise.right_shift
    words = xor(words, shift(words, _constant(30))) * _constant(MIX_1)
    words = xor(words, shift(words, _constant(27))) * _constant(MIX_2)
    return xor(words, shift(words, _constant(31)))


def _nth_word(state: tf.Tensor, n: tf.Tensor) -> tf.Tensor:
    return _mix64(state + (n + _constant(1)) * _constant(GAMMA))


def _bits(seeds: tf.Tensor, size: int | tf.Tensor) -> tf.Tensor:
    """Returns uint32 [batch, size or one more]: word by word, the low half first."""
    columns = tf.bitcast(seeds, tf.uint64)
    states = _nth_word(columns[:, 0], columns[:, 1])
    num_words = (size + 1) // 2
    if isinstance(size, int) and num_words <= _MAX_CONSTANT_WORDS:
        steps = tf.constant(np.arange(1, num_words + 1, dtype=np.uint64) * np.uint64(GAMMA))
    else:
        steps = tf.bitcast(tf.range(1, tf.cast(num_words, tf.int64) + 1), tf.uint64) * _constant(GAMMA)
    words = _mix64(states[:, tf.newaxis] + steps)
    return tf.reshape(tf.bitcast(words, tf.uint32), [-1, 2 * num_words])[:, :size]


def _unit(bits: tf.Tensor) -> tf.Tensor:
    """Returns the multiples of 2**-24 in [0, 1) that the upper 24 of the 32 bits name."""
    return tf.cast(tf.bitwise.right_shift(bits, tf.constant(8, tf.uint32)), tf.float32) * 2.0**-24


def _size(shape: Shape) -> int | tf.Tensor:
    if not tf.is_tensor(shape) and all(isinstance(axis, int) for axis in shape):
        return math.prod(shape)
    return tf.reduce_prod(tf.cast(shape, tf.int32))


def _reshape(values: tf.Tensor, seeds: tf.Tensor, shape: Shape) -> tf.Tensor:
    values = tf.reshape(values, tf.concat([tf.shape(seeds)[:1], tf.cast(shape, tf.int32)], axis=0))
    values.set_shape([seeds.shape[0], *([None] * (values.shape.rank - 1))])
    return values


def _integers(name: str, value: int | tf.Tensor) -> tf.Tensor:
    if isinstance(value, bool):
        raise TypeError(f"{name} is {value!r}, expected an integer.")
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} is {value!r}; expected an integer of at most 64 bits with its sign.")
    tensor = tf.convert_to_tensor(value, tf.int64 if isinstance(value, int) else None)
    if not tensor.dtype.is_integer:
        raise TypeError(f"{name} has dtype {tensor.dtype.name}, expected integers. Cast it to tf.int64.")
    return tf.cast(tensor, tf.int64)


def _check_seeds(seeds: tf.Tensor) -> None:
    if not tf.is_tensor(seeds) or seeds.dtype != tf.int64:
        got = seeds.dtype.name if tf.is_tensor(seeds) else type(seeds).__name__
        raise TypeError(f"seeds is of {got}, expected an int64 tensor [batch, 2] as from `example_seeds`.")
    if not seeds.shape.is_compatible_with([None, 2]):
        raise ValueError(f"seeds has shape {seeds.shape}, expected [batch, 2] as from `example_seeds`.")
