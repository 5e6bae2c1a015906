import tracemalloc

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from framework.data.series import Columns, Series
from framework.data.windows import Window, WindowSource, split_rows

VALUES = np.arange(60.0).reshape(20, 3)


def source(length=4, label_rows=(4, 5), targets=(2, 0), stride=3):
    window = Window(length, label_rows, stride)
    starts = window.starts(0, 20)
    return WindowSource(Columns(VALUES, (0, 1)), Columns(VALUES, targets), window, starts)


def test_a_window_and_what_follows_it():
    windows = source()
    assert windows.num_examples == 5
    example = windows.gather(tf.constant([1, 4], tf.int64))
    np.testing.assert_array_equal(example.features["window"], [VALUES[3:7, :2], VALUES[12:16, :2]])
    np.testing.assert_array_equal(example.labels, [VALUES[7:9][:, [2, 0]].ravel(), VALUES[16:18][:, [2, 0]].ravel()])
    assert example.features["window"].dtype == example.labels.dtype == tf.float32
    assert windows.spec.labels.shape.as_list() == [None, 4]
    assert windows.place(4) == "rows 12 to 17"


def test_one_number_is_a_label_without_an_axis():
    windows = source(label_rows=(3,), targets=(1,))
    np.testing.assert_array_equal(windows.gather(tf.constant([0], tf.int64)).labels, [VALUES[3, 1]])
    ids = WindowSource(
        windows.inputs, Columns(np.arange(20)[:, np.newaxis], (0,)), windows.window, [5], label_dtype="int64"
    )
    assert ids.gather(tf.constant([0], tf.int64)).labels.numpy().tolist() == [8]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 8), st.lists(st.integers(0, 10), min_size=1, max_size=3), st.integers(1, 5), st.integers(0, 10),
    st.integers(0, 40), st.sets(st.integers(0, 49)),
)  # fmt: skip
def test_windows_stay_within_their_rows_and_shun_missing_ones(length, label_rows, stride, first, size, missing):
    window = Window(length, tuple(label_rows), stride)
    starts = window.starts(first, first + size, missing=np.array(sorted(missing), np.int64))
    rows = [set(range(length)) | set(label_rows)]
    span = max(rows[0]) + 1
    expected = [
        start
        for start in range(first, first + size - span + 1, stride)
        if not missing & set(range(start, start + span))
    ]
    assert starts.tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.integers(3, 10_000), st.floats(0.05, 0.4), st.floats(0.05, 0.4))
def test_splits_are_consecutive_and_whole(num_rows, validation, test):
    rows = split_rows(num_rows, {"train": 1 - validation - test, "validation": validation, "test": test})
    assert list(rows) == ["train", "validation", "test"]
    borders = [0, *(last for _, last in rows.values())]
    assert borders[-1] == num_rows
    assert [first for first, _ in rows.values()] == borders[:-1]
    assert abs(rows["test"][1] - rows["test"][0] - test * num_rows) < 1


def test_examples_can_be_left_out():
    windows = source()
    fewer = windows.without([0, 3])
    assert [fewer.place(index) for index in range(3)] == [windows.place(index) for index in (1, 2, 4)]
    assert fewer.fingerprint() != windows.fingerprint()


def test_the_fingerprint_is_that_of_what_is_used():
    assert source().fingerprint() == source().fingerprint()
    assert source().fingerprint() != source(targets=(2, 1)).fingerprint()
    assert source().fingerprint() != source(stride=2).fingerprint()
    windows = source()
    changed = VALUES.copy()
    changed[3, 2] = -1.0
    other = WindowSource(windows.inputs, Columns(changed, (2, 0)), windows.window, windows.starts)
    assert other.fingerprint() != windows.fingerprint()


def test_windows_beyond_the_series_are_refused():
    windows = source()
    for starts in ([15], [-1], []):
        with pytest.raises(ValueError, match=r"A series of 20 rows has no such windows of 6 rows"):
            WindowSource(windows.inputs, windows.targets, windows.window, starts)


@pytest.mark.parametrize("wrong", [{"length": 0}, {"stride": 0}, {"label_rows": ()}, {"label_rows": (-1,)}])
def test_what_is_no_window_is_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        Window(**{"length": 3, "label_rows": (3,), **wrong})


def test_memory_does_not_grow_with_the_file(tmp_path):
    # 1.6 GB that take no disk: nothing but the rows asked for may be read.
    path = tmp_path / "sparse.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (400_000, 1000)).flush()
    tracemalloc.start()
    columns = Series(path).numbers(["column_3", "column_7"])
    windows = WindowSource(columns, columns, Window(24, (24,)), np.arange(0, 390_000, 100))
    assert windows.gather(tf.constant([0, 1000, 3899], tf.int64)).features["window"].shape == (3, 24, 2)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 50e6
