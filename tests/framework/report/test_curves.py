import matplotlib.colors
import matplotlib.image
import numpy as np
import pytest

from framework import report
from framework.report import canvas, curves

NAN, INF = float("nan"), float("inf")


def read(path):
    """Returns float32 [height, width, 3] in [0, 1]."""
    return matplotlib.image.imread(path)[..., :3]


def count(pixels, colour):
    """Returns how many pixels have exactly the colour."""
    return int(np.all(np.abs(pixels - np.float32(matplotlib.colors.to_rgb(colour))) < 0.004, axis=-1).sum())


@pytest.fixture
def draw(tmp_path):
    def draw(history, **arguments):
        return read(report.learning_curves(history, tmp_path / "curves.png", **arguments))

    return draw


@pytest.fixture
def history():
    epochs = np.arange(20)
    return {
        "accuracy": list(1 - 0.7 * np.exp(-epochs / 4)),
        "loss": list(2 * np.exp(-epochs / 4)),
        "val_accuracy": list(0.95 - 0.65 * np.exp(-epochs / 4)),
        "val_loss": list(0.1 + 1.8 * np.exp(-epochs / 4)),
        "learning_rate": [1e-3] * 20,
    }


@pytest.mark.parametrize(("num_quantities", "grid"), [(1, (1, 1)), (3, (1, 3)), (4, (2, 2)), (7, (3, 3)), (13, (4, 4))])
def test_one_panel_per_quantity(draw, num_quantities, grid):
    history = {}
    for index in range(num_quantities):
        history |= {f"metric_{index}": [0.0, 1.0], f"val_metric_{index}": [0.0, 2.0]}
    height, width = draw(history).shape[:2]
    assert height == int(grid[0] * curves._HEIGHT * canvas.DPI)
    assert width == int(grid[1] * curves._WIDTH * canvas.DPI)


def test_loss_comes_first_and_learning_rate_last(history):
    series = curves._as_arrays({"lr": [1.0], "learning_rate": [1.0], **{k: v[:1] for k, v in history.items()}})
    assert list(curves._panels(series)) == ["loss", "accuracy", "lr", "learning_rate"]
    assert [curve.name for curve in curves._panels(series)["loss"]] == ["train", "validation"]


def test_both_curves_are_drawn_in_their_colours(draw, history):
    both = draw({"loss": history["loss"], "val_loss": history["val_loss"]})
    assert count(both, canvas.BLUE) > 200
    assert count(both, canvas.VERMILLION) > 200


def test_validation_may_be_missing_or_alone(draw, history):
    train = draw({"loss": history["loss"]})
    assert count(train, canvas.BLUE) > 200
    assert count(train, canvas.VERMILLION) == 0
    validation = draw({"val_loss": history["val_loss"]})
    assert count(validation, canvas.BLUE) == 0
    assert count(validation, canvas.VERMILLION) > 200


def test_pixels_follow_the_data(draw, history):
    before = draw(history)
    assert np.array_equal(draw(history), before)
    history["val_loss"][7] += 0.5
    changed = np.abs(draw(history) - before).max(axis=-1) > 0.1
    width = before.shape[1] // 3
    assert changed[:, :width].any()
    assert not changed[:, width:].any()


def test_best_epoch_is_marked_where_it_is(draw):
    plain = draw({"loss": [1.0] * 21})
    for epoch in (0, 5, 20):
        marked = draw({"loss": [1.0] * 21}, best_epoch=epoch)
        # Below the curve only the mark differs.
        columns = np.flatnonzero((marked != plain)[200:280].any(axis=(0, 2)))
        axis = (curves._WIDTH - curves._LEFT - curves._RIGHT) * canvas.DPI
        assert abs(columns.mean() - (curves._LEFT * canvas.DPI + axis * epoch / 20)) <= 2


def test_single_epoch_is_a_point(draw):
    pixels = draw({"loss": [0.5], "val_loss": [0.4]}, best_epoch=0)
    middle = slice(int((curves._LEFT + 0.5) * canvas.DPI), int((curves._WIDTH - curves._RIGHT - 0.5) * canvas.DPI))
    assert count(pixels[:, middle], canvas.BLUE) > 10
    assert count(pixels[:, middle], canvas.VERMILLION) > 10


def test_values_measured_at_every_second_epoch_are_joined(draw):
    sparse = draw({"loss": [1.0] * 6, "val_loss": [NAN, 2.0, NAN, 2.0, NAN, 2.0]})
    axes = slice(int(curves._LEFT * canvas.DPI), int((curves._WIDTH - curves._RIGHT) * canvas.DPI))
    drawn = (np.abs(sparse - np.float32(matplotlib.colors.to_rgb(canvas.VERMILLION))) < 0.1).all(axis=-1).any(axis=0)
    columns = np.flatnonzero(drawn[axes])
    # From the first value on, at epoch 1 of 5, without a gap.
    assert np.diff(columns).max() == 1
    assert columns[0] / drawn[axes].size == pytest.approx(1 / 5, abs=0.03)


def silent(*rows):
    history = {f"val_{index}": row for index, row in enumerate(rows)} | {"loss": [1.0] * len(rows[0])}
    return np.flatnonzero(curves._epochs_without_validation(curves._as_arrays(history))).tolist()


