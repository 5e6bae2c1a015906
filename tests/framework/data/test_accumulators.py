"""That results depend on neither batches nor order, to the last bit, and are what NumPy or exact arithmetic says."""

import fractions
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from framework.data import exact_sums
from framework.data.accumulators import ClassCounts, MissingShare, Moments, Ranges, balancing_weights
from framework.data.counting import Quantiles, Vocabulary, lengths
from framework.data.exact_sums import ExactSum, square

FLOATS = st.floats(-1e12, 1e12) | st.floats(-1e-12, 1e-12) | st.sampled_from([0.0, 1e140, -1e140, 5e-324, 1 / 3])


def divided(values, seed, parts):
    """The rows in another order and in so many batches, some of which may be empty."""
    random = np.random.default_rng(seed)
    places = np.sort(random.integers(0, len(values) + 1, parts - 1))
    return np.split(values[random.permutation(len(values))], places)


def fed(make, batches):
    accumulator = make()
    for batch in batches:
        accumulator.update(batch)
    return accumulator


def bits(result):
    named = result if isinstance(result, dict) else {"": result}
    return {name: (value.dtype, value.shape, value.tobytes()) for name, value in named.items()}


@settings(deadline=None, max_examples=100)
@given(values=arrays.arrays(np.float64, st.integers(0, 40), elements=FLOATS))
def test_sums_are_exact(values):
    exact = ExactSum()
    exact.add(values)
    total, power = exact.units()
    assert int(total.item()) * fractions.Fraction(2) ** power == sum(map(fractions.Fraction, values.tolist()))


@given(values=arrays.arrays(np.float64, 5, elements=st.floats(-1e140, 1e140).filter(lambda v: not 0 < abs(v) < 1e-140)))
def test_squares_have_their_rounding_errors_beside_them(values):
    for value, *parts in zip(values.tolist(), *map(np.ndarray.tolist, square(values)), strict=True):
        assert fractions.Fraction(value) ** 2 == sum(map(fractions.Fraction, parts))


def test_sums_of_a_block_have_a_limit():
    with pytest.raises(ValueError, match="Got 65537 rows at once, expected at most 65536"):
        ExactSum().add(np.zeros(65537))


@settings(deadline=None, max_examples=60)
@given(
    values=arrays.arrays(
        st.sampled_from([np.float64, np.float32, np.float16, np.uint8, np.int16, np.int32, np.int64, np.bool_]),
        st.tuples(st.integers(1, 30), st.integers(1, 3)),
    ),
    per=st.sampled_from(["element", "channel", "feature"]),
    seed=st.integers(0, 99),
    parts=st.integers(1, 6),
)
def test_numbers_don_t_depend_on_batches_workers_or_order(values, per, seed, parts):
    for make in (
        lambda: Moments(per),
        lambda: Ranges(per),
        lambda: Quantiles((0.0, 0.3, 0.5, 1.0)),
        MissingShare,
    ):
        whole = fed(make, [values])
        batches = divided(values, seed, parts)
        assert bits(fed(make, batches).result()) == bits(whole.result())
        merged = make()
        for batch in batches:  # each by a worker of its own
            merged.merge(fed(make, [batch]))
        assert bits(merged.result()) == bits(whole.result())


@settings(deadline=None, max_examples=60)
@given(values=arrays.arrays(np.float64, st.integers(1, 30), elements=FLOATS))
def test_moments_are_correctly_rounded(values):
    values = values[np.abs(values) < 1e38]
    if not len(values):
        return
    mean, deviation = fed(Moments, [values]).exact()
    exact = [fractions.Fraction(value) for value in values.tolist()]
    expected = sum(exact) / len(exact)
    variance = sum((value - expected) ** 2 for value in exact) / len(exact)
    assert mean.item() == float(expected)
    assert deviation.item() == math.sqrt(float(variance))


def test_moments_of_numbers_far_from_zero():
    mean, deviation = fed(Moments, [np.array([1e15 + 1, 1e15 + 2, 1e15 + 3])]).exact()
    assert mean == 1e15 + 2
    assert deviation == math.sqrt(2 / 3)
    _, deviation = fed(Moments, [np.array([2**31 - 1, 2**31 - 3], np.int32)]).exact()
    assert deviation == 1.0


