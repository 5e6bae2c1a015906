import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from framework import report
from framework.report import canvas, histograms

NAN, INF = float("nan"), float("inf")


def read(path):
    """Returns float32 [height, width, 3] in [0, 1]."""
    return matplotlib.image.imread(path)[..., :3]


def count(pixels, colour):
    """Returns how many pixels have exactly the colour."""
    return int(np.all(np.abs(pixels - np.float32(matplotlib.colors.to_rgb(colour))) < 0.004, axis=-1).sum())


@pytest.fixture
def draw(tmp_path):
    def draw(*samples):
        return read(report.feature_sheet(samples, tmp_path / "features.png"))

    return draw


@pytest.fixture
def notes(monkeypatch):
    """What is written around the histograms."""
    written = []
    write = canvas.write
    monkeypatch.setattr(canvas, "write", lambda *a, **style: (written.append(a[3]), write(*a, **style))[1])
    return written


@pytest.mark.parametrize(("num_features", "grid"), [(1, (1, 1)), (4, (2, 2)), (10, (3, 4)), (70, (15, 4))])
def test_one_panel_per_feature(draw, notes, num_features, grid):
    features = {f"x{index}": np.arange(5) for index in range(num_features)}
    height, width = draw(("train", features)).shape[:2]
    inches = histograms._HEADER + grid[0] * histograms._HEIGHT + histograms._FOOTER
    assert height == int(inches * canvas.DPI + 1e-6)
    assert width == int(max(grid[1] * histograms._WIDTH, 4) * canvas.DPI)
    left_out = [note for note in notes if note.startswith("not drawn")]
    assert left_out == (
        ["not drawn: " + ", ".join(f"x{index}" for index in range(60, 70))] if num_features > 60 else []
    )


def test_samples_have_their_colours(draw):
    random = np.random.default_rng(0)
    pixels = draw(("train", {"x": random.normal(0, 1, 99)}), ("validation", {"x": random.normal(5, 1, 99)}))
    assert count(pixels, canvas.PALETTE[0]) > 200
    assert count(pixels, canvas.PALETTE[1]) > 200
    assert count(pixels, canvas.PALETTE[2]) == 0
    middle = pixels.shape[1] // 2
    body = pixels[int(histograms._HEADER * canvas.DPI) + 30 :]
    assert count(body[:, :150], canvas.PALETTE[0]) > count(body[:, :150], canvas.PALETTE[1])
    assert count(body[:, middle:], canvas.PALETTE[1]) > count(body[:, middle:], canvas.PALETTE[0])


def test_size_of_a_sample_does_not_matter(draw):
    values = np.arange(40)
    assert np.array_equal(draw(("a", {"x": values})), draw(("a", {"x": np.repeat(values, 3)})))


def test_pixels_follow_the_data(draw):
    first, other = np.random.default_rng(0).normal(size=(2, 200))
    assert np.array_equal(draw(("a", {"x": first})), draw(("a", {"x": first[::-1]})))
    assert (draw(("a", {"x": first})) != draw(("a", {"x": other}))).any()


def test_whole_numbers_have_a_bin_each():
    edges = histograms._edges([np.array([0.0, 3.0]), np.array([1.0])], whole=True)
    assert edges.tolist() == [-0.5, 0.5, 1.5, 2.5, 3.5]


@pytest.mark.parametrize(("num_values", "num_bins"), [(2, 8), (1000, 20), (1_000_000, 40)])
def test_bins_grow_with_the_smallest_sample(num_values, num_bins):
    large = np.linspace(-1, 1, 1_000_000)
    assert len(histograms._edges([large, np.linspace(-1, 1, num_values)], whole=False)) == num_bins + 1


def test_constant_values_are_in_the_middle_bin():
    edges = histograms._edges([np.full(9, 4.0)], whole=False)
    counts, _ = np.histogram(np.full(9, 4.0), edges)
    assert len(counts) % 2 == 1
    assert counts[len(counts) // 2] == 9


@pytest.mark.parametrize("kind", ["normal", "exponential", "uniform"])
def test_ordinary_tails_are_not_cut(kind):
    values = getattr(np.random.default_rng(0), kind)(size=100_000)
    edges = histograms._edges([values], whole=False)
    assert (edges[0], edges[-1]) == (values.min(), values.max())


def test_long_tails_are_cut_and_noted(draw, notes):
    values = np.append(np.linspace(0, 1, 999), 3.4e38)
    edges = histograms._edges([values], whole=False)
    assert edges[0] == 0
    assert 1 < edges[-1] < 2
    draw(("train", {"x": values}))
    assert "0.1% beyond the axis" in notes


def test_missing_and_infinite_values_are_noted(draw, notes):
    draw(("a", {"x": np.array([1.0, 2.0, NAN, 3.0])}), ("b", {"x": np.array([1.0, INF, 2.0, NAN, NAN])}))
    assert "up to 40.0% NaN, up to 20.0% infinite" in notes


def test_feature_without_a_finite_value(draw, notes):
    draw(("a", {"x": np.array([NAN, NAN])}))
    assert "100.0% NaN" in notes


def test_what_is_not_numeric_is_named(draw, notes):
    draw(("a", {"x": np.arange(3), "city": np.array(["a", "b", "c"]), "raw": np.array([b"a", b"b", b"c"])}))
    assert notes[-1] == "not drawn: city, raw"


def test_feature_may_be_missing_from_a_sample(draw):
    pixels = draw(("a", {"x": np.arange(3), "y": np.arange(3)}), ("b", {"y": np.arange(3), "z": np.arange(3)}))
    assert pixels.shape[1] == int(3 * histograms._WIDTH * canvas.DPI)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.int64, np.uint8, bool])
def test_dtypes_and_shapes(draw, dtype):
    values = np.array([[0, 1], [1, 1]], dtype)
    assert np.array_equal(draw(("a", {"x": values})), draw(("a", {"x": values.ravel()})))


@pytest.mark.parametrize("num_samples", [0, 7])
def test_number_of_samples(draw, num_samples):
    with pytest.raises(ValueError, match=rf"Got {num_samples} samples, expected 1 to 6: .*Draw several sheets"):
        draw(*[("a", {"x": np.arange(3)})] * num_samples)


def test_nothing_numeric(draw):
    with pytest.raises(ValueError, match=r"Got no numeric feature among \['city'\], expected at least one\. Pass"):
        draw(("a", {"city": np.array(["a"])}))
