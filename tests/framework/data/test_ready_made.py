import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from framework import pipeline_from_arrays, pipeline_from_datasets, tasks
from framework.data.evaluate import eval_dataset
from framework.data.ready_made import ReadyMadePipeline
from framework.data.sources import ArraySource
from framework.data.train import train_dataset
from framework.data.validation import check_pipeline
from framework.features import Feature

COUNT = 40
ROWS = np.arange(COUNT)
X = np.stack([ROWS, -ROWS], 1).astype(np.float32)
TARGETS = ROWS / 10.0


def sizes(pipeline):
    return {
        phase: pipeline.require_source(phase).num_examples
        for phase in ("train", "validation", "test")
        if pipeline.has(phase)
    }


def rows(pipeline, phase, name="features"):
    """Which examples a split has, in its order."""
    batches = eval_dataset(pipeline, phase, batch_size=7)
    return np.concatenate(
        [inputs[name].numpy().reshape(len(labels), -1)[:, 0] for inputs, labels, *_ in batches]
    ).tolist()


def test_an_array():
    pipeline = pipeline_from_arrays(X, TARGETS)
    check_pipeline(pipeline)
    assert dict(pipeline.features) == {"features": Feature((2,), "float32")}
    assert pipeline.task == tasks.Regression()
    assert sizes(pipeline) == {"train": 36, "validation": 4}
    assert sorted(rows(pipeline, "train") + rows(pipeline, "validation")) == ROWS.tolist()
    for phase in ("train", "validation"):
        for inputs, labels in eval_dataset(pipeline, phase, batch_size=7):
            np.testing.assert_allclose(inputs["features"][:, 0] / 10.0, labels, rtol=1e-6)


def test_shares_of_both_splits_and_the_seed():
    one, again, other = (
        pipeline_from_arrays(X, TARGETS, validation=0.25, test=0.1, split_seed=seed) for seed in (0, 0, 1)
    )
    assert sizes(one) == {"train": 26, "validation": 10, "test": 4}
    for phase in ("train", "validation", "test"):
        assert rows(one, phase) == rows(again, phase)
    assert rows(one, "test") != rows(other, "test")
    assert sorted(rows(one, "train") + rows(one, "validation") + rows(one, "test")) == ROWS.tolist()


def test_class_labels_are_stratified():
    labels = np.repeat([0, 1], [30, 10])
    pipeline = pipeline_from_arrays(X, labels, validation=0.2)
    assert np.bincount(pipeline.source("validation").arrays.labels).tolist() == [6, 2]


def test_integer_targets_are_no_classes():
    pipeline = pipeline_from_arrays(X, ROWS, task=tasks.Regression(), validation=0.25)
    assert sizes(pipeline) == {"train": 30, "validation": 10}
    check_pipeline(pipeline)


def test_no_splits():
    assert sizes(pipeline_from_arrays(X, TARGETS, validation=None)) == {"train": COUNT}


@pytest.mark.parametrize("pair", [tuple, list])
def test_given_splits(pair):
    pipeline = pipeline_from_arrays(
        X, TARGETS, validation=pair([X[:5], TARGETS[:5]]), test=pair([X[5:8], TARGETS[5:8]])
    )
    assert sizes(pipeline) == {"train": COUNT, "validation": 5, "test": 3}
    assert rows(pipeline, "test") == [5, 6, 7]
    check_pipeline(pipeline)


def test_a_dict_of_features():
    features = {"pixels": np.ones((COUNT, 4, 4, 1), np.uint8), "row": ROWS, "word": [f"w{row}" for row in ROWS]}
    pipeline = pipeline_from_arrays(features, ROWS % 2 == 0, validation=(features, ROWS % 3 == 0))
    assert dict(pipeline.features) == {
        "pixels": Feature((4, 4, 1), "uint8"),
        "row": Feature((), "int64"),
        "word": Feature((), "string"),
    }
    assert pipeline.task == tasks.BinaryClassification()
    assert rows(pipeline, "train", "row") == ROWS.tolist()
    check_pipeline(pipeline)


