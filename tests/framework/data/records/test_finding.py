import pytest
import tensorflow as tf

from framework.data.records import find_files, find_splits, seen_keys
from framework.data.records.finding import phase_of


def touch(directory, *names):
    for name in names:
        (directory / name).touch()
    return directory


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("train-00000-of-00004.tfrecord", "train"),
        ("training.tfrecord.gz", "train"),
        ("validation-00000-of-00128", "validation"),
        ("my_data-val.tfrecord", "validation"),
        ("valid_1", "validation"),
        ("eval-00000-of-00010", "validation"),
        ("dev.tfrecord", "validation"),
        ("testing-0", "test"),
        ("mnist-test.tfrecord-00000-of-00001", "test"),
        ("Train.tfrecord", "train"),
        ("trainstation.tfrecord", None),
        ("part-00000", None),
        ("test/part-00000", None),
    ],
)
def test_a_word_in_the_name_tells_the_split(name, phase):
    assert phase_of(name) == phase


def test_a_name_with_two_splits_is_refused():
    with pytest.raises(ValueError, match="several splits"):
        phase_of("train-test.tfrecord")


def test_files_of_a_directory(tmp_path, caplog):
    names = ["train-1", "train-0", "val-0", "test-0", "README.md", "labels.txt", "dataset.json", ".hidden", "other-0"]
    touch(tmp_path, *names)
    (tmp_path / "train-folder").mkdir()
    found = find_splits(tmp_path)
    assert {phase: [file.rpartition("/")[2] for file in files] for phase, files in found.items()} == {
        "train": ["train-0", "train-1"],
        "validation": ["val-0"],
        "test": ["test-0"],
    }
    assert "1 files of" in caplog.text
    assert "left out: ['other-0']" in caplog.text
    assert list(find_splits(f"{tmp_path}/train*")) == ["train"]


def test_without_a_word_all_is_for_training(tmp_path):
    touch(tmp_path, "part-0", "part-1")
    assert [*find_splits(tmp_path)] == ["train"]
    assert len(find_splits(f"{tmp_path}/part*")["train"]) == 2


def test_splits_by_pattern(tmp_path):
    touch(tmp_path, "a-0", "a-1", "b-0")
    assert find_splits({"train": f"{tmp_path}/a*", "test": f"{tmp_path}/b*"}) == {
        "train": [f"{tmp_path}/a-0", f"{tmp_path}/a-1"],
        "test": [f"{tmp_path}/b-0"],
    }
    with pytest.raises(ValueError, match="no phase 'dev'"):
        find_splits({"dev": f"{tmp_path}/a*"})


def test_a_directory_with_brackets_in_its_name(tmp_path):
    folder = tmp_path / "data[1]"
    folder.mkdir()
    touch(folder, "train-0")
    assert find_splits(folder) == {"train": [f"{folder}/train-0"]}


def test_records_that_are_no_examples(tmp_path):
    path = str(tmp_path / "text")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"a line of text")
    with pytest.raises(ValueError, match=r"text, offset 0: the record is no tf\.train\.Example"):
        seen_keys([path])


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no files of records that match .*/none\*"):
        find_files(f"{tmp_path}/none*")


def test_what_seems_to_be_in_files(tmp_path):
    def example(label, codes):
        feature = {
            "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
            "codes": tf.train.Feature(int64_list=tf.train.Int64List(value=codes)),
            "values": tf.train.Feature(float_list=tf.train.FloatList(value=[0.0] * 8)),
            "image/encoded": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"\xff\xd8\xff\xe0..."])),
            "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[b"a cat"])),
            "nothing": tf.train.Feature(),
        }
        return tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()

    path = str(tmp_path / "theirs")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(example(3, [1, 2]))
        writer.write(example(4, []))
    assert seen_keys([path]) == {
        "codes": "int64(None)",
        "image/encoded": "image(height, width, 3)",
        "label": "int64",
        "name": "string",
        "values": "float32(8)",
    }
