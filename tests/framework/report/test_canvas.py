import ast
import os
import pathlib
import threading

import matplotlib
import matplotlib.image
import matplotlib.style
import numpy as np
import pytest

from framework import report
from framework.report import canvas

HISTORY = {"loss": [3.0, 2.0, 1.0], "val_loss": [3.1, 2.2, 1.4], "accuracy": [0.1, 0.5, 0.7]}


def draw_everything(directory: pathlib.Path) -> list[bytes]:
    """Draws one of each picture and returns what was written."""
    random = np.random.default_rng(3)
    labels, predictions = random.integers(0, 4, (2, 90))
    images = random.integers(0, 256, (5, 6, 6, 3), dtype=np.uint8)
    columns = {"age": random.integers(18, 80, 90), "height": random.normal(170, 9, 90)}
    paths = [
        report.learning_curves(HISTORY, directory / "curves.png", best_epoch=2),
        report.confusion_matrix(labels, predictions, directory / "confusion.png", class_names=list("abcd")),
        report.predicted_against_true(labels, predictions + 0.1, directory / "scatter.png"),
        report.image_sheet([("as read", images)], directory / "images.png"),
        report.feature_sheet([("train", columns)], directory / "features.png"),
    ]
    return [path.read_bytes() for path in paths]


def test_pages_have_the_size_asked_for(tmp_path):
    with canvas.page(tmp_path / "page.png", width=2, height=1) as figure:
        canvas.write(figure, 0.2, 0.5, "text")
    pixels = matplotlib.image.imread(tmp_path / "page.png")
    assert pixels.shape[:2] == (canvas.DPI, 2 * canvas.DPI)
    assert pixels[0, 0, :3].tolist() == [1, 1, 1]
    assert pixels.min() < 0.5


def test_missing_directories_are_made(tmp_path):
    path = report.learning_curves(HISTORY, tmp_path / "run" / "report" / "curves.png")
    assert path == tmp_path / "run" / "report" / "curves.png"
    assert path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert [entry.name for entry in path.parent.iterdir()] == ["curves.png"]


def test_path_may_be_a_string(tmp_path):
    path = report.learning_curves(HISTORY, str(tmp_path / "curves.png"))
    assert isinstance(path, pathlib.Path)
    assert path.exists()


def test_error_while_drawing_leaves_the_earlier_picture_and_nothing_else(tmp_path, monkeypatch):
    path = report.learning_curves(HISTORY, tmp_path / "curves.png")
    earlier = path.read_bytes()

    def interrupted(*_):
        raise RuntimeError("half way")

    monkeypatch.setattr(report.curves, "_draw_header", interrupted)
    with pytest.raises(RuntimeError, match="half way"):
        report.learning_curves({"loss": [1.0]}, path)
    assert os.listdir(tmp_path) == ["curves.png"]
    assert path.read_bytes() == earlier


def test_error_while_rendering_leaves_nothing(tmp_path):
    with (
        pytest.raises(ValueError, match="Parse"),
        canvas.page(tmp_path / "a.png", width=1, height=1) as figure,
    ):
        figure.text(0, 0, r"$\nonsense{$")
    assert os.listdir(tmp_path) == []


def test_error_while_writing_leaves_the_earlier_picture_and_nothing_else(tmp_path, monkeypatch):
    path = report.learning_curves(HISTORY, tmp_path / "curves.png")
    earlier = path.read_bytes()

    def full(*_):
        raise OSError("No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        report.learning_curves({"loss": [1.0]}, path)
    assert os.listdir(tmp_path) == ["curves.png"]
    assert path.read_bytes() == earlier


def test_next_page_can_be_drawn_after_an_error(tmp_path):
    with pytest.raises(RuntimeError), canvas.page(tmp_path / "a.png", width=1, height=1):
        raise RuntimeError
    report.learning_curves(HISTORY, tmp_path / "b.png")
    assert os.listdir(tmp_path) == ["b.png"]


@pytest.mark.parametrize("name", ["curves", "curves.jpg", "curves.png.tmp"])
def test_other_formats_are_refused(tmp_path, name):
    with pytest.raises(ValueError, match=r"Got .*curves.*expected .*'\.png'.*Pass .*curves.*\.png' instead"):
        report.learning_curves(HISTORY, tmp_path / name)
    assert os.listdir(tmp_path) == []


def test_path_without_a_name_is_refused():
    with pytest.raises(ValueError, match=r"Got the path '', expected .*Pass 'picture\.png' instead"):
        report.learning_curves(HISTORY, "")


def test_same_data_gives_the_same_bytes(tmp_path):
    assert draw_everything(tmp_path / "a") == draw_everything(tmp_path / "b")


def test_threads_give_the_same_bytes(tmp_path):
    results = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: draw_everything(tmp_path / str(n))})) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = draw_everything(tmp_path / "alone")
    assert [results[n] for n in range(4)] == [expected] * 4