@pytest.mark.parametrize(
    ("labels", "task"),
    [
        (ROWS % 3, tasks.Classification(3)),
        (ROWS % 2 == 0, tasks.BinaryClassification()),
        (np.stack([ROWS % 2, ROWS % 3 == 0], 1), tasks.MultiLabelClassification(2)),
        (TARGETS, tasks.Regression()),
        (np.stack([TARGETS, TARGETS], 1), tasks.Regression(2)),
        (["b", "a"] * 20, tasks.Classification(class_names=["a", "b"])),
        (TARGETS[:, None], tasks.Regression()),  # as many libraries have them
        ((ROWS % 3)[:, None], tasks.Classification(3)),
        (np.array(["b", "a"] * 20)[:, None], tasks.Classification(class_names=["a", "b"])),
    ],
)
def test_the_task_is_told_from_the_labels(labels, task):
    pipeline = pipeline_from_arrays(X, labels)
    assert pipeline.task == task
    check_pipeline(pipeline)


def test_a_given_task_is_kept():
    task = tasks.Regression(offset=2.0)
    assert pipeline_from_arrays(X, ROWS, task=task).task is task
    one_label = tasks.MultiLabelClassification(1)
    pipeline = pipeline_from_arrays(X, (ROWS % 2)[:, None], task=one_label)
    assert pipeline.source("train").arrays.labels.shape[1:] == (1,)
    check_pipeline(pipeline)
    check_pipeline(pipeline_from_arrays(X, (ROWS % 2)[:, None], task=tasks.BinaryClassification()))


def test_text_labels_are_numbered_in_every_split():
    labels = np.array(["cat", "ant", "bee", "cat"] * 10)
    pipeline = pipeline_from_arrays(X, labels, validation=(X[:2], ["bee", "ant"]), test=0.1)
    assert pipeline.task.class_names == ("ant", "bee", "cat")
    assert pipeline.source("validation").arrays.labels.tolist() == [1, 0]
    train = pipeline.source("train").arrays
    assert train.labels.tolist() == [
        {"ant": 0, "bee": 1, "cat": 2}[labels[int(row)]] for row in train.features["features"][:, 0]
    ]
    given = tasks.Classification(class_names=["cat", "bee", "ant", "dog"])
    assert pipeline_from_arrays(X, labels, task=given, validation=None).source("train").arrays.labels[:4].tolist() == [
        0,
        2,
        1,
        0,
    ]


def test_text_labels_that_don_t_fit():
    labels = ["a", "b"] * 20
    with pytest.raises(
        ValueError, match=r"Labels in validation that aren't among the task's classes \['a', 'b'\]: \['c'\]"
    ):
        pipeline_from_arrays(X, labels, validation=(X[:2], ["a", "c"]))
    with pytest.raises(TypeError, match="The labels are text such as 'a', which Regression can't take"):
        pipeline_from_arrays(X, labels, task=tasks.Regression())


def test_heads():
    labels = {"kind": ROWS % 3, "size": TARGETS}
    heads = tasks.Heads({"kind": tasks.Classification(3), "size": tasks.Regression()})
    pipeline = pipeline_from_arrays(X, labels, task=heads, validation=0.2)
    check_pipeline(pipeline)
    assert sizes(pipeline) == {"train": 32, "validation": 8}
    with pytest.raises(
        TypeError, match=r"Labels are a dict: give task=framework\.tasks\.Heads\({head: task, \.\.\.}\)"
    ):
        pipeline_from_arrays(X, labels)


FRAME = pd.DataFrame(
    {
        "age": TARGETS,
        "count": pd.array(ROWS, dtype="Int64"),
        "colour": pd.Categorical(["red", "blue"] * 20),
        "word": ["x", "y"] * 20,
        "flag": ROWS % 2 == 0,
        "kind": ["good", "bad", "ugly", "good"] * 10,
    }
)


