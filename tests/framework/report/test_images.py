import matplotlib.image
import numpy as np
import pytest

from framework import report
from framework.report import canvas, images


def read(path):
    """Returns float32 [height, width, 3] in [0, 1]."""
    return matplotlib.image.imread(path)[..., :3]


@pytest.fixture
def draw(tmp_path):
    def draw(*rows, **arguments):
        return read(report.image_sheet(rows, tmp_path / "sheet.png", **arguments))

    return draw


def cell(pixels, line, column, group_top=0.0):
    """Returns the pixels inside the frame of one square image."""
    step = images._CELL + images._GAP
    top = (images._MARGIN + images._HEADER + group_top + line * step) * canvas.DPI
    left = (images._MARGIN + column * step) * canvas.DPI
    side = images._CELL * canvas.DPI
    return pixels[round(top) + 3 : round(top + side) - 3, round(left) + 3 : round(left + side) - 3]


def flat(*values, channels=1, dtype=np.uint8):
    """Returns images [values, 4, 4, channels] of one colour each."""
    return np.stack([np.broadcast_to(np.array(value, dtype), (4, 4, channels)) for value in values])


@pytest.mark.parametrize(("num_images", "columns", "lines"), [(1, 8, 1), (8, 8, 1), (9, 8, 2), (24, 8, 3), (7, 3, 3)])
def test_sheet_has_the_expected_size(draw, num_images, columns, lines):
    height, width = draw(("as read", flat(*range(num_images))), columns=columns).shape[:2]
    used = min(columns, num_images)
    inches = 2 * images._MARGIN + used * images._CELL + (used - 1) * images._GAP
    assert width == int(max(inches, 3.6) * canvas.DPI)
    tall = 2 * images._MARGIN + images._HEADER + lines * images._CELL + (lines - 1) * images._GAP
    assert height == int(tall * canvas.DPI + 1e-6)


def test_uint8_and_unit_floats_are_shown_as_they_are(draw):
    values = [0, 51, 102, 255]
    whole = draw(("a", flat(*values)))
    unit = draw(("a", flat(*(value / 255 for value in values), dtype=np.float32)))
    for column, value in enumerate(values):
        np.testing.assert_allclose(cell(whole, 0, column), value / 255, atol=0.005)
        np.testing.assert_allclose(cell(unit, 0, column), value / 255, atol=0.005)


def test_every_pixel_of_a_small_image_is_seen(draw):
    image = np.random.default_rng(0).integers(0, 256, (1, 9, 9, 3), dtype=np.uint8)
    shown = cell(draw(("a", image)), 0, 0)
    centres = ((np.arange(9) + 0.5) / 9 * shown.shape[0]).astype(int)
    np.testing.assert_allclose(shown[np.ix_(centres, centres)], image[0] / 255, atol=0.005)


def test_colour_and_transparency(draw):
    pixels = draw(("a", flat([200, 100, 0, 255], [200, 100, 0, 0], channels=4)))
    np.testing.assert_allclose(cell(pixels, 0, 0)[5, 5], np.array([200, 100, 0]) / 255, atol=0.005)
    np.testing.assert_allclose(cell(pixels, 0, 1)[5, 5], 1)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.int32, np.int16])
def test_other_ranges_are_scaled(draw, dtype):
    pixels = draw(("a", flat(-2, 0, 2, dtype=dtype)))
    for column, value in enumerate((0, 0.5, 1)):
        np.testing.assert_allclose(cell(pixels, 0, column), value, atol=0.005)


def limits(*batches):
    return [(group.limits, group.scaled) for group in images._groups([("", batch) for batch in batches])]


def test_scaling_is_noted(draw):
    batch = flat(0.0, 2.0, dtype=np.float32)
    assert limits(batch) == [((0.0, 2.0), True)]
    assert limits(flat(0, 9), flat(0.1, 0.9, dtype=np.float32)) == [
        ((0.0, 255.0), False),
        ((0.0, 1.0), False),
    ]
    scaled, plain = draw(("a", batch)), draw(("a", batch / 2))
    header = np.s_[: int((images._MARGIN + images._HEADER) * canvas.DPI)]
    assert (scaled[header] != plain[header]).any()
    np.testing.assert_array_equal(cell(scaled, 0, 1), cell(plain, 0, 1))