def test_neither_reads_nor_changes_the_global_style(tmp_path):
    expected = draw_everything(tmp_path / "plain")
    unusual = {
        "axes.grid": True,
        "axes.grid.which": "both",
        "axes.axisbelow": False,
        "axes.titlesize": 30,
        "axes.xmargin": 0.4,
        "figure.autolayout": True,
        "figure.dpi": 40,
        "font.size": 25,
        "image.aspect": "equal",
        "image.cmap": "jet",
        "image.interpolation": "bicubic",
        "image.origin": "lower",
        "lines.marker": "s",
        "savefig.bbox": "tight",
        "savefig.dpi": 40,
        "xtick.direction": "in",
        "ytick.minor.visible": True,
    }
    with matplotlib.style.context(["ggplot", "dark_background"]), matplotlib.rc_context(unusual):
        before = dict(matplotlib.rcParams)
        assert draw_everything(tmp_path / "unusual") == expected
        assert dict(matplotlib.rcParams) == before


def test_imports_neither_tensorflow_nor_pyplot():
    for module in pathlib.Path(canvas.__file__).parent.glob("*.py"):
        tree = ast.parse(module.read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names}
        assert not [name for name in imported if "pyplot" in name or name.startswith(("tensorflow", "keras"))]


def test_text_is_never_read_as_a_formula(tmp_path):
    names = [r"$\frac{1}$", "$5 bill", "a_b^c", "two\nlines", "nul\x00"]
    images = np.zeros((1, 4, 4, 1), np.uint8)
    report.confusion_matrix(np.arange(5), np.arange(5), tmp_path / "a.png", class_names=names)
    report.learning_curves({name: [1.0, 2.0] for name in names}, tmp_path / "b.png")
    report.predicted_against_true([1.0, 2.0], [1.0, 2.0], tmp_path / "c.png", name=names[0])
    report.image_sheet([(name, images) for name in names], tmp_path / "d.png")
    report.feature_sheet([(names[0], {name: np.arange(3) for name in names})], tmp_path / "e.png")
    assert len(os.listdir(tmp_path)) == 5


def test_glyph_the_font_lacks_is_named_by_matplotlib(tmp_path):
    with pytest.warns(UserWarning, match=r"Glyph .* missing from font"):
        report.learning_curves({"损失": [1.0, 2.0]}, tmp_path / "curves.png")
    assert os.listdir(tmp_path) == ["curves.png"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("short", "short"),
        ("exactly_10", "exactly_10"),
        ("a name that is too long", "a nam…long"),
        ("two\nlines\t", "two lines"),
    ],
)
def test_one_line(text, line):
    assert canvas.one_line(text, 10) == line
    assert len(line) <= 10


@pytest.mark.parametrize("num_panels", range(1, 50))
def test_grid_has_room_and_no_empty_row(num_panels):
    rows, columns = canvas.grid_shape(num_panels)
    assert (rows - 1) * columns < num_panels <= rows * columns
    assert columns <= 4


@pytest.mark.parametrize(
    ("limits", "value", "text"),
    [
        ((0, 3e-5), 1e-5, "1e-05"),
        ((0, 3e-5), 1e-21, "0"),
        ((1e7, 1e7 + 10), 1e7 + 2, "10000002"),
        ((-4e8, 4e8), 2e8, "2e+08"),
        ((5e8, 5e8), 5e8, "5e+08"),
    ],
)
def test_tick_text_far_from_one(limits, value, text):
    assert canvas.tick_text(*limits)(value, None) == text