def test_a_data_frame():
    pipeline = pipeline_from_arrays(FRAME, "kind", validation=0.2)
    check_pipeline(pipeline)
    assert dict(pipeline.features) == {
        "age": Feature((), "float64"),
        "count": Feature((), "int64"),
        "colour": Feature((), "string"),
        "word": Feature((), "string"),
        "flag": Feature((), "bool"),
    }
    assert pipeline.task == tasks.Classification(class_names=["bad", "good", "ugly"])
    assert list(FRAME) == ["age", "count", "colour", "word", "flag", "kind"]


def test_splits_as_data_frames():
    pipeline = pipeline_from_arrays(FRAME, "kind", validation=FRAME[:5], test=FRAME[5:6])
    assert sizes(pipeline) == {"train": COUNT, "validation": 5, "test": 1}
    assert rows(pipeline, "validation", "count") == [0, 1, 2, 3, 4]
    assert pipeline.source("validation").arrays.labels.tolist() == [1, 0, 2, 1, 1]


def test_a_data_frame_with_labels_beside_it():
    features, labels = FRAME.drop(columns="kind"), FRAME["kind"]
    pipeline = pipeline_from_arrays(features, labels, validation=(features[:3], labels[:3]))
    assert pipeline.source("validation").arrays.labels.tolist() == [1, 0, 2]
    assert pipeline_from_arrays(features, FRAME["age"]).task == tasks.Regression()


@pytest.mark.parametrize("validation", [FRAME.drop(columns="kind"), X, "kind", (X,), (X, TARGETS, X)])
def test_a_split_without_its_labels_is_refused(validation):
    # Not paired with the training labels, which may well have the same length.
    with pytest.raises(TypeError, match=r"validation must be a share, a pair \(features, labels\), a DataFrame where"):
        pipeline_from_arrays(FRAME.drop(columns="kind"), FRAME["kind"], validation=validation)


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"There is no column 'kidn' for the labels; columns: \['age', .*'kind'"):
        pipeline_from_arrays(FRAME, "kidn")


@pytest.mark.parametrize(
    ("columns", "renamed"),
    [
        (["malic acid", "od280/od315"], {"malic acid": "malic_acid", "od280/od315": "od280_od315"}),
        (["class", "2nd"], {"class": "class_", "2nd": "x_2nd"}),
        ([0, 1], {"0": "x_0", "1": "x_1"}),
    ],
)
def test_columns_that_no_signature_can_have_are_refused_with_better_names(columns, renamed):
    frame = pd.DataFrame(X, columns=columns)
    with pytest.raises(ValueError, match="The training data has names that a signature can't have") as error:
        pipeline_from_arrays(frame, TARGETS)
    assert f"data.rename(columns={renamed})" in str(error.value)
    better = frame.rename(columns=str).rename(columns=renamed)
    assert list(pipeline_from_arrays(better, TARGETS).features) == list(renamed.values())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 1.0}, r"The share of the validation split must be in \(0, 1\), got 1\.0\. None means no split"),
        ({"test": 0}, r"The share of the test split must be in \(0, 1\), got 0"),
        ({"validation": 0.5, "test": 0.5}, "Shares must be positive and sum to 1"),
        ({"validation": 0.001}, r"40 examples are too few for the shares .*\['validation'\] would be empty"),
    ],
)
def test_shares_are_checked(settings, message):
    with pytest.raises(ValueError, match=message):
        pipeline_from_arrays(X, TARGETS, **settings)