def test_moments_of_many_rows_are_numpy_s():
    values = np.random.default_rng(0).normal(3.0, 2.0, (70_000, 2))
    mean, deviation = fed(Moments, [values]).exact()
    np.testing.assert_allclose(mean, values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(deviation, values.std(0), rtol=1e-13)


def test_moments_of_images_by_channel():
    images = np.random.default_rng(0).integers(0, 256, (7, 5, 4, 3), dtype=np.uint8)
    learned = fed(lambda: Moments("channel"), [images[:3], images[3:]]).result()
    np.testing.assert_allclose(learned["mean"], images.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(learned["deviation"], images.std((0, 1, 2)), rtol=1e-6)
    assert fed(lambda: Moments("feature"), [images]).result()["mean"].shape == ()
    assert fed(lambda: Moments("channel"), [np.arange(4.0)]).result()["mean"] == 1.5


def test_missing_numbers_don_t_count():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.inf, np.nan]], np.float32)
    learned = fed(Moments, [values]).result()
    np.testing.assert_array_equal(learned["mean"], [2.0, 0.0])
    np.testing.assert_array_equal(learned["deviation"], [1.0, 1.0])
    assert fed(Moments, [np.array([1e200, 2.0])]).result()["mean"] == 2.0
    assert fed(MissingShare, [values]).result()["missing"] == 0.5
    ranges = fed(Ranges, [values]).result()
    np.testing.assert_array_equal(ranges["min"], [1.0, np.nan])
    np.testing.assert_array_equal(ranges["max"], [np.inf, np.nan])
    assert fed(lambda: Quantiles([1.0]), [values]).result()["quantiles"] == np.inf


def test_nothing_seen():
    assert Moments().result() == {"mean": 0.0, "deviation": 1.0}
    assert np.isnan(Ranges().result()["min"])
    assert np.isnan(Quantiles([0.5]).result()["quantiles"]).all()
    assert MissingShare().result()["missing"] == 0.0
    assert Vocabulary().result().tolist() == []


@pytest.mark.parametrize("make", [Moments, Ranges, lambda: Quantiles([0.5]), MissingShare, lambda: ClassCounts(3)])
def test_a_worker_that_has_seen_nothing_changes_nothing(make):
    values = np.array([2, 1, 2])
    alone = bits(fed(make, [values]).result())
    for one, other in ((fed(make, [values]), make()), (make(), fed(make, [values]))):
        one.merge(other)
        assert bits(one.result()) == alone


def test_zeros_have_no_sign():
    for values in ([0.0, -0.0], [-0.0, 0.0], [-0.0]):
        ranges = fed(Ranges, [np.array(values, np.float16)]).result()
        assert [np.signbit(ranges[name]).item() for name in ("min", "max")] == [False, False]
        assert ranges["min"].dtype == np.float16


def test_ranges_keep_their_dtype():
    ranges = fed(Ranges, [np.array([[3, 200]], np.uint8), np.array([[7, 100]], np.uint8)]).result()
    assert (ranges["min"].tolist(), ranges["max"].tolist(), ranges["max"].dtype) == ([3, 100], [7, 200], np.uint8)


@settings(deadline=None, max_examples=60)
@given(
    values=arrays.arrays(np.float64, st.integers(1, 60), elements=FLOATS),
    shares=st.lists(st.floats(0, 1).map(lambda share: round(share, 3)), min_size=1, max_size=4),
)
def test_quantiles_are_numpy_s_up_to_their_bin(values, shares):
    found = fed(lambda: Quantiles(shares), [values]).result()["quantiles"]
    expected = np.quantile(values, shares, method="inverted_cdf")
    assert (np.abs(found - expected) <= np.abs(expected) / 1024 + 1e-300).all()  # subnormals have fewer bits


@settings(deadline=None, max_examples=40)
@given(
    values=st.sampled_from([(np.int64, -2047, 2047), (np.int16, -2047, 2047), (np.uint8, 0, 255)]).flatmap(
        lambda kind: arrays.arrays(kind[0], st.integers(1, 60), elements=st.integers(*kind[1:]))
    ),
    shares=st.lists(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.9, 1.0]), min_size=1, max_size=4),
)
def test_quantiles_of_small_integers_are_exact(values, shares):
    found = fed(lambda: Quantiles(shares), [values]).result()["quantiles"]
    np.testing.assert_array_equal(found, np.quantile(values, shares, method="inverted_cdf"))


def test_lengths_of_texts_and_sequences():
    assert lengths(np.array(["a", b"\xc3\xbc", ""], object)).tolist() == [1, 2, 0]
    assert lengths(np.array([[b"a", b"", b"b", b""], [b"", b"", b"", b""]], object)).tolist() == [3, 0]
    assert lengths(np.array([[0, 7, 0], [1, 2, 3]])).tolist() == [2, 3]
    assert lengths(np.array([[[0, 0], [0, 0.5], [0, 0]]])).tolist() == [2]
    assert lengths(np.zeros((2, 0))).tolist() == lengths(np.zeros((2, 0, 3))).tolist() == [0, 0]
    texts = np.array([b"x" * length for length in range(1, 101)], object)
    found = fed(lambda: Quantiles((0.5, 0.95, 1.0), of=lengths, name="lengths"), [texts]).result()
    assert found["lengths"].tolist() == [50, 95, 100]


