import copy
import pathlib
import pickle
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data.pipeline import Pipeline, Signature, signature
from framework.data.sources import ArraySource
from framework.data.statistics import Statistics
from framework.features import Feature


class Numbers(Pipeline):
    features = {"x": Feature((2,), "uint8"), "y": Feature((), "float32")}
    task = tasks.Regression()

    def __init__(self, scale: float = 1.0, *names: str, offset: float = 0.0, **more):
        self.scale = scale

    def source(self, phase):
        if phase == "test":
            return None
        first = {"train": 0, "validation": 100}[phase]
        rows = np.arange(first, first + 6)
        return ArraySource({"x": np.stack([rows, rows], 1).astype(np.uint8), "y": rows.astype(np.float32)}, rows * 1.0)


def test_the_class_in_the_docstring_is_a_pipeline():
    block = Pipeline.__doc__[Pipeline.__doc__.index("        class Digits") : Pipeline.__doc__.index("    Attributes:")]
    names = {
        "framework": framework,
        "tf": tf,
        "images": {"train": np.ones((3, 8, 8), np.uint8)},
        "labels": {"train": [1, 2, 3]},
    }
    exec(textwrap.dedent(block), names)
    digits = names["Digits"]()
    assert digits.interface() == {"image": Feature((8, 8, 1), "float32")}
    assert digits.require_source("train").num_examples == 3


def test_options_are_the_constructor_s_arguments():
    assert Numbers().options == {"scale": 1.0, "offset": 0.0}
    assert Numbers(2.0, "a", "b", offset=1.0, colour="red").options == {"scale": 2.0, "offset": 1.0, "colour": "red"}

    class Plain(Pipeline):
        pass

    assert Plain().options == {}
    assert (Plain().name, Numbers().name) == ("Plain", "Numbers")

    class Strict(Pipeline):
        def __init__(self, scale=1.0):
            pass

    with pytest.raises(TypeError, match="scales"):
        Strict(scales=2.0)


def test_paths_are_kept_as_text():
    # As they are written into a run's configuration, from which the pipeline is made again.
    options = Numbers(pathlib.Path("a.csv"), colour=[pathlib.Path("b"), "c"]).options
    assert options == {"scale": "a.csv", "offset": 0.0, "colour": ["b", "c"]}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda pipeline: pickle.loads(pickle.dumps(pipeline))])
def test_a_copy_keeps_its_options(duplicate):
    twin = duplicate(Numbers(3.0, offset=2.0))
    assert (twin.options, twin.scale) == ({"scale": 3.0, "offset": 2.0}, 3.0)


def test_splits():
    pipeline = Numbers()
    assert [pipeline.has(phase) for phase in ("train", "validation", "test")] == [True, True, False]
    assert pipeline.require_source("validation").num_examples == 6
    with pytest.raises(ValueError, match="The pipeline Numbers has no test split"):
        pipeline.require_source("test")
    for ask in (pipeline.has, pipeline.require_source):
        with pytest.raises(
            ValueError, match=r"There is no phase 'eval'; a split is one of 'train', 'validation', 'test'"
        ):
            ask("eval")


def test_a_source_is_needed_and_must_be_one():
    class Unfinished(Pipeline):
        pass

    with pytest.raises(NotImplementedError, match=r"Unfinished must define source\(phase\)"):
        Unfinished().has("train")

    class Wrong(Pipeline):
        def source(self, phase):
            return [1, 2]

    with pytest.raises(
        TypeError, match=r"Wrong\.source\('train'\) must return a Source such as ArraySource .* got list"
    ):
        Wrong().require_source("train")


class Learning(Numbers):
    def learn(self, train):
        self.batches = list(train)
        return {"mean": np.mean([example.features["y"].numpy().mean() for example in self.batches])}

    def augment(self, features, labels, seeds):
        raise AssertionError("augmented before learning")

    def preprocess(self, features):
        return {"y": features["y"] - float(self.statistics["mean"])}


def test_statistics_are_learned_from_the_training_split_alone():
    pipeline = Learning()
    learned = pipeline.with_statistics()
    assert float(learned.statistics["mean"]) == 2.5
    assert sum(len(example.labels) for example in pipeline.batches) == 6
    assert len(pipeline.statistics) == 0
    assert learned.options == pipeline.options


def test_statistics_may_be_given():
    pipeline = Learning()
    given = pipeline.with_statistics(Statistics({"mean": 1.0}))
    assert not hasattr(pipeline, "batches")
    assert given.preprocess({"y": tf.constant([3.0])})["y"].numpy().tolist() == [2.0]


def test_what_learn_returns_is_checked():
    class Wrong(Numbers):
        def learn(self, train):
            return [1.0]

    with pytest.raises(TypeError, match=r"Wrong\.learn must return a dict of arrays, got list"):
        Wrong().with_statistics()