@pytest.mark.parametrize(
    ("features", "labels", "error", "message"),
    [
        (X[:0], TARGETS[:0], ValueError, "There are no labels to tell the task from"),
        (X[:0], np.zeros(0, int), ValueError, "There are no labels"),
        (X, TARGETS[:-1], ValueError, r"same number of examples on their first axis, got .*'labels': 39"),
        ({"x": [None, "a"]}, [0, 1], TypeError, "feature 'x' holds Python objects such as None"),
    ],
)
def test_arrays_are_checked(features, labels, error, message):
    with pytest.raises(error, match=message):
        pipeline_from_arrays(features, labels)


def test_preprocess_and_augment():
    pipeline = pipeline_from_arrays(
        X,
        TARGETS,
        validation=None,
        preprocess=lambda features: {"x": features["features"] * 2.0},
        augment=lambda features, labels, seeds: ({"features": features["features"] + 1000.0}, labels),
    )
    assert pipeline.interface() == {"x": Feature((2,), "float32")}
    assert rows(pipeline, "train", "x") == (2.0 * ROWS).tolist()
    for inputs, labels in train_dataset(pipeline, batch_size=8, seed=0).take(5):
        np.testing.assert_allclose(inputs["x"][:, 0], 2.0 * (10.0 * labels + 1000.0), rtol=1e-6)


def dataset(weights=False, count=COUNT):
    elements = ({"x": X[:count]}, TARGETS[:count].astype(np.float32))
    return tf.data.Dataset.from_tensor_slices((*elements, TARGETS[:count]) if weights else elements)


def unknown(given):
    return given.filter(lambda *_: True)


@pytest.mark.parametrize(
    ("make", "settings"),
    [
        (dataset, {}),
        (lambda: unknown(dataset()), {}),
        (lambda: dataset().batch(9), {"batched": True}),
        (lambda: unknown(dataset()).batch(9), {"batched": True}),
        (lambda: dataset().repeat(), {"num_examples": {"train": COUNT}}),
        (lambda: unknown(dataset()), {"num_examples": {"train": COUNT}}),
        (lambda: dataset().repeat().batch(9), {"batched": True, "num_examples": {"train": COUNT}}),
    ],
    ids=["known", "unknown", "batched", "batched unknown", "endless", "told", "endless batched"],
)
def test_datasets_of_every_kind(make, settings):
    pipeline = pipeline_from_datasets(make(), task=tasks.Regression(), **settings)
    check_pipeline(pipeline)
    assert sizes(pipeline) == {"train": COUNT}
    assert rows(pipeline, "train", "x") == ROWS.tolist()
    epoch = list(train_dataset(pipeline, batch_size=16, seed=0).take(3))
    assert [len(labels) for _, labels in epoch] == [16, 16, 8]
    trained = np.concatenate([inputs["x"][:, 0] for inputs, _ in epoch]).tolist()
    assert sorted(trained) == ROWS.tolist() != trained


def test_datasets_with_weights_and_every_split():
    pipeline = pipeline_from_datasets(
        dataset(weights=True),
        task=tasks.Regression(),
        validation=unknown(dataset(weights=True, count=5)),
        test=dataset(weights=True).repeat(),
        num_examples={"test": 7},
        shuffle_buffer=3,
    )
    check_pipeline(pipeline)
    assert sizes(pipeline) == {"train": COUNT, "validation": 5, "test": 7}
    assert pipeline.source("train").shuffle_buffer == 3
    for inputs, _, weights in train_dataset(pipeline, batch_size=16, seed=0).take(3):
        np.testing.assert_allclose(inputs["x"][:, 0] / 10.0, weights, rtol=1e-6)


def test_an_endless_dataset_needs_its_length():
    with pytest.raises(ValueError, match="The dataset is endless"):
        pipeline_from_datasets(dataset().repeat(), task=tasks.Regression())


def test_splits_are_checked():
    source = ArraySource({"x": X}, TARGETS)
    for sources in ({"validation": source}, {"train": source, "dev": source}):
        with pytest.raises(ValueError, match=r"Splits must be among .* with 'train' present, got \["):
            ReadyMadePipeline(sources, tasks.Regression())
