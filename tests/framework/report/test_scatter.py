import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from framework import report
from framework.report import canvas, scatter

NAN, INF = float("nan"), float("inf")


@pytest.fixture
def draw(tmp_path):
    def draw(targets, predictions, **arguments):
        path = report.predicted_against_true(targets, predictions, tmp_path / "scatter.png", **arguments)
        return matplotlib.image.imread(path)[..., :3]

    return draw


@pytest.fixture
def notes(monkeypatch):
    """What is written above the picture."""
    written = []
    write = canvas.write
    monkeypatch.setattr(canvas, "write", lambda *a, **style: (written.append(a[3]), write(*a, **style))[1])
    return written


def test_title_has_the_scores(draw, notes):
    true, predicted = np.random.default_rng(0).normal(size=(2, 50))
    mean = sum(true) / 50
    explained = 1 - sum((y - f) ** 2 for y, f in zip(true, predicted, strict=True)) / sum((y - mean) ** 2 for y in true)
    error = sum(abs(y - f) for y, f in zip(true, predicted, strict=True)) / 50
    draw(true, predicted)
    assert notes[0] == f"R² = {explained:.4f}    MAE = {error:.4g}"
    assert notes[1].startswith("50 examples")


def test_perfect_predictions(draw, notes):
    draw([1.0, 2.0, 4.0], [1.0, 2.0, 4.0])
    assert notes[0] == "R² = 1.0000    MAE = 0"


def test_equal_targets_have_no_r_squared(draw, notes):
    draw([2.0, 2.0], [1.0, 2.0])
    assert notes[0] == "R² undefined, all true values are equal    MAE = 0.5"


def test_pairs_that_are_not_finite_are_left_out_and_counted(draw, notes):
    clean = draw([1.0, 2.0, 3.0], [1.1, 2.1, 2.9])
    scores = notes[0]
    notes.clear()
    holed = draw([1.0, NAN, 2.0, 3.0, 5.0, INF], [1.1, 7.0, 2.1, 2.9, -INF, 1.0])
    assert notes[0] == scores
    assert "3 examples" in notes[1]
    assert "3 not finite, left out" in notes[1]
    below_the_title = np.s_[80:]
    assert np.array_equal(clean[below_the_title], holed[below_the_title])


def test_points_are_where_they_belong(draw):
    pixels = draw([0.0, 10.0, 0.0], [0.0, 10.0, 10.0])
    height = pixels.shape[0]
    left, side, margin = 0.8 * canvas.DPI, scatter._SIDE * canvas.DPI, 0.04 / 1.08
    row, column = height - (0.5 * canvas.DPI + side * (1 - margin)), left + side * margin
    assert pixels[round(row), round(column), 0] < 0.8  # true 0, predicted 10: upper left
    row, column = height - (0.5 * canvas.DPI + side * margin), left + side * (1 - margin)
    assert pixels[round(row) - 6 : round(row) + 6, round(column) - 6 : round(column) + 6].min() > 0.9


def test_identity_line_is_the_diagonal(draw):
    pixels = draw([0.0, 10.0], [10.0, 0.0])
    line = np.abs(pixels - np.float32(matplotlib.colors.to_rgb(canvas.VERMILLION))).max(axis=-1) < 0.2
    rows, columns = np.nonzero(line)
    slope, _ = np.polyfit(columns, -rows, 1)
    assert slope == pytest.approx(1, abs=0.01)


def test_pixels_follow_the_data(draw):
    first, again, other = draw([1, 2, 3], [1, 2, 3]), draw([1, 2, 3], [1, 2, 3]), draw([1, 2, 3], [1, 3, 2])
    assert np.array_equal(first, again)
    assert (first != other).any()


def test_many_points_are_counted_in_hexagons(draw):
    true = np.random.default_rng(0).normal(size=3001)
    few, many = draw(true[:3000], true[:3000]), draw(true, true)
    assert few.shape[0] == many.shape[0] == int((scatter._SIDE + 1.05) * canvas.DPI)
    assert many.shape[1] == few.shape[1] + int(0.75 * canvas.DPI)


@pytest.mark.parametrize("values", [[1e-9, 2e-9], [1e9, 3e9], [-5.0, -4.0], [7.0, 7.0], [0.0, 0.0], [1e8, 1e8 + 1]])
def test_ranges_far_from_one(draw, values):
    assert draw(values, values, name="y").min() < 0.5


def test_many_equal_points(draw):
    assert draw(np.zeros(4000), np.zeros(4000)).min() < 0.5


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int8, np.uint64, bool])
def test_columns_and_dtypes(draw, dtype):
    values = np.array([0, 1, 1], dtype)
    assert np.array_equal(draw(values[:, np.newaxis], values), draw(values, values))


def test_name_is_written_on_the_axes(draw):
    assert (draw([1.0, 2.0], [1.0, 2.0], name="price (EUR)") != draw([1.0, 2.0], [1.0, 2.0])).any()


def test_several_outputs(draw):
    with pytest.raises(ValueError, match=r"Got targets of shape \(3, 2\), expected .*one picture for each output"):
        draw(np.zeros((3, 2)), np.zeros((3, 2)))


def test_different_lengths(draw):
    with pytest.raises(ValueError, match=r"Got 2 targets and 3 predictions, expected as many.*same examples"):
        draw([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize("values", [[], [NAN, NAN]])
def test_nothing_finite(draw, values):
    with pytest.raises(ValueError, match=rf"Got {len(values)} pairs of which none is finite, expected at least one"):
        draw(np.array(values), np.array(values))


def test_values_of_another_type(draw):
    with pytest.raises(TypeError, match=r"Got predictions of dtype <U1, expected real numbers.*astype\('float32'\)"):
        draw([1.0, 2.0], ["a", "b"])
