import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import framework
from framework.data.phases import PHASES

COUNT = 120
QUICK = {
    "epochs": 3,
    "batch_size": 16,
    "verbose": 0,
    "optimization": framework.Optimization(learning_rate=0.01),
    "hparams": {"vocabulary_size": 100, "embedding_size": 8, "filters": 8, "widths": (1, 2)},
}


def reviews(count=COUNT, seed=0):
    """Sentences one word of which tells the label."""
    random = np.random.default_rng(seed)
    labels = [("bad", "good")[number % 2] for number in range(count)]
    told_by = {"bad": ["awful", "poor"], "good": ["great", "fine"]}
    texts = []
    for label in labels:
        words = random.choice(["The", "book,", "film", "was", "ça", "so", '"quoted"'], random.integers(1, 9))
        texts.append(" ".join(random.permutation([random.choice(told_by[label]), *words])) + "!\n")
    return pd.DataFrame({"text": texts, "label": labels})


def text(path, **options):
    return framework.get_pipeline("text")(path, **options)


def write_folder(folder, made):
    for number, (content, label) in enumerate(zip(made["text"], made["label"], strict=True)):
        path = folder / label / f"{number % 3}" / f"{number:03}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="")
    return str(folder)


def by_text(pipeline):
    """{text: class name} of all splits."""
    found = {}
    for phase in PHASES:
        arrays = pipeline.source(phase).arrays
        found |= dict(zip(arrays.features["text"], np.take(pipeline.task.class_names, arrays.labels), strict=True))
    return found


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "frame", "folder"])
def test_every_form(tmp_path, form):
    made = reviews()
    data = {
        "csv": lambda: made.to_csv(tmp_path / "a.csv", index=False) or tmp_path / "a.csv",
        "jsonl": lambda: made.to_json(tmp_path / "a.jsonl", orient="records", lines=True) or tmp_path / "a.jsonl",
        "parquet": lambda: made.to_parquet(tmp_path / "a.parquet") or tmp_path / "a.parquet",
        "frame": lambda: made,
        "folder": lambda: write_folder(tmp_path / "folder", made),
    }[form]()
    pipeline = text(data)
    assert pipeline.features == {"text": framework.Feature((), "string")}
    assert pipeline.task == framework.tasks.Classification(class_names=["bad", "good"])
    assert by_text(pipeline) == dict(zip(made["text"], made["label"], strict=True))
    assert {phase: pipeline.source(phase).num_examples for phase in PHASES} == {
        "train": 84,
        "validation": 18,
        "test": 18,
    }


def test_a_folder_names_its_files(tmp_path):
    made = reviews(12)
    pipeline = text(write_folder(tmp_path / "folder", made), validation=0, test=0)
    source = pipeline.source("train")
    for index in range(12):
        with open(source.place(index), encoding="utf-8", newline="") as file:
            assert file.read() == source.arrays.features["text"][index]


@pytest.mark.parametrize(
    ("names", "sizes"), [(("train", "val", "test"), (30, 10, 8)), (("Training", "test"), (24, 6, 10))]
)
def test_folders_of_splits(tmp_path, names, sizes):
    folder = tmp_path / "folder"
    for name, count in zip(names, (30, 10, 8), strict=False):
        write_folder(folder / name, reviews(count, seed=count))
    pipeline = text(folder, validation=0.2, test=0.2)
    assert tuple(pipeline.source(phase).num_examples for phase in PHASES) == sizes
    write_folder(folder, reviews(2))
    with pytest.raises(ValueError, match=r"the splits \[.*'train'.*\], and beside them the folders \['bad', 'good'\]"):
        text(folder)


def test_two_folders_that_may_be_one_split(tmp_path):
    for name in ("train", "val", "dev"):
        write_folder(tmp_path / name, reviews(8))
    with pytest.raises(ValueError, match=r"has the folders \['val', 'dev'\], either of which may be the vali"):
        text(tmp_path)


def test_hidden_files_are_no_texts(tmp_path):
    write_folder(tmp_path, reviews(20))
    (tmp_path / "good" / ".hidden").mkdir()
    for name in ("._a.txt", ".hidden/a.txt"):
        (tmp_path / "good" / name).write_bytes(b"\xff")
    assert sum(text(tmp_path).source(phase).num_examples for phase in PHASES) == 20


