"""The generator against SplitMix64 written out in Python's integers, and what random numbers have to be like."""

import hashlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data import random

MASK = 2**64 - 1
NUM = 20_000


def mix64(z):
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def splitmix64(state, n):
    """The first n outputs, as the published code has them: a state that is stepped."""
    words = []
    for _ in range(n):
        state = (state + random.GAMMA) & MASK
        words.append(mix64(state))
    return words


def oracle_words(row, n):
    stream, index = (int(column) & MASK for column in row)
    return splitmix64(mix64((stream + (index + 1) * random.GAMMA) & MASK), n)


def oracle_halves(row, n):
    return [half for word in oracle_words(row, (n + 1) // 2) for half in (word & 0xFFFFFFFF, word >> 32)][:n]


def seeds_of(num=NUM, seed=7, epoch=3, first=0):
    return random.example_seeds(seed, epoch, tf.range(first, first + num))


def test_the_oracle_is_the_published_generator():
    # The values that accompany splitmix64.c for the state 1234567.
    assert splitmix64(1234567, 5) == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize(("seed", "epoch"), [(0, 0), (1, 0), (-5, 12), (2**63 - 1, 2**40)])
def test_example_seeds_match_the_oracle(seed, epoch):
    indices = np.array([0, 1, 2**40, 77])
    seeds = random.example_seeds(seed, epoch, tf.constant(indices))
    stream = mix64((mix64(seed & MASK) + (epoch + 1) * random.GAMMA) & MASK)
    assert seeds.dtype == tf.int64
    np.testing.assert_array_equal(seeds[:, 0].numpy().view(np.uint64), np.full(4, stream, np.uint64))
    np.testing.assert_array_equal(seeds[:, 1], indices)


def test_example_seeds_take_tensors_and_an_epoch_per_example():
    seeds = random.example_seeds(tf.constant(7), tf.constant([3, 4], tf.int32), tf.constant([5, 6], tf.int32))
    one_by_one = [random.example_seeds(7, epoch, tf.constant([index])) for epoch, index in [(3, 5), (4, 6)]]
    np.testing.assert_array_equal(seeds, tf.concat(one_by_one, axis=0))


def test_fold_in_matches_the_oracle():
    seeds = seeds_of(3)
    folded = random.fold_in(seeds, "crop", 2)
    hashed = int.from_bytes(hashlib.blake2b(b"('crop', 2)", digest_size=8).digest(), "little")
    assert [int(word) & MASK for word in folded[:, 0]] == [mix64((int(word) & MASK) ^ hashed) for word in seeds[:, 0]]
    np.testing.assert_array_equal(folded[:, 1], seeds[:, 1])


def test_streams_are_the_same_for_ever():
    # A resumed run must draw what the interrupted one would have: a changed number here is a breaking change.
    seeds = random.fold_in(seeds_of(2), "flip")
    np.testing.assert_array_equal(seeds, [[-5020816521174495097, 0], [-5020816521174495097, 1]])
    np.testing.assert_array_equal(random.integers(seeds, [2], 0, 1000), [[952, 80], [34, 592]])


@pytest.mark.parametrize("size", [1, 2, 7, 2050, 2051])
def test_uniform_and_integers_match_the_oracle_bit_for_bit(size):
    seeds = seeds_of(3, first=2**33)
    halves = np.array([oracle_halves(row, size) for row in seeds.numpy()], np.uint64)
    np.testing.assert_array_equal(random.uniform(seeds, [size]), ((halves >> 8) * 2.0**-24).astype(np.float32))
    expected = (halves * np.uint64(23) >> np.uint64(32)).astype(np.int32) - 11
    np.testing.assert_array_equal(random.integers(seeds, [size], -11, 12), expected)


def test_normal_is_the_box_muller_transform():
    seeds = seeds_of(50)
    unit = np.array([oracle_halves(row, 6) for row in seeds.numpy()], np.uint64) >> 8
    unit = (unit * 2.0**-24).reshape(50, 3, 2)
    radius, angle = np.sqrt(-2 * np.log(1 - unit[..., 0])), 2 * np.pi * unit[..., 1]
    expected = np.stack([radius * np.cos(angle), radius * np.sin(angle)], -1).reshape(50, 6)
    np.testing.assert_allclose(random.normal(seeds, [6]), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(random.normal(seeds, [6], 3.0, 2.0), 3 + 2 * expected, rtol=1e-5, atol=1e-5)


DRAWS = {
    "uniform": lambda seeds, shape: random.uniform(seeds, shape, -2.0, 5.0),
    "normal": random.normal,
    "integers": lambda seeds, shape: random.integers(seeds, shape, -5, 9),
    "bernoulli": lambda seeds, shape: random.bernoulli(seeds, 0.3, shape),
}


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_an_example_draws_the_same_in_any_batch(draw):
    seeds = seeds_of(37)
    whole = draw(seeds, [3, 5]).numpy()
    for first, last in [(0, 1), (36, 37), (3, 10), (1, 37)]:
        np.testing.assert_array_equal(draw(seeds[first:last], [3, 5]), whole[first:last])
    np.testing.assert_array_equal(draw(seeds[::-1], [3, 5]), whole[::-1])


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_graph_draws_what_eager_draws_whatever_is_known_when_tracing(draw):
    seeds = seeds_of(21)
    expected = draw(seeds, [4, 3])
    unknown = tf.function(draw, input_signature=[tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([2], tf.int32)])
    np.testing.assert_array_equal(unknown(seeds, [4, 3]), expected)
    dataset = tf.data.Dataset.from_tensor_slices(seeds).batch(4).map(lambda rows: draw(rows, [4, 3]))
    assert dataset.element_spec.shape.as_list() == [None, 4, 3]
    np.testing.assert_array_equal(tf.concat(list(dataset), axis=0), expected)
    one = random.uniform(seeds, [tf.constant(4), 3])
    np.testing.assert_array_equal(one, random.uniform(seeds, [4, 3]))


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_shorter_draw_is_the_beginning_of_a_longer_one(draw):
    seeds = seeds_of(5)
    longer = draw(seeds, [40])
    np.testing.assert_array_equal(draw(seeds, [7]), longer[:, :7])
    np.testing.assert_array_equal(draw(seeds, []), longer[:, 0])
    assert draw(seeds[:0], [2]).shape == [0, 2]


def test_rows_seed_tensorflows_own_stateless_functions():
    seeds = seeds_of(4)
    drawn = tf.map_fn(
        lambda seed: tf.random.stateless_uniform([3], seed), seeds, fn_output_signature=tf.TensorSpec([3], tf.float32)
    )
    assert len(np.unique(drawn)) == 12


@settings(max_examples=100, deadline=None)
@given(
    *[st.floats(-(2.0**100), 2.0**100, width=32, allow_subnormal=False)] * 2  # TensorFlow flushes subnormals to zero
)
def test_uniform_keeps_to_its_interval(low, high):
    if low == high:
        high = float(np.nextafter(np.float32(low), np.float32(np.inf)))
    low, high = min(low, high), max(low, high)
    drawn = random.uniform(seeds_of(16), [16], low, high).numpy()
    assert (drawn >= low).all()
    assert (drawn < high).all()


def test_uniform_never_rounds_up_to_the_end():
    # With one representable number in the interval, half of the products round to the end.
    assert set(random.uniform(seeds_of(64), [], 1.0, 1.0 + 2.0**-23).numpy()) == {1.0}


@settings(max_examples=100, deadline=None)
@given(st.integers(-(2**31), 2**31), st.integers(-(2**31), 2**31))
def test_integers_keep_to_their_interval(low, high):
    low, high = min(low, high), max(low, high)
    if low == high:
        low, high = (low - 1, high) if low > -(2**31) else (low, high + 1)
    drawn = random.integers(seeds_of(64), [], low, high).numpy().astype(np.int64)
    assert (drawn >= low).all()
    assert (drawn < high).all()
    assert drawn.min() < drawn.max() or high - low < 10


def test_integers_take_a_bound_that_is_a_tensor_and_are_uniform():
    drawn = random.integers(seeds_of(), [], 1, tf.constant(8)).numpy()
    counts = np.bincount(drawn, minlength=8)
    assert counts[0] == 0
    assert len(counts) == 8
    assert_chi_square(counts[1:])


def test_bernoulli_is_exact_at_the_ends_and_has_its_probability():
    seeds = seeds_of()
    assert not random.bernoulli(seeds, 0.0).numpy().any()
    assert random.bernoulli(seeds, 1.0).numpy().all()
    assert abs(random.bernoulli(seeds, 0.3).numpy().mean() - 0.3) < 4 * np.sqrt(0.21 / NUM)


def assert_chi_square(counts):
    expected = counts.sum() / len(counts)
    freedom = len(counts) - 1
    statistic = ((counts - expected) ** 2 / expected).sum()
    # Too even is as suspicious as too uneven.
    assert abs(statistic - freedom) < 4 * np.sqrt(2 * freedom)


def assert_uncorrelated(a, b):
    assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(len(a))


def test_uniform_is_uniform():
    drawn = random.uniform(seeds_of()).numpy().astype(np.float64)
    assert abs(drawn.mean() - 0.5) < 4 * np.sqrt(1 / 12 / NUM)
    assert abs(drawn.var() - 1 / 12) < 4 * np.sqrt(1 / 180 / NUM)
    assert_chi_square(np.bincount((drawn * 256).astype(int), minlength=256))
    # The lowest bits too.
    assert_chi_square(np.bincount((drawn * 2**24).astype(int) % 64, minlength=64))


def test_normal_is_normal():
    drawn = random.normal(seeds_of(), [2]).numpy().astype(np.float64)
    flat = drawn.ravel()
    assert abs(flat.mean()) < 4 / np.sqrt(2 * NUM)
    assert abs(flat.var() - 1) < 4 * np.sqrt(2 / (2 * NUM))
    assert abs((flat**3).mean()) < 4 * np.sqrt(15 / (2 * NUM))
    assert abs((flat**4).mean() - 3) < 4 * np.sqrt(96 / (2 * NUM))
    assert_uncorrelated(drawn[:, 0], drawn[:, 1])
    assert_uncorrelated(drawn[:, 0] ** 2, drawn[:, 1] ** 2)


@pytest.mark.parametrize("lag", [1, 2, 128])
def test_neighbouring_examples_are_independent(lag):
    drawn = random.uniform(seeds_of()).numpy()
    assert_uncorrelated(drawn[:-lag], drawn[lag:])
    pairs = (drawn[:-lag] * 16).astype(int) * 16 + (drawn[lag:] * 16).astype(int)
    assert_chi_square(np.bincount(pairs, minlength=256))


@pytest.mark.parametrize(
    "other",
    [
        lambda: seeds_of(epoch=4),
        lambda: seeds_of(seed=8),
        lambda: seeds_of(seed=3, epoch=7),
        lambda: random.fold_in(seeds_of(), "a"),
    ],
    ids=["epoch", "seed", "swapped", "salt"],
)
def test_streams_are_independent(other):
    assert_uncorrelated(random.uniform(seeds_of()).numpy(), random.uniform(other()).numpy())


def test_numbers_of_one_example_are_independent():
    drawn = random.uniform(seeds_of(), [4]).numpy()
    for i, j in [(0, 1), (1, 2), (0, 3)]:
        assert_uncorrelated(drawn[:, i], drawn[:, j])


def test_salts_are_told_apart():
    seeds = seeds_of(1)
    salts = [(), ("a",), ("b",), (1,), ("1",), ("a", "b"), ("b", "a"), ("ab",), ("a", 1)]
    folded = {int(random.fold_in(seeds, *salt)[0, 0]) for salt in salts}
    assert len(folded) == len(salts)
    twice = random.fold_in(random.fold_in(seeds, "a"), "a")
    assert int(twice[0, 0]) not in {int(seeds[0, 0]), *folded}


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda s: random.example_seeds(0.5, 0, tf.range(2)), TypeError, "seed has dtype float32"),
        (lambda s: random.example_seeds(0, True, tf.range(2)), TypeError, "epoch is True"),
        (lambda s: random.example_seeds(0, 0, tf.zeros([2])), TypeError, "indices has dtype float32"),
        (lambda s: random.example_seeds(0, 0, tf.constant(3)), ValueError, r"indices has shape \(\)"),
        (lambda s: random.example_seeds(2**63, 0, tf.range(2)), ValueError, "seed is 9223372036854775808"),
        (lambda s: random.fold_in(s, 1.5), TypeError, "salt is 1.5, of type float"),
        (lambda s: random.fold_in(s, True), TypeError, "salt is True, of type bool"),
        (lambda s: random.fold_in(tf.cast(s, tf.int32), "a"), TypeError, "seeds is of int32"),
        (lambda s: random.fold_in(s[0], "a"), ValueError, r"seeds has shape \(2,\)"),
        (lambda s: random.uniform([[1, 2]]), TypeError, "seeds is of list"),
        (lambda s: random.uniform(s[:, :1]), ValueError, r"seeds has shape \(4, 1\)"),
        (lambda s: random.uniform(s, [], 1.0, 1.0), ValueError, "low=1.0, high=1.0"),
        (lambda s: random.uniform(s, [], 0.0, float("inf")), ValueError, "high=inf"),
        (lambda s: random.uniform(s, [], -3e38, 3e38), ValueError, "finite"),
        (lambda s: random.normal(tf.cast(s, tf.float32)), TypeError, "seeds is of float32"),
        (lambda s: random.normal(s[0]), ValueError, "seeds has shape"),
        (lambda s: random.normal(s, [], float("nan")), ValueError, "mean=nan"),
        (lambda s: random.normal(s, [], 0.0, -1.0), ValueError, "stddev=-1.0"),
        (lambda s: random.integers(tf.cast(s, tf.int32), [], 0, 2), TypeError, "seeds is of int32"),
        (lambda s: random.integers(s[0], [], 0, 2), ValueError, "seeds has shape"),
        (lambda s: random.integers(s, [], 0, 2.5), TypeError, "high has dtype float32"),
        (lambda s: random.integers(s, [], 3, 3), ValueError, "low=3, high=3"),
        (lambda s: random.integers(s, [], 0, 2**31 + 1), ValueError, "int32"),
        (lambda s: random.bernoulli(tf.cast(s, tf.int32), 0.5), TypeError, "seeds is of int32"),
        (lambda s: random.bernoulli(s[0], 0.5), ValueError, "seeds has shape"),
        (lambda s: random.bernoulli(s, 1.5), ValueError, "probability=1.5"),
    ],
)
def test_wrong_arguments_are_named(call, error, match):
    with pytest.raises(error, match=match):
        call(seeds_of(4))