def test_the_interface_is_what_preprocess_makes():
    class Two(Numbers):
        def preprocess(self, features):
            x = tf.cast(features["x"], tf.float16)
            return {"image": tf.reshape(x, (-1, 2, 1)), "parity": tf.cast(features["y"], tf.int64) % 2}

    assert Numbers().interface() == Numbers.features
    pipeline = Two()
    assert pipeline.interface() == {"image": Feature((2, 1), "float16"), "parity": Feature((), "int64")}
    assert set(pipeline.features) == {"x", "y"}


def test_varying_axes_stay_unknown():
    class Text(Pipeline):
        features = {"ids": Feature((None,), "int64")}

    assert Text().interface() == {"ids": Feature((None,), "int64")}


def returning(make):
    class Returning(Numbers):
        def preprocess(self, features):
            return make(features)

    return Returning()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f: f["x"], TypeError, r"Returning\.preprocess must return a dict of named tensors, got "),
        (lambda f: {}, TypeError, r"must return a dict of named tensors, got \{\}"),
        (lambda f: None, TypeError, r"must return a dict of named tensors, got None"),
        (lambda f: {"x": tf.RaggedTensor.from_tensor(f["x"])}, TypeError, "for 'x'; expected a dense tensor"),
        (lambda f: {"x": (f["x"], f["y"])}, TypeError, "for 'x'; expected a dense tensor"),
        (
            lambda f: {"x": tf.reduce_mean(f["y"])},
            ValueError,
            r"returned 'x' with shape \(\); expected the batch as first",
        ),
        (
            lambda f: {"x": tf.reshape(f["x"], (1, -1))},
            ValueError,
            r"'x' with shape \(1, None\).*give shapes as \(-1, \.\.\.\)",
        ),
        (lambda f: {"two words": f["x"]}, ValueError, r"Returning\.preprocess has names that .*: 'two words'"),
        (lambda f: {"X": f["x"], "x": f["x"]}, ValueError, "can't tell them apart"),
        (lambda f: {"x": f.pop("x")}, ValueError, "should not modify its Python input arguments"),
    ],
)
def test_what_preprocess_returns_is_checked(make, error, message):
    with pytest.raises(error, match=message):
        returning(make).interface()


class Serving(Numbers):
    @signature({"text": Feature((), "string")})
    def from_text(self, inputs):
        """Numbers as text."""
        y = tf.strings.to_number(inputs["text"]) * self.scale
        return {"x": tf.zeros((tf.size(y), 2), tf.uint8), "y": y}

    @signature({"z": Feature((3,))}, name="direct", returns="model")
    def anything(self, inputs):
        return {"y": inputs["z"][:, 0]}


def test_signatures_are_methods():
    pipeline = Serving(2.0)
    found = pipeline.signatures()
    assert {name: (one.inputs, one.returns) for name, one in found.items()} == {
        "from_text": ({"text": Feature((), "string")}, "raw"),
        "direct": ({"z": Feature((3,))}, "model"),
    }
    assert all(isinstance(one, Signature) for one in found.values())
    assert found["from_text"].function({"text": tf.constant(["3"])})["y"].numpy().tolist() == [6.0]
    assert Serving.from_text.__doc__ == "Numbers as text."
    assert Numbers().signatures() == {}


def test_signatures_are_inherited_and_overridden():
    class Child(Serving):
        @signature({"text": Feature((), "string"), "more": Feature()})
        def from_text(self, inputs):
            return inputs

    assert set(Child().signatures()) == {"from_text", "direct"}
    assert set(Child().signatures()["from_text"].inputs) == {"text", "more"}

    class Without(Serving):
        from_text = None

    assert set(Without().signatures()) == {"direct"}


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (({"x": Feature()}, "model"), TypeError, "positional"),
        (([Feature()],), TypeError, r"signature\(inputs\) takes a dict of names to Features, got \["),
        (({"x": "float32"},), TypeError, "takes a dict of names to Features"),
        (({"my x": Feature()},), ValueError, r"signature\(inputs\) has names that .*'my x'"),
    ],
)
def test_a_signature_s_inputs_are_checked(arguments, error, message):
    with pytest.raises(error, match=message):
        signature(*arguments)


def test_what_a_signature_returns_is_one_of_two():
    with pytest.raises(ValueError, match="returns must be 'raw' or 'model', got 'features'"):
        signature({"x": Feature()}, returns="features")


def test_resources_are_what_an_export_must_track():
    class WithTables(Numbers):
        def __init__(self):
            super().__init__()
            self.layer = keras.layers.StringLookup(vocabulary=["a"])
            keys = tf.lookup.KeyValueTensorInitializer(["a"], [1])
            self.table = tf.lookup.StaticHashTable(keys, 0)
            self.number = 3

    pipeline = WithTables().with_statistics(Statistics({"v": ["a", "b"]}))
    lookup = pipeline.statistics.lookup("v")
    assert pipeline.resources == [pipeline.layer, pipeline.table, lookup]
    assert Numbers().resources == []
