import matplotlib.image
import numpy as np
import pytest

from framework import report
from framework.report import canvas, confusion


def read(path):
    """Returns float32 [height, width, 3] in [0, 1]."""
    return matplotlib.image.imread(path)[..., :3]


def names(num_classes):
    return [f"class {index}" for index in range(num_classes)]


@pytest.mark.parametrize("num_classes", [1, 2, 10, 137])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.uint64])
def test_counts_match_a_loop(num_classes, dtype):
    random = np.random.default_rng(num_classes)
    labels, predictions = random.integers(0, num_classes, (2, 500)).astype(dtype)
    expected = np.zeros((num_classes, num_classes), np.int64)
    for label, prediction in zip(labels, predictions, strict=True):
        expected[int(label), int(prediction)] += 1
    counts = report.count_confusions(labels, predictions, num_classes)
    assert counts.dtype == np.int64
    np.testing.assert_array_equal(counts, expected)


def test_rows_are_true_classes():
    assert report.count_confusions([0, 0, 0], [1, 1, 0], 2).tolist() == [[1, 2], [0, 0]]


def test_no_examples_are_counted_as_zeros():
    assert report.count_confusions([], [], 3).tolist() == [[0] * 3] * 3


def test_booleans_are_classes_zero_and_one():
    assert report.count_confusions(np.array([True, False]), np.array([True, True]), 2).tolist() == [
        [0, 1],
        [0, 1],
    ]


def dark_cells(pixels, num_classes):
    """Returns bool [num_classes, num_classes]: whether a cell's upper left quarter is dark."""
    side = min(max(0.45 * num_classes, 2.7), 7.5) * canvas.DPI
    left = (0.5 + max(canvas.text_width(name) for name in names(num_classes))) * canvas.DPI
    places = (np.arange(num_classes) + 0.25) / num_classes * side
    rows, columns = (0.5 * canvas.DPI + places).astype(int), (left + places).astype(int)
    return pixels[np.ix_(rows, columns)][..., 0] < 0.2


@pytest.mark.parametrize("num_classes", [1, 2, 3, 10, 25, 26, 100])
def test_cells_are_where_they_belong(tmp_path, num_classes):
    labels = np.arange(num_classes)
    predictions = (labels + 2) % num_classes
    path = report.confusion_matrix(labels, predictions, tmp_path / "m.png", class_names=names(num_classes))
    expected = report.count_confusions(labels, predictions, num_classes) == 1
    np.testing.assert_array_equal(dark_cells(read(path), num_classes), expected)


def test_more_cells_than_pixels(tmp_path):
    labels = np.arange(1200)
    path = report.confusion_matrix(labels, labels, tmp_path / "m.png", class_names=names(1200))
    dark = dark_cells(read(path), 1200)
    # A cell is 0.9 pixels wide, so rounding may put it a few places beside its own, the last ones under the frame.
    assert all(dark[index, max(index - 5, 0) : index + 6].any() for index in labels[:-5])
    assert not np.triu(dark, 6).any()
    assert not np.tril(dark, -6).any()


def test_cells_that_share_a_pixel_show_the_darkest():
    shares = np.ma.masked_array(np.zeros((2001, 2001)))
    shares[7, 1999] = 0.5
    shares[3:6] = np.ma.masked
    pixels = confusion._darkest(shares)
    assert pixels.shape == (667, 667)
    assert np.argwhere(pixels.filled(0)).tolist() == [[2, 666]]
    assert np.flatnonzero(pixels.mask.any(axis=1)).tolist() == [1]


def test_pixels_follow_the_counts(tmp_path):
    labels, predictions = np.repeat(np.arange(3), 10), np.repeat(np.arange(3), 10)
    before = read(report.confusion_matrix(labels, predictions, tmp_path / "m.png", class_names=names(3)))
    predictions[4] = 2
    after = read(report.confusion_matrix(labels, predictions, tmp_path / "m.png", class_names=names(3)))
    assert before.shape == after.shape
    assert (before != after).any()


