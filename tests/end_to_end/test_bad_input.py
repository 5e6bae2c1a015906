"""What a person can get wrong: an error before the first step, which says what was got, expected, and to be done."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.callbacks import NonFiniteLossError
from framework.export import list_versions

RNG = np.random.default_rng(0)
X = RNG.normal(size=(30, 3)).astype(np.float32)
Y = np.arange(30) % 3


class Arrays(framework.Pipeline):
    """What it declares and what it holds may differ."""

    features = {"x": Feature((3,), "float32")}
    task = tasks.Classification(3)

    def __init__(self, x=X, y=Y, features=None, task=None, preprocess=None):
        self.x, self.y, self.made = x, y, preprocess
        self.features, self.task = features or self.features, task or self.task

    def source(self, phase):
        if phase == "test":
            return None
        half = slice(0, 15) if phase == "train" else slice(15, 30)
        arrays = self.x if isinstance(self.x, dict) else {"x": self.x}
        return framework.ArraySource({name: array[half] for name, array in arrays.items()}, self.y[half])

    def preprocess(self, features):
        return self.made(features) if self.made else features


def linear(inputs, task):
    return task.logits(inputs["x"])


def changed(labels, index, value):
    labels = np.array(labels)
    labels[index] = value
    return labels


def stream(x, y):
    dataset = tf.data.Dataset.from_tensor_slices(({"x": x}, y))
    return framework.pipeline_from_datasets(dataset, task=tasks.Classification(3))


DATA = {
    "empty arrays": (
        lambda: framework.pipeline_from_arrays({"x": X[:0]}, Y[:0], task=tasks.Classification(3)),
        ValueError,
        r"at least one feature and one example, got .*'x'.*: 0",
    ),
    "empty split": (lambda: Arrays(x=X[:15], y=Y[:15]), ValueError, r"at least one feature and one example"),
    "empty dataset": (lambda: stream(X[:0], Y[:0]), ValueError, "The dataset is empty"),
    "too few to split": (
        lambda: framework.pipeline_from_arrays({"x": X[:3]}, Y[:3], validation=0.1),
        ValueError,
        r"3 examples are too few for the shares .*\['validation'\] would be empty",
    ),
    "label too large": (
        lambda: Arrays(y=changed(Y, 4, 3)),
        ValueError,
        r"Label out of range in Arrays\.source\('train'\): example 4 has label 3, expected a class id in \[0, 3\)",
    ),
    "label negative, in validation": (
        lambda: Arrays(y=changed(Y, 20, -1)),
        ValueError,
        r"Label out of range in Arrays\.source\('validation'\): example 5 has label -1",
    ),
    "label too large, in a stream": (
        lambda: stream(X, changed(Y, 9, 7)),
        ValueError,
        r"Label out of range in .*example 9 has label 7",
    ),
    "label neither 0 nor 1": (
        lambda: Arrays(task=tasks.BinaryClassification()),
        ValueError,
        r"example 2 has label 2, expected 0 or 1",
    ),
    "labels that are no ids": (
        lambda: Arrays(y=Y + 0.5),
        ValueError,
        r"have dtype float64, expected integer class ids",
    ),
    "target that is no number": (
        lambda: Arrays(y=changed(X[:, 0], 3, np.nan), task=tasks.Regression()),
        ValueError,
        r"Target of example 3 in Arrays\.source\('train'\) is nan\. Drop or fill",
    ),
    "labels of another shape": (
        lambda: Arrays(y=np.eye(3, dtype=np.int64)[Y]),
        ValueError,
        r"Labels in Arrays\.source\('train'\) have shape \(3,\) per example, Classification expects \(\)",
    ),
    "feature of another shape": (
        lambda: Arrays(x=X[:, :2]),
        ValueError,
        r"Feature 'x' of Arrays\.source\('train'\) has shape \(2,\), the pipeline declares \(3,\)",
    ),
    "feature of another dtype": (
        lambda: Arrays(x=X.astype(np.float64)),
        ValueError,
        r"Feature 'x' of Arrays\.source\('train'\) has dtype float64, the pipeline declares float32\. Convert",
    ),
    "feature misspelt": (
        lambda: Arrays(x={"xx": X}),
        ValueError,
        r"Arrays\.source\('train'\) has no feature 'x'\. Did you mean 'xx'\? It has \['xx'\]",
    ),
    "feature that isn't declared": (
        lambda: Arrays(x={"x": X, "y": X}),
        ValueError,
        r"has features that the pipeline doesn't declare: \['y'\]",
    ),
    "no features": (lambda: Arrays(features={}, x={}), ValueError, r"features is empty|at least one feature"),
    "preprocess returns a tensor": (
        lambda: Arrays(preprocess=lambda features: features["x"]),
        TypeError,
        r"Arrays\.preprocess must return a dict of named tensors",
    ),
    "preprocess loses the batch": (
        lambda: Arrays(preprocess=lambda features: {"x": tf.reduce_mean(features["x"], axis=0)}),
        ValueError,
        r"Arrays\.preprocess returned 'x' with shape \(3,\); expected the batch as first axis",
    ),
}


@pytest.mark.parametrize(("make", "kind", "error"), DATA.values(), ids=DATA)
def test_data(make, kind, error, tmp_path):
    with pytest.raises(kind, match=error):
        framework.fit(linear, make(), run_dir=tmp_path, batch_size=5, epochs=1, verbose=0)
    assert_nothing_began(tmp_path)


def assert_nothing_began(run_dir):
    """So that the same directory takes the corrected call."""
    assert {path.name for path in run_dir.iterdir()} <= {".lock", "profile.json", "statistics.npz"}


def with_softmax_layer(inputs, task):
    return keras.layers.Softmax()(task.logits(inputs["x"]))


def wants_something_else(inputs, task):
    return task.logits(inputs["xs"])


def wants_much(inputs, task, *, depth: int):
    return task.logits(inputs["x"])


MODELS = {
    "wrong units": (
        lambda inputs, task: keras.layers.Dense(2)(inputs["x"]),
        ValueError,
        r"returned an output of shape \(None, 2\), Classification expects \(None, 3\)\. End it with",
    ),
    "wrong rank": (
        lambda inputs, task: keras.layers.Reshape((1, 3))(task.logits(inputs["x"])),
        ValueError,
        r"shape \(None, 1, 3\), Classification expects \(None, 3\)",
    ),
    "probabilities": (
        lambda inputs, task: keras.layers.Dense(3, activation="softmax", name="last")(inputs["x"]),
        ValueError,
        r"last layer 'last' applies softmax, Classification expects logits\. Remove .* from_logits=False",
    ),
    "probabilities by a layer": (with_softmax_layer, ValueError, r"applies softmax, Classification expects logits"),
    "nothing": (
        lambda inputs, task: None,
        TypeError,
        r"must return a Keras tensor \[batch, 3\] for Classification, got NoneType",
    ),
    "an array": (lambda inputs, task: np.zeros((2, 3)), TypeError, r"must return a Keras tensor .* got ndarray"),
    "two outputs": (
        lambda inputs, task: {"a": task.logits(inputs["x"]), "b": inputs["x"]},
        TypeError,
        r"got a dict of \['a', 'b'\]",
    ),
    "a feature that isn't there": (
        wants_something_else,
        LookupError,
        r"asks for the feature 'xs', the pipeline makes \['x'\]\. Did you mean 'x'",
    ),
    "images for a table": ("small_cnn", LookupError, r"asks for the feature 'image', the pipeline makes \['x'\]"),
    "a name that nothing has": (
        "small_cmm",
        LookupError,
        r"No model is registered as 'small_cmm'\. Did you mean 'small_cnn'",
    ),
    "a missing hyper-parameter": (wants_much, ValueError, r"needs a value for the hyper-parameter 'depth'"),
    "a class": (keras.Model, TypeError, r"A model is a function build\(inputs, task"),
}


@pytest.mark.parametrize(("builder", "kind", "error"), MODELS.values(), ids=MODELS)
def test_models(builder, kind, error, tmp_path):
    with pytest.raises(kind, match=error):
        framework.fit(builder, Arrays(), run_dir=tmp_path, batch_size=5, epochs=1, verbose=0)
    assert_nothing_began(tmp_path)


def test_text_for_a_model_of_numbers(tmp_path):
    pipeline = Arrays(x={"word": np.array(["a", "b"] * 15)}, features={"word": Feature((), "string")})
    with pytest.raises(ValueError, match=r"mlp takes numbers, the features \['word'\] are text\. Use wide_and_deep"):
        framework.fit("mlp", pipeline, run_dir=tmp_path, batch_size=5)
    assert_nothing_began(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "kind", "error"),
    [
        (
            {"batch_size": 16},
            ValueError,
            r"batch_size 16 is larger than the training split \(15 examples\)\. Use batch_size=15",
        ),
        ({"batch_size": 0}, ValueError, r"batch_size must be at least 1, got 0"),
        ({"batch_size": 5.0}, TypeError, r"batch_size must be an integer, got 5\.0"),
        ({"hparams": {"widht": 3}}, ValueError, r"no hyper-parameter 'widht'\."),
        (
            {"objective": framework.Objective("val_acuracy", "max")},
            LookupError,
            r"They will have: .*val_accuracy, val_loss",
        ),
        ({"objective": "val_luck"}, ValueError, r"Is more or less of 'val_luck' better"),
        (
            {"optimization": framework.Optimization(steps_per_execution=2)},
            ValueError,
            r"steps_per_execution=2 doesn't divide the 3 steps",
        ),
        ({"pipeline_options": {"x": 1}}, TypeError, r"pipeline_options are for a pipeline given by name"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_settings(arguments, kind, error, tmp_path):
    with pytest.raises(kind, match=error):
        framework.fit(linear, Arrays(), run_dir=tmp_path, **{"batch_size": 5, "verbose": 0, **arguments})
    assert_nothing_began(tmp_path)


@pytest.mark.parametrize("below", [False, True], ids=["a file", "below a file"])
def test_run_dir_that_cant_be_written(below, tmp_path):
    (tmp_path / "taken").write_text("mine")
    run_dir = tmp_path / "taken" / "run" if below else tmp_path / "taken"
    with pytest.raises(OSError, match=rf"run_dir '{run_dir}' can't be written \(.*\)\. Choose another one"):
        framework.fit(linear, Arrays(), run_dir=run_dir, batch_size=5, verbose=0)
    assert (tmp_path / "taken").read_text() == "mine"


class Poison(keras.callbacks.Callback):
    """Makes the weights NaN before a step of an epoch, as a bad batch would."""

    def __init__(self, *when):
        super().__init__()
        self.when, self.epoch = when, None

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self.epoch, batch) == self.when:
            self.model.set_weights([weight * np.nan for weight in self.model.get_weights()])

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def train(run_dir, *when):
    return framework.fit(
        linear, Arrays(), run_dir=run_dir, batch_size=5, epochs=4, stopping=None, callbacks=[Poison(*when)], verbose=0
    )


def test_nan_loss_stops_says_where_and_the_last_good_state_goes_on(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"The loss is nan at epoch 2, step 1 \(counted from 0\)") as caught:
        train(tmp_path / "bad", 2, 1)
    assert (caught.value.epoch, caught.value.step) == (2, 1)
    assert f"last good state is in {tmp_path / 'bad' / 'checkpoints'}" in str(caught.value)
    assert not (tmp_path / "bad" / "result.json").exists()
    assert len((tmp_path / "bad" / "history.csv").read_text().splitlines()) == 1 + 2
    for version in list_versions(tmp_path / "bad" / "export"):
        checkpoint = tf.train.load_checkpoint(
            str(tmp_path / "bad" / "export" / str(version) / "variables" / "variables")
        )
        assert np.isfinite(checkpoint.get_tensor("model_variables/0/.ATTRIBUTES/VARIABLE_VALUE")).all()

    mended, never = train(tmp_path / "bad"), train(tmp_path / "good")
    assert mended.history == never.history
    assert mended.best == never.best
    for one, other in zip(mended.model.get_weights(), never.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nan_in_a_feature_is_found_in_the_first_epoch(tmp_path):
    with pytest.raises(NonFiniteLossError, match=r"epoch 0, step \d .*look for bad values in the data"):
        framework.fit(linear, Arrays(x=changed(X, 7, np.nan)), run_dir=tmp_path, batch_size=5, verbose=0)
    assert list_versions(tmp_path / "export") == []