def test_groups_in_one_unit_are_scaled_alike():
    normal, dim, bytes_as_floats = (flat(*v, dtype=np.float32) for v in ((-1, 1), (-0.9, 0.7), (0, 255)))
    assert limits(normal, bytes_as_floats, dim) == [((-1, 1), True), ((0, 255), True), ((-1, 1), True)]
    assert limits(dim, flat(0, 9), normal)[0] == ((-1, 1), True)


def test_constant_images_are_grey(draw):
    np.testing.assert_allclose(cell(draw(("a", flat(7.0, dtype=np.float32))), 0, 0), 0.5, atol=0.005)


def test_pixels_that_are_no_numbers_are_magenta(draw):
    batch = flat(0.0, 1.0, 0.5, dtype=np.float32)
    batch[0], batch[1] = np.nan, np.inf
    pixels = draw(("a", batch))
    for column in (0, 1):
        np.testing.assert_array_equal(cell(pixels, 0, column)[5, 5], [1, 0, 1])
    np.testing.assert_allclose(cell(pixels, 0, 2), 0.5, atol=0.005)
    np.testing.assert_array_equal(cell(draw(("a", np.full_like(batch, np.nan))), 0, 2)[5, 5], [1, 0, 1])


def test_groups_are_one_below_the_other(draw):
    pixels = draw(("as read", flat(10, 20)), ("augmented, epoch 0", flat(30, 40)))
    below = images._CELL + images._HEADER + images._BETWEEN
    np.testing.assert_allclose(cell(pixels, 0, 1), 20 / 255, atol=0.005)
    np.testing.assert_allclose(cell(pixels, 0, 1, below), 40 / 255, atol=0.005)


def test_pixels_follow_the_data(draw):
    batch = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    before = draw(("a", batch))
    batch[2] = 255 - batch[2]
    after = draw(("a", batch))
    assert (cell(before, 0, 2) != cell(after, 0, 2)).mean() > 0.9
    np.testing.assert_array_equal(cell(before, 0, 1), cell(after, 0, 1))


@pytest.mark.parametrize("shape", [(2, 1, 1, 1), (1, 1, 900, 1), (1, 900, 1, 3), (2, 700, 300, 3)])
def test_sizes_and_proportions(draw, shape):
    assert draw(("a", np.zeros(shape, np.uint8)), ("b", flat(3))).min() < 0.1


def test_input_is_not_changed(draw):
    batch = flat(np.nan, 3.0, dtype=np.float32)
    copy = batch.copy()
    draw(("a", batch))
    np.testing.assert_array_equal(batch, copy)


@pytest.mark.parametrize(
    ("shape", "fix"),
    [
        ((4, 8, 8), r"images\[\.\.\., np\.newaxis\]"),
        ((8, 8, 3), r"images\[np\.newaxis\]"),
        ((4, 8, 8, 2), r"images\[\.\.\., :3\]"),
        ((0, 8, 8, 3), "at least one image"),
        ((8,), "at least one image"),
    ],
)
def test_other_shapes(draw, shape, fix):
    with pytest.raises(ValueError, match=rf"Images 'as read' have shape \({shape[0]}, ?.*\), expected \(n, .*{fix}"):
        draw(("as read", np.zeros(shape, np.uint8)))


@pytest.mark.parametrize("dtype", ["S3", "U3", "complex64", object])
def test_other_types(draw, dtype):
    with pytest.raises(TypeError, match=r"Images 'a' have dtype .*, expected uint8 or float.*astype\('float32'\)"):
        draw(("a", np.zeros((1, 2, 2, 1), dtype)))


def test_no_rows(draw):
    with pytest.raises(ValueError, match=r"Got no rows, expected at least one .*Pass \[\('as read', images\)\]"):
        draw()


def test_no_columns(draw):
    with pytest.raises(ValueError, match=r"Got columns=0, expected at least 1\. Pass columns=8"):
        draw(("a", flat(1)), columns=0)


def test_more_than_can_be_drawn(draw):
    with pytest.raises(ValueError, match=r"Got 500 images, .* 1 columns, expected at most 400\. Pass fewer images"):
        draw(("a", np.zeros((500, 1, 1, 1), np.uint8)), columns=1)