@settings(deadline=None, max_examples=40)
@given(
    values=st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60),
    seed=st.integers(0, 99),
    parts=st.integers(1, 5),
    max_size=st.none() | st.integers(1, 7),
)
def test_vocabularies_don_t_depend_on_batches_workers_or_order(values, seed, parts, max_size):
    values = np.asarray(values, object)
    whole = fed(lambda: Vocabulary(max_size), [values]).result()
    ranked = sorted(set(values), key=lambda value: (-(values == value).sum(), value))[:max_size]
    assert whole.tolist() == ranked
    merged = Vocabulary(max_size)
    for batch in divided(values, seed, parts):
        merged.merge(fed(Vocabulary, [batch]))
    assert bits(merged.result()) == bits(whole)


def test_vocabularies_of_tokens_and_of_what_is_frequent():
    import tensorflow as tf

    texts = [np.array([b"The cat", b"the DOG the"], object), np.array([b"", b"a dog"], object)]
    split = lambda text: tf.strings.split(tf.strings.lower(text))  # noqa: E731
    assert fed(lambda: Vocabulary(tokens=split), texts).result().tolist() == ["the", "dog", "a", "cat"]
    assert fed(lambda: Vocabulary(tokens=split, min_count=2), texts).result().tolist() == ["the", "dog"]
    assert fed(lambda: Vocabulary(ignore=["", "The cat"]), texts).result().tolist() == ["a dog", "the DOG the"]
    assert fed(lambda: Vocabulary(ignore=[0]), [np.array([[3, 0], [0, 0]])]).result().tolist() == [3]
    mixed = fed(Vocabulary, [np.array(["ü", "ü".encode()], object)])
    assert mixed.counts == [("ü".encode(), 2)]
    with pytest.raises(ValueError, match=r"max_size must be in \[1, capacity=10\], got 11"):
        Vocabulary(11, capacity=10)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), capacity=st.integers(2, 20), merged=st.booleans())
def test_memory_of_vocabularies_is_bounded_and_so_is_their_error(seed, capacity, merged):
    values = np.random.default_rng(seed).zipf(1.4, 2000) % 200
    small = Vocabulary(capacity=capacity)
    for batch in np.split(values, 20):
        if merged:
            small.merge(fed(lambda: Vocabulary(capacity=capacity), [batch]))
        else:
            small.update(batch)
        assert len(small.counts) <= capacity
    assert small.error <= 2000 / (capacity // 2 + 1) * (2 if merged else 1)
    for value in range(200):
        true = int((values == value).sum())
        assert true - small.error <= dict(small.counts).get(value, 0) <= true


def test_forgetting_is_logged(caplog):
    fed(lambda: Vocabulary(capacity=10), [np.arange(10)])
    assert not caplog.records
    fed(lambda: Vocabulary(capacity=10), [np.arange(20)]).result()
    assert "more than 10 different values" in caplog.text


def test_what_isn_t_utf_8_is_out_of_vocabulary(caplog):
    values = np.array([b"\xff", b"\xff", "ü".encode(), b"b"], object)
    assert fed(lambda: Vocabulary(2), [values]).result().tolist() == ["b", "ü"]
    assert r"1 values, such as b'\xff', aren't UTF-8" in caplog.text


def test_class_counts_and_weights():
    learned = fed(lambda: ClassCounts(4), [np.array([0, 0, 0]), np.array([2])]).result()
    assert learned["counts"].tolist() == [3, 0, 1, 0]
    np.testing.assert_allclose(learned["weights"], [2 / 3, 0, 2, 0])
    assert learned["weights"].dtype == np.float32
    several = fed(lambda: ClassCounts(2), [np.array([[1, 0], [1, 1]])])
    several.merge(fed(lambda: ClassCounts(2), [np.array([[0, 1]])]))
    assert several.result()["counts"].tolist() == [2, 2]
    with pytest.raises(ValueError, match=r"There is a label 4; class ids are in \[0, 4\)"):
        ClassCounts(4).update(np.array([4]))
    assert balancing_weights(np.zeros(2)).tolist() == [0, 0]


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match="per must be 'element', 'channel' or 'feature', got 'pixel'"):
        Moments("pixel")
    with pytest.raises(TypeError, match="Expected numbers or booleans, got an array of object"):
        Moments().update(np.array([b"a"], object))
    for shares in ((), (0.5, 1.5)):
        with pytest.raises(ValueError, match=r"Quantiles are shares in \[0, 1\]"):
            Quantiles(shares)


def test_blocks_are_all_rows_in_order():
    for shape in ((100_000,), (7, 3, 50_000), (0, 4), (5, 0)):
        rows = np.arange(np.prod(shape)).reshape(shape)
        parts = list(exact_sums.blocks(rows))
        assert sum(map(len, parts)) == len(rows)
        if rows.size:
            np.testing.assert_array_equal(np.concatenate(parts), rows)
