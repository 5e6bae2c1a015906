import numpy as np
import pytest
import tensorflow as tf

from framework import tasks
from framework.data.pipeline import Pipeline, signature
from framework.data.serving import DEFAULT, EXAMPLES, FEATURES, SERIALIZED, checked, receivers
from framework.features import Feature, serialize_examples


class Points(Pipeline):
    features = {"x": Feature((2,), "uint8"), "word": Feature((), "string")}
    task = tasks.Regression()

    def preprocess(self, features):
        x = tf.cast(features["x"], tf.float32) / 10.0
        return {"sum": tf.reduce_sum(x, -1), "length": tf.strings.length(features["word"])}


RAW = {"x": np.array([[1, 2], [3, 250]], np.uint8), "word": np.array(["ab", "c"], object)}


def answer(receiver, inputs):
    """As a signature traces it, with its inputs alone."""
    specs = {name: feature.spec(name) for name, feature in receiver.inputs.items()}
    function = tf.function(receiver.to_model).get_concrete_function(specs)
    outputs = function({name: tf.constant(value) for name, value in inputs.items()})
    return {name: value.numpy().tolist() for name, value in outputs.items()}


def test_three_ways_in_make_the_same():
    ways = receivers(Points())
    assert {name: dict(receiver.inputs) for name, receiver in ways.items()} == {
        DEFAULT: Points.features,
        SERIALIZED: {EXAMPLES: Feature((), "string")},
        FEATURES: {"sum": Feature(), "length": Feature((), "int32")},
    }
    expected = {"sum": pytest.approx([0.3, 25.3]), "length": [2, 1]}
    assert answer(ways[DEFAULT], RAW) == expected
    assert answer(ways[SERIALIZED], {EXAMPLES: serialize_examples(RAW, Points.features)}) == expected
    ready = {"sum": np.float32([0.5]), "length": np.int32([7])}
    assert answer(ways[FEATURES], ready) == {"sum": [0.5], "length": [7]}


def test_the_names_are_those_of_the_documentation():
    assert (DEFAULT, SERIALIZED, FEATURES, EXAMPLES) == ("serving_default", "serialized", "features", "examples")


def test_what_an_example_can_t_hold_has_no_serialized_form():
    class Images(Points):
        features = {"x": Feature((None, None), "uint8")}

        def preprocess(self, features):
            return {"sum": tf.reduce_sum(features["x"], (1, 2))}

    assert set(receivers(Images())) == {DEFAULT, FEATURES}

    class Sequences(Images):
        features = {"x": Feature((None, 2), "uint8")}

    assert set(receivers(Sequences())) == {DEFAULT, SERIALIZED, FEATURES}


def test_augmentation_is_never_traced():
    class Augmented(Points):
        def augment(self, features, labels, seeds):
            raise AssertionError("augmented a request")

    ways = receivers(Augmented())
    assert answer(ways[DEFAULT], RAW)["length"] == [2, 1]
    assert answer(ways[SERIALIZED], {EXAMPLES: serialize_examples(RAW, Points.features)})["length"] == [2, 1]


class Own(Points):
    @signature({"pair": Feature((), "string")})
    def from_pair(self, inputs):
        x = tf.cast(tf.strings.to_number(tf.strings.split(inputs["pair"], ",").to_tensor(shape=(None, 2))), tf.uint8)
        return {"x": x, "word": inputs["pair"]}

    @signature({"sum": Feature()}, returns="model")
    def direct(self, inputs):
        return {"sum": inputs["sum"], "length": tf.zeros_like(inputs["sum"], tf.int32)}


def test_signatures_of_one_s_own():
    ways = receivers(Own())
    assert set(ways) == {DEFAULT, SERIALIZED, FEATURES, "from_pair", "direct"}
    assert answer(ways["from_pair"], {"pair": ["1,2", "30,0"]}) == {"sum": pytest.approx([0.3, 3.0]), "length": [3, 4]}
    assert answer(ways["direct"], {"sum": np.float32([9.0])}) == {"sum": [9.0], "length": [0]}


def test_the_default_may_be_one_s_own():
    class OwnDefault(Points):
        @signature({"word": Feature((), "string")}, name=DEFAULT)
        def words_alone(self, inputs):
            return {"x": tf.ones((tf.size(inputs["word"]), 2), tf.uint8), "word": inputs["word"]}

    ways = receivers(OwnDefault())
    assert dict(ways[DEFAULT].inputs) == {"word": Feature((), "string")}
    assert answer(ways[DEFAULT], {"word": ["abc"]}) == {"sum": pytest.approx([0.2]), "length": [3]}


@pytest.mark.parametrize("name", [SERIALIZED, FEATURES])
def test_a_reserved_name_is_refused(name):
    class Clash(Points):
        @signature({"word": Feature((), "string")}, name=name)
        def clash(self, inputs):
            return inputs

    with pytest.raises(ValueError, match=f"Clash declares the signature '{name}', which every export has. Rename it"):
        receivers(Clash())


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"word": "s"}, r"Clumsy's signature 'from_words' doesn't make 'x', which is expected; it makes \['word'\]"),
        ({"word": "s", "x": [[1, 2]]}, r"makes 'x' as int32\(1, 2\), expected is uint8\(None, 2\)"),
    ],
)
def test_raw_features_of_one_s_own_are_checked(made, message):
    class Clumsy(Points):
        @signature({"word": Feature((), "string")})
        def from_words(self, inputs):
            return {name: inputs["word"] if name == "word" else tf.constant(value) for name, value in made.items()}

    with pytest.raises(ValueError, match=message):
        answer(receivers(Clumsy())["from_words"], {"word": ["a"]})


EXPECTED = {"a": Feature((2,), "float32"), "b": Feature((None,), "int64")}


def test_checked_passes_what_the_model_takes_and_drops_the_rest():
    given = {"b": np.zeros((3, 4), np.int64), "a": tf.zeros((3, 2)), "c": tf.zeros(3)}
    assert list(checked(given, EXPECTED, "here")) == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"a": tf.zeros((3, 2))}, r"here doesn't make 'b', which is expected; it makes \['a'\]"),
        ({"a": tf.zeros((3, 4))}, r"here makes 'a' as float32\(3, 4\), expected is float32\(None, 2\)"),
        ({"a": tf.zeros((3, 2), tf.float64)}, r"makes 'a' as float64\(3, 2\), expected is float32"),
        (
            {"a": tf.zeros((3, 2)), "b": tf.zeros(3, tf.int64)},
            r"'b' as int64\(3,\), expected is int64\(None, None\)",
        ),
    ],
)
def test_checked_says_what_doesn_t_fit(given, message):
    with pytest.raises(ValueError, match=message):
        checked(given, EXPECTED, "here")