def test_epochs_at_which_every_validation_value_is_nan_had_no_validation():
    assert silent([NAN, 1, NAN, 1], [NAN, 1, NAN, NAN]) == [0, 2]
    assert silent([NAN, NAN, 1, NAN, NAN, 1, NAN, NAN]) == [0, 1, 3, 4, 6, 7]
    assert silent([None, 1.0, None, 2.0]) == [0, 2]


def test_validation_silent_for_longer_than_ever_has_diverged():
    assert silent([1, 1, 1, NAN, NAN, NAN]) == []
    assert silent([NAN, 1, NAN, 1, NAN, NAN, NAN]) == [0, 2, 4]
    assert silent([NAN, NAN, NAN]) == []


@pytest.mark.parametrize("bad", [NAN, INF, -INF, 1e300])
@pytest.mark.parametrize("where", [0, 2, 5])
def test_values_that_are_no_numbers_are_marked(draw, bad, where):
    values = [1.0, 2.0, 1.5, 1.0, 2.0, 1.0]
    values[where] = bad
    curve = curves._panels(curves._as_arrays({"loss": values}))["loss"][0]
    assert np.flatnonzero(curve.unbounded).tolist() == [where]
    pixels = draw({"loss": values}, best_epoch=where)
    row = int(
        (curves._TOP + (1 - curves._MARK_HEIGHTS[0]) * (curves._HEIGHT - curves._TOP - curves._BOTTOM)) * canvas.DPI
    )
    column = (curves._LEFT + (curves._WIDTH - curves._LEFT - curves._RIGHT) * where / 5) * canvas.DPI
    assert count(pixels[row - 6 : row + 7, int(column) - 6 : int(column) + 7], canvas.BLUE) >= 3


def test_history_without_a_finite_value(draw):
    pixels = draw({"loss": [NAN] * 3, "val_loss": [NAN] * 3, "mae": [INF, NAN, -INF]}, best_epoch=1)
    assert count(pixels, canvas.BLUE) > 10
    assert count(pixels, canvas.VERMILLION) > 10


def test_diverging_loss_is_drawn_on_a_logarithmic_axis(draw):
    smooth = draw({"loss": list(np.geomspace(1, 1e6, 11))})
    linear = draw({"loss": list(np.linspace(1, 100, 11))})
    # There a geometric series is the straight line that an arithmetic one is on a linear axis.
    axes = np.s_[60:280, 110:390]

    def blue(pixels):
        return (np.abs(pixels[axes] - np.float32(matplotlib.colors.to_rgb(canvas.BLUE))) < 0.1).all(axis=-1)

    assert (blue(smooth) != blue(linear)).sum() < 0.02 * blue(linear).sum() + 5


@pytest.mark.parametrize(
    "values",
    [
        [0.0, 0.0],
        [5.0, 5.0],
        [-3.0, -3.0],
        [1e-12, 1e-12],
        [1e9, 1e9 + 1],
        [1e99, -1e99],
        [0.0, 1e90],
        [1e-300, 1e90],
    ],
)
def test_ranges_far_from_one(draw, values):
    assert count(draw({"loss": values, "val_loss": values}), canvas.VERMILLION) > 100


def test_names_do_not_overlap_where_curves_end_together(draw):
    pixels = draw({"loss": [2.0, 1.0], "val_loss": [2.0, 1.0]})
    names = pixels[:, int((curves._WIDTH - curves._RIGHT + 0.1) * canvas.DPI) :]

    def rows(colour):
        return np.flatnonzero((np.abs(names - np.float32(matplotlib.colors.to_rgb(colour))) < 0.1).all(-1).any(1))

    blue, vermillion = rows(canvas.BLUE), rows(canvas.VERMILLION)
    assert blue.size
    assert vermillion.size
    assert blue.max() < vermillion.min() or vermillion.max() < blue.min()


def test_history_of_keras_and_numpy_types(draw):
    assert draw({"loss": np.float32([1, 2]), "val_loss": [np.float32(1), 2], "accuracy": (0, 1)}).any()


@pytest.mark.parametrize("best_epoch", [-1, 3, 100])
def test_best_epoch_outside_the_history(draw, best_epoch):
    with pytest.raises(ValueError, match=rf"Got best_epoch={best_epoch} for a history of 3 epochs, expected .*0 to 2"):
        draw({"loss": [3, 2, 1]}, best_epoch=best_epoch)


def test_lists_of_different_lengths(draw):
    with pytest.raises(ValueError, match=r"'val_loss' has 2 values and 'loss' has 4, expected one.*Put float\('nan'\)"):
        draw({"loss": [4, 3, 2, 1], "val_loss": [3, 1]})


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_history_without_epochs(draw, history):
    with pytest.raises(ValueError, match=r"Got a history without epochs.*expected at least one value"):
        draw(history)


def test_values_of_another_type(draw):
    with pytest.raises(ValueError, match=r"History 'note' has values that aren't numbers.*Leave other records out"):
        draw({"loss": [1.0, 2.0], "note": ["a", "b"]})


def test_values_of_another_shape(draw):
    with pytest.raises(ValueError, match=r"History 'loss' has shape \(2, 2\), expected \(epochs,\)"):
        draw({"loss": [[1.0, 2.0], [3.0, 4.0]]})
