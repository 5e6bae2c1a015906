import os
import pathlib
import shutil

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image as Pillow

from framework.data.bad_examples import BadExampleError
from framework.data.image_folder import ImageFolder

PNG = tf.io.encode_png(np.zeros((2, 2, 3), np.uint8)).numpy()


def image(*what):
    """A file that begins as an image does, and differs from others."""
    return PNG + repr(what).encode()


def fill(folder, counts, kind="png", start=0):
    """`{class: how many images}`."""
    for name, count in counts.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(start, start + count):
            (folder / name / f"{number}.{kind}").write_bytes(image(name, number))
    return folder


def places(folder, phase):
    return [folder.source.place(index) for index in folder.splits[phase]]


def labels(folder, phase):
    return folder.source.labels[folder.splits[phase]].tolist()


@pytest.fixture
def animals(tmp_path):
    return fill(tmp_path / "animals", {"dogs": 20, "cats": 60})


def test_classes_are_the_folders_in_order(animals):
    folder = ImageFolder(animals)
    assert folder.class_names == ["cats", "dogs"]
    assert folder.source.num_examples == 80
    assert [folder.source.place(index) for index in (0, 59, 60)] == ["cats/0.png", "cats/9.png", "dogs/0.png"]
    assert folder.source.labels.tolist() == [0] * 60 + [1] * 20


def test_splits_are_drawn_at_random_every_class_by_the_shares(animals):
    folder = ImageFolder(animals, validation=0.1, test=0.2)
    assert {phase: np.bincount(labels(folder, phase)).tolist() for phase in folder.splits} == {
        "train": [42, 14],
        "validation": [6, 2],
        "test": [12, 4],
    }
    found = [place for phase in folder.splits for place in places(folder, phase)]
    assert sorted(found) == sorted(f"{path.parent.name}/{path.name}" for path in animals.glob("*/*"))
    assert {phase: places(ImageFolder(animals, validation=0.1, test=0.2), phase) for phase in folder.splits} == {
        phase: places(folder, phase) for phase in folder.splits
    }
    other = ImageFolder(animals, validation=0.1, test=0.2, seed=1)
    assert places(other, "test") != places(folder, "test")
    assert set(ImageFolder(animals, validation=0.0, test=0.0).splits) == {"train"}