def test_class_without_examples_is_grey(tmp_path):
    pixels = read(report.confusion_matrix([0, 0], [0, 1], tmp_path / "m.png", class_names=["a", "b"]))
    grey = np.abs(pixels - np.float32(0xE4 / 255)).max(axis=-1) < 0.004
    assert grey.sum() > 0.3 * (2.7 * canvas.DPI) ** 2
    # The second row, below a header of half an inch.
    assert np.median(np.nonzero(grey)[0]) == pytest.approx((0.5 + 2.7 * 0.75) * canvas.DPI, abs=3)


def test_counts_are_written_for_few_classes_only(tmp_path, monkeypatch):
    written = []
    monkeypatch.setattr(confusion, "_write_counts", lambda axes, counts, cell_points: written.append(len(counts)))
    for num_classes in (25, 26):
        labels = np.arange(num_classes)
        report.confusion_matrix(labels, labels, tmp_path / "m.png", class_names=names(num_classes))
    assert written == [25]


@pytest.mark.parametrize(("num_classes", "step"), [(2, 1), (25, 1), (26, 2), (50, 2), (51, 5), (100, 5), (1000, 50)])
def test_names_are_thinned(num_classes, step):
    assert confusion._tick_step(num_classes) == step


def test_worst_confusions_are_listed_most_frequent_first():
    counts = np.diag([90, 90, 90, 90])
    counts[2, 0], counts[0, 3], counts[3, 1], counts[1, 0] = 7, 30, 7, 1
    assert confusion._worst(counts) == [(0, 3), (2, 0), (3, 1), (1, 0)]
    assert confusion._worst(np.eye(30, dtype=np.int64)) == []
    assert len(confusion._worst(np.ones((30, 30), np.int64))) == 12


def test_large_counts_fit(tmp_path):
    labels = np.zeros(250_000, np.int64)
    assert report.confusion_matrix(labels, labels, tmp_path / "m.png", class_names=names(20)).exists()


def test_picture_without_examples(tmp_path):
    with pytest.raises(ValueError, match=r"Got no examples, expected at least one\. Pass"):
        report.confusion_matrix([], [], tmp_path / "m.png", class_names=["a", "b"])


def test_class_names_as_one_string(tmp_path):
    with pytest.raises(TypeError, match=r"Got the string 'cat' as class_names, expected a sequence.*Pass \['cat'"):
        report.confusion_matrix([0], [0], tmp_path / "m.png", class_names="cat")


def test_no_classes(tmp_path):
    with pytest.raises(ValueError, match=r"Got num_classes=0, expected at least 1\."):
        report.count_confusions([], [], 0)


def test_different_lengths():
    with pytest.raises(ValueError, match=r"Got 3 labels and 2 predictions, expected as many.*same examples"):
        report.count_confusions([0, 1, 1], [0, 1], 2)


@pytest.mark.parametrize(("bad", "position"), [(-1, 1), (3, 0)])
def test_ids_outside_the_classes(bad, position):
    predictions = np.zeros(2, np.int64)
    predictions[position] = bad
    with pytest.raises(ValueError, match=rf"Got {bad} among the predictions, at position {position}, .*from 0 to 2"):
        report.count_confusions(np.zeros(2, np.int64), predictions, 3)


def test_probabilities_instead_of_ids():
    with pytest.raises(ValueError, match=r"predictions of shape \(2, 3\), .*Pass predictions\.argmax\(axis=-1\)"):
        report.count_confusions(np.zeros(2, np.int64), np.zeros((2, 3)), 3)


def test_column_instead_of_ids():
    with pytest.raises(ValueError, match=r"labels of shape \(2, 1\), .*Pass labels\.reshape\(-1\)"):
        report.count_confusions(np.zeros((2, 1), np.int64), np.zeros(2, np.int64), 3)


@pytest.mark.parametrize("values", [np.zeros(2), np.array(["a", "b"])])
def test_ids_of_another_type(values):
    with pytest.raises(TypeError, match=rf"labels of dtype {values.dtype}, expected integer.*astype\('int64'\)"):
        report.count_confusions(values, np.zeros(2, np.int64), 3)