def test_folders_that_aren_t_classes(tmp_path):
    with pytest.raises(ValueError, match="has no folder for each class"):
        text(tmp_path)
    (tmp_path / "bad").mkdir()
    with pytest.raises(ValueError, match=r"The folders \['bad'\] of .* have no \*\.txt file"):
        text(tmp_path)
    (tmp_path / "bad" / "a.txt").write_bytes("ä".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a\.txt isn't text in utf-8"):
        text(tmp_path)


def test_the_vocabulary_is_that_of_the_training_split(tmp_path):
    made = reviews()
    made.loc[:, "word"] = [f"only{number}" for number in range(COUNT)]
    made["text"] = made["text"] + made["word"]
    pipeline = text(made[["text", "label"]], max_tokens=4).with_statistics()
    trained = " ".join(pipeline.source("train").arrays.features["text"]).replace(",", "")
    assert set(pipeline.statistics["text"]) == set(trained.lower().replace("!", "").replace('"', "").split())
    tested = pipeline.source("test").arrays.features["text"]
    assert not {word for content in tested for word in content.split() if "only" in word} & set(
        pipeline.statistics["text"]
    )
    ids = pipeline.preprocess({"text": tf.constant(["the AWFUL", ""])})["text"].numpy()
    the, awful = (list(pipeline.statistics["text"]).index(word) + 2 for word in ("the", "awful"))
    assert ids.tolist() == [[the, awful, 0, 0], [0, 0, 0, 0]]


def test_several_texts_and_several_labels():
    made = (
        reviews()
        .rename(columns={"text": "title"})
        .assign(
            body=[f"body {number}" for number in range(COUNT)],
            funny=np.arange(COUNT) % 2,
            long=np.arange(COUNT) // 2 % 2,
        )
    )
    pipeline = text(made, text=["title", "body"], label=["funny", "long"]).with_statistics()
    assert pipeline.task == framework.tasks.MultiLabelClassification(label_names=["funny", "long"])
    assert sorted(pipeline.interface()) == ["body", "title"]
    assert "title" in set(pipeline.statistics) & set(pipeline.features)


def test_a_text_is_text_whatever_stands_in_it():
    made = reviews().assign(text=[("2024-05-01", "12", "a.jpg", "true")[number % 4] for number in range(COUNT)])
    assert text(made).with_statistics().statistics["text"].tolist() == ["12", "20240501", "ajpg", "true"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"text": "texts"}, "columns= names the column 'texts', which the DataFrame doesn't have. Did you mean 'text'"),
        ({"label": "lable"}, "label= names the column 'lable'.*Did you mean 'label'"),
        ({"text": "label"}, "can't be features"),
        ({"vocabulary_size": 1}, "vocabulary_size must be at least 3"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=message):
        text(reviews(), **options)


def test_texts_without_a_token_are_refused():
    with pytest.raises(ValueError, match="No token is in the training texts of 'text'"):
        text(reviews().assign(text="?!")).with_statistics()


def test_trained_exported_and_called(tmp_path):
    reviews().to_json(tmp_path / "reviews.jsonl", orient="records", lines=True)
    options = {"path": str(tmp_path / "reviews.jsonl"), "vocabulary_size": 100}
    run = framework.fit("text_cnn", "text", pipeline_options=options, run_dir=tmp_path / "run", **QUICK)
    assert run.evaluate("test")["accuracy"] > 0.9
    assert json.loads((tmp_path / "run" / "config.json").read_text())["pipeline"]["reloadable"]
    again = framework.Run.load(tmp_path / "run")
    asked = np.array(["An awful book", "So GREAT.", "", "..."], object)
    expected = again.predict(asked)
    assert expected["class_name"][:2].tolist() == [b"bad", b"good"]
    loaded = tf.saved_model.load(str(run.export_dir))
    answers = {
        "serving_default": loaded.signatures["serving_default"](text=tf.constant(asked)),
        "serialized": loaded.signatures["serialized"](examples=tf.constant(run.pipeline.serialize({"text": asked}))),
        "features": loaded.signatures["features"](**run.pipeline.preprocess({"text": tf.constant(asked)})),
    }
    assert sorted(loaded.signatures) == sorted(answers)
    for answer in answers.values():
        np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=1e-5)