def test_a_copy_of_the_data_is_split_alike(animals, tmp_path):
    folder = ImageFolder(animals)
    shutil.copytree(animals, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = ImageFolder(tmp_path / "copy")
    assert {phase: places(copy, phase) for phase in copy.splits} == {
        phase: places(folder, phase) for phase in folder.splits
    }
    assert copy.source.fingerprint() == folder.source.fingerprint()


@pytest.mark.parametrize("names", [("train", "validation", "test"), ("Training", "val", "testing")])
def test_folders_of_splits(tmp_path, names):
    for number, name in enumerate(names):
        fill(tmp_path / name, {"cats": 3 + number, "dogs": 2}, start=10 * number)
    folder = ImageFolder(tmp_path)
    assert folder.class_names == ["cats", "dogs"]
    assert [labels(folder, phase) for phase in ("train", "validation", "test")] == [
        [0] * 3 + [1] * 2,
        [0] * 4 + [1] * 2,
        [0] * 5 + [1] * 2,
    ]
    assert places(folder, "validation")[0] == f"{names[1]}/cats/10.png"


def test_what_has_no_folder_is_split_off_the_training_split(tmp_path):
    fill(tmp_path / "train", {"cats": 30, "dogs": 10})
    fill(tmp_path / "test", {"cats": 2}, start=100)
    folder = ImageFolder(tmp_path, validation=0.2)
    assert labels(folder, "test") == [0, 0]
    assert np.bincount(labels(folder, "validation")).tolist() == [6, 2]
    assert np.bincount(labels(folder, "train")).tolist() == [24, 8]
    assert "validation" not in ImageFolder(tmp_path, validation=0.0).splits


def test_files_below_count_links_are_followed_and_what_is_hidden_is_not_there(animals, tmp_path):
    fill(animals / "cats" / "2021" / "may", {"tabby": 1}, kind="JPEG")
    elsewhere = fill(tmp_path / "elsewhere", {"cats": 2}, start=500)
    (animals / "cats" / "linked").symlink_to(elsewhere / "cats", target_is_directory=True)
    (animals / "cats" / "loop").symlink_to(animals / "cats", target_is_directory=True)
    (animals / "cats" / "linked.png").symlink_to(elsewhere / "cats" / "500.png")
    (animals / "birds").symlink_to(fill(tmp_path / "more", {"birds": 4}) / "birds", target_is_directory=True)
    fill(animals, {".ipynb_checkpoints": 1})
    for name in (".DS_Store", "cats/.hidden.png", "cats/Thumbs.db", "dogs/desktop.ini", "README.txt"):
        (animals / name).write_bytes(b"junk")
    folder = ImageFolder(animals)
    assert folder.class_names == ["birds", "cats", "dogs"]
    assert np.bincount(folder.source.labels).tolist() == [4, 60 + 1 + 2 + 1, 20]
    assert "cats/2021/may/tabby/0.JPEG" in [folder.source.place(index) for index in range(folder.source.num_examples)]


def test_names_that_are_not_utf8(animals):
    path = os.path.join(os.fsencode(animals), b"cats", b"b\xe4r.png")
    pathlib.Path(os.fsdecode(path)).write_bytes(image(0))
    folder = ImageFolder(animals)
    assert r"cats/b\xe4r.png" in [folder.source.place(index) for index in range(folder.source.num_examples)]
    os.mkdir(os.path.join(os.fsencode(animals), b"k\xfche"))
    with pytest.raises(ValueError, match=r"Names of classes must be UTF-8, got k\\xfche"):
        ImageFolder(animals)


def test_copies_come_into_one_split_and_are_told(animals, caplog):
    for number in range(20):
        shutil.copyfile(animals / "cats" / f"{number}.png", animals / "cats" / f"copy-{number}.png")
    folder = ImageFolder(animals)
    phase_of = {place: phase for phase in folder.splits for place in places(folder, phase)}
    assert all(phase_of[f"cats/{number}.png"] == phase_of[f"cats/copy-{number}.png"] for number in range(20))
    assert len({phase_of[f"cats/{number}.png"] for number in range(20)}) > 1
    assert "cop" not in caplog.text

    shutil.copyfile(animals / "cats" / "5.png", animals / "dogs" / "a-cat.png")
    ImageFolder(animals)
    assert (
        "1 images have a copy in another class, such as cats/5.png and cats/copy-5.png and dogs/a-cat.png"
        in caplog.text
    )
    assert "another split" not in caplog.text


def test_copies_in_folders_of_splits_are_told(tmp_path, caplog):
    fill(tmp_path / "train", {"cats": 3, "dogs": 3})
    fill(tmp_path / "test", {"cats": 2}, start=1)
    ImageFolder(tmp_path, validation=0.0)
    assert "2 images have a copy in another split, such as train/cats/1.png and test/cats/1.png" in caplog.text


@pytest.mark.parametrize("must_be_images", [True, False])
def test_photographs_that_lie_are_told(animals, caplog, must_be_images):
    for number, orientation in enumerate((1, 6, 3)):
        exif = Pillow.Exif()
        exif[0x0112] = orientation
        Pillow.new("RGB", (4, 3), (number, 0, 0)).save(animals / "cats" / f"phone-{number}.jpg", exif=exif)
    ImageFolder(animals, must_be_images=must_be_images)
    assert "2 of 83 photographs lie in their files otherwise" in caplog.text
    assert "such as cats/phone-1.jpg, cats/phone-2.jpg. They are decoded as they lie" in caplog.text


FAULTS = {
    "empty.jpg": (b"", "1 empty"),
    "text.png": (b"no image", "1 no images"),
    "phone.heic": (b"\0\0\0\x18ftypheic\0\0\0\0", r"1 of a format that can't be decoded \(HEIC\)"),
    "scan.tif": (b"II*\0" + b"\0" * 100, r"1 of a format that can't be decoded \(TIFF\)"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_files_that_are_no_images_are_refused(animals, name):
    content, told = FAULTS[name]
    (animals / "dogs" / name).write_bytes(content)
    with pytest.raises(
        BadExampleError, match=rf"1 of the 81 files .* can't be used: {told}\. They are dogs/{name}\. .*skip"
    ):
        ImageFolder(animals)
    assert ImageFolder(animals, must_be_images=False).source.num_examples == 81


def test_files_that_can_t_be_read_are_refused(animals):
    (animals / "dogs" / "gone.png").symlink_to(animals / "nowhere.png")
    with pytest.raises(BadExampleError, match=r"1 unreadable \(No such file or directory\)\. They are dogs/gone\.png"):
        ImageFolder(animals)
    assert ImageFolder(animals, must_be_images=False).source.num_examples == 81


def test_many_faults_are_counted_by_kind(animals):
    for number in range(7):
        (animals / "dogs" / f"x{number}.png").write_bytes(b"text" if number else b"")
    with pytest.raises(BadExampleError, match=r"7 of the 87 .*: 6 no images, 1 empty\. .*x4\.png and 2 more"):
        ImageFolder(animals)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path / "nowhere", r"There is no folder .*nowhere\. Expected <folder>/<class>"),
        (lambda path: fill(path, {"cats": 2}), r"only one class in .*, 'cats'; nothing can be told apart"),
        (lambda path: path, "Expected a folder for each class in .*; found no folder"),
        (lambda path: fill(path, {"cats": 2, ".": 2}), r"found 2 images of no class: 0\.png, 1\.png"),
        (lambda path: fill(path, {"cats": 2, "dogs": 0}), r"The class folders dogs in .* have no files"),
        (
            lambda path: fill(fill(path / "train", {"a": 2, "b": 2}).parent / "val", {"a": 1, "c": 1}).parent,
            r"The classes \['c'\] are in the validation split and not in the training split, which has \['a', 'b'\]",
        ),
        (
            lambda path: fill(fill(path / "train", {"a": 2, "b": 2}).parent, {"extra": 2}),
            r"and beside them the folders \['extra'\]",
        ),
        (lambda path: fill(path, {"cats": 2, "dogs": 1}), "too few for the shares"),
    ],
)
def test_folders_that_are_laid_out_otherwise_are_refused(tmp_path, make, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        ImageFolder(make(tmp_path))


@pytest.mark.parametrize("shares", [{"validation": 0.5, "test": 0.5}, {"test": -0.1}, {"validation": 1.5}])
def test_shares_out_of_range_are_refused(animals, shares):
    with pytest.raises(ValueError, match="validation and test are shares whose sum is below 1"):
        ImageFolder(animals, **shares)


@hypothesis.settings(max_examples=15, deadline=None)
@hypothesis.given(
    counts=st.lists(st.integers(1, 12), min_size=2, max_size=4),
    copies=st.integers(0, 3),
    seed=st.integers(0, 100),
)
def test_splits_are_a_partition(tmp_path_factory, counts, copies, seed):
    path = fill(tmp_path_factory.mktemp("data"), {f"class{number}": count for number, count in enumerate(counts)})
    for number in range(copies):
        shutil.copyfile(path / "class0" / "0.png", path / "class0" / f"copy{number}.png")
    hypothesis.assume(sum(counts) >= 8)
    folder = ImageFolder(path, validation=0.25, test=0.25, seed=seed)
    indices = np.concatenate(list(folder.splits.values()))
    assert sorted(indices.tolist()) == list(range(sum(counts) + copies))
    assert all(len(split) for split in folder.splits.values())
    of_copies = {
        phase
        for phase in folder.splits
        for place in places(folder, phase)
        if place.startswith("class0/copy") or place == "class0/0.png"
    }
    assert len(of_copies) == 1
