import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.data.serving import Receiver, receivers
from framework.data.statistics import vocabulary
from framework.export.forward import model_inputs
from framework.export.signatures import build_signatures, plain_predictions

COLOURS = ("red", "green", "blue")
PHRASES = ("a small dog", "small cat", "the big dog runs", "")


class Mixed(framework.Pipeline):
    """Bytes, text and numbers, with a learned vocabulary, a vectorizer and two signatures of its own."""

    features = {
        "pixels": Feature((2, 2), "uint8"),
        "colour": Feature((), "string"),
        "text": Feature((), "string"),
        "size": Feature((), "float32"),
    }
    task = tasks.Classification(class_names=["low", "high"])

    def __init__(self):
        self.words = keras.layers.TextVectorization(vocabulary=["small", "dog", "cat"], output_sequence_length=3)

    def source(self, phase):
        arrays, labels = examples(40, seed=("train", "validation", "test").index(phase))
        return framework.ArraySource(arrays, labels)

    def learn(self, train):
        return {"colour": vocabulary(train, "colour")}

    def preprocess(self, features):
        return {
            "pixels": tf.cast(features["pixels"], tf.float32) / 255.0,
            "colour": tf.one_hot(self.statistics.lookup("colour")(features["colour"]), len(COLOURS) + 1),
            "words": tf.cast(self.words(features["text"]), tf.float32),
            "size": features["size"],
        }

    @framework.signature({"pixels": Feature((2, 2), "float32"), "size": Feature((), "float64")}, name="plain_red")
    def from_unit_pixels(self, inputs):
        pixels = tf.cast(tf.round(inputs["pixels"] * 255.0), tf.uint8)
        red = tf.fill(tf.shape(inputs["size"]), "red")
        return {"pixels": pixels, "colour": red, "text": red, "size": tf.cast(inputs["size"], tf.float32)}

    @framework.signature({"size": Feature()}, returns="model")
    def only_size(self, inputs):
        ones = tf.ones_like(inputs["size"])[:, tf.newaxis]
        return {
            "pixels": tf.ones((1, 2, 2)) * ones[:, :, tf.newaxis],
            "colour": tf.ones((1, 4)) * ones,
            "words": tf.zeros((1, 3)) * ones,
            "size": inputs["size"],
        }


def examples(count, seed):
    rng = np.random.default_rng(seed)
    arrays = {
        "pixels": rng.integers(0, 256, (count, 2, 2), dtype=np.uint8),
        "colour": rng.choice(COLOURS, count),
        "text": rng.choice(PHRASES, count),
        "size": rng.normal(size=count).astype(np.float32),
    }
    return arrays, (arrays["pixels"].mean(axis=(1, 2)) > 127).astype(np.int64)


def joined(inputs, task, *, width: int = 16):
    columns = [keras.layers.Flatten()(tensor) for tensor in inputs.values()]
    x = keras.layers.Dense(width, activation="relu")(keras.layers.Concatenate()(columns))
    return task.logits(keras.layers.Dropout(0.5)(x))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return framework.fit(
        joined,
        Mixed(),
        run_dir=tmp_path_factory.mktemp("run"),
        epochs=2,
        batch_size=20,
        optimization=framework.Optimization(learning_rate=0.1, steps_per_execution=1),
        verbose=0,
    )


@pytest.fixture(scope="module")
def loaded(run):
    return tf.saved_model.load(str(run.export_dir))


def answer(loaded, name, inputs):
    tensors = {key: tf.constant(value) for key, value in inputs.items()}
    return {key: value.numpy() for key, value in loaded.signatures[name](**tensors).items()}


def assert_same(answered, predicted):
    assert set(answered) == set(predicted) == {"logits", "probabilities", "class_id", "class_name"}
    for name in ("logits", "probabilities"):
        np.testing.assert_allclose(answered[name], predicted[name], rtol=0, atol=1e-5)
    for name in ("class_id", "class_name"):
        np.testing.assert_array_equal(answered[name], predicted[name])


def serialize(arrays):
    """`tf.Example` protos as a client in another language would make them."""

    def example(row):
        features = {
            "pixels": tf.train.Feature(int64_list=tf.train.Int64List(value=row["pixels"].ravel().tolist())),
            "colour": tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(row["colour"]).encode()])),
            "text": tf.train.Feature(bytes_list=tf.train.BytesList(value=[str(row["text"]).encode()])),
            "size": tf.train.Feature(float_list=tf.train.FloatList(value=[row["size"]])),
            "not asked for": tf.train.Feature(int64_list=tf.train.Int64List(value=[1])),
        }
        return tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString()

    count = len(arrays["size"])
    return [example({name: array[index] for name, array in arrays.items()}) for index in range(count)]


def test_every_signature_has_named_typed_inputs_and_a_free_batch(loaded):
    declared = {name: function.structured_input_signature[1] for name, function in loaded.signatures.items()}
    text, number = tf.TensorSpec((None,), tf.string), tf.TensorSpec((None,), tf.float32)
    expected = {
        "serving_default": {
            "pixels": tf.TensorSpec((None, 2, 2), tf.uint8),
            "colour": text,
            "text": text,
            "size": number,
        },
        "serialized": {"examples": text},
        "features": {
            "pixels": tf.TensorSpec((None, 2, 2), tf.float32),
            "colour": tf.TensorSpec((None, 4), tf.float32),
            "words": tf.TensorSpec((None, 3), tf.float32),
            "size": number,
        },
        "plain_red": {"pixels": tf.TensorSpec((None, 2, 2), tf.float32), "size": tf.TensorSpec((None,), tf.float64)},
        "only_size": {"size": number},
    }
    assert declared.keys() == expected.keys()
    for name, specs in expected.items():
        assert {key: (spec.shape.as_list(), spec.dtype) for key, spec in declared[name].items()} == {
            key: (spec.shape.as_list(), spec.dtype) for key, spec in specs.items()
        }, name


def test_every_signature_has_the_tasks_predictions_by_name(loaded):
    for name, function in loaded.signatures.items():
        outputs = {key: (spec.shape.as_list(), spec.dtype) for key, spec in function.structured_outputs.items()}
        assert outputs == {
            "logits": ([None, 2], tf.float32),
            "probabilities": ([None, 2], tf.float32),
            "class_id": ([None], tf.int64),
            "class_name": ([None], tf.string),
        }, name


@pytest.mark.parametrize("batch", [1, 3, 32])
class TestAgreesWithPredict:
    def test_serving_default(self, run, loaded, batch):
        arrays, _ = examples(batch, seed=7)
        assert_same(answer(loaded, "serving_default", arrays), run.predict(arrays))

    def test_serialized(self, run, loaded, batch):
        arrays, _ = examples(batch, seed=8)
        assert_same(answer(loaded, "serialized", {"examples": serialize(arrays)}), run.predict(arrays))

    def test_features(self, run, loaded, batch):
        arrays, _ = examples(batch, seed=9)
        inputs = run.pipeline.preprocess({name: tf.constant(array) for name, array in arrays.items()})
        assert_same(answer(loaded, "features", inputs), run.predict(arrays))

    def test_own_that_makes_raw_features(self, run, loaded, batch):
        arrays, _ = examples(batch, seed=10)
        red = np.full(batch, "red")
        sent = {"pixels": arrays["pixels"].astype(np.float32) / 255, "size": arrays["size"].astype(np.float64)}
        assert_same(answer(loaded, "plain_red", sent), run.predict({**arrays, "colour": red, "text": red}))

    def test_own_that_makes_the_models_inputs(self, run, loaded, batch):
        size = np.linspace(-1, 1, batch, dtype=np.float32)
        inputs = run.pipeline.only_size({"size": tf.constant(size)})
        assert_same(answer(loaded, "only_size", {"size": size}), answer(loaded, "features", inputs))
        logits = run.model(inputs, training=False)
        np.testing.assert_allclose(answer(loaded, "only_size", {"size": size})["logits"], logits, rtol=0, atol=1e-5)


def test_words_out_of_the_vocabulary_are_one_class_of_their_own(run, loaded):
    arrays, _ = examples(2, seed=11)
    arrays["colour"] = np.array(["mauve", "ochre"])
    assert_same(answer(loaded, "serving_default", arrays), run.predict(arrays))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"pixels": np.array([[[0, 1], [2, 300]]])}, "pixels.* has values outside the range of uint8"),
        ({"pixels": np.array([[[0, 1], [2, -1]]])}, "pixels.* has values outside the range of uint8"),
        ({"pixels": np.array([[0, 1]])}, "pixels"),
    ],
)
def test_serialized_refuses_what_the_feature_cant_hold(loaded, change, error):
    arrays, _ = examples(1, seed=12)
    with pytest.raises(tf.errors.InvalidArgumentError, match=error):
        answer(loaded, "serialized", {"examples": serialize({**arrays, **change})})


def test_serialized_refuses_a_proto_without_a_feature(loaded):
    empty = tf.train.Example().SerializeToString()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"colour.*required|required.*colour"):
        answer(loaded, "serialized", {"examples": [empty]})


def small_model():
    features, number = keras.Input((3,), name="vector"), keras.Input((), name="number")
    x = keras.layers.Concatenate()([features, keras.layers.Flatten()(number)])
    return keras.Model({"vector": features, "number": number}, keras.layers.Dense(2)(x))


@pytest.mark.parametrize(
    ("makes", "error"),
    [
        (
            lambda f: {"vector": f["raw"]},
            r"signature 'way' doesn't make 'number', which is expected; it makes \['vector'\]",
        ),
        (
            lambda f: {"vector": f["raw"][:, :2], "number": f["raw"][:, 0]},
            r"signature 'way' makes 'vector' as float32\(None, 2\), expected is float32\(None, 3\)",
        ),
        (
            lambda f: {"vector": tf.cast(f["raw"], tf.float64), "number": f["raw"][:, 0]},
            r"signature 'way' makes 'vector' as float64\(None, 3\), expected is float32",
        ),
    ],
)
def test_receiver_that_doesnt_make_the_models_inputs_is_an_error(makes, error):
    with pytest.raises(ValueError, match=error):
        build_signatures(small_model(), {"way": Receiver({"raw": Feature((3,))}, makes)})


def test_values_are_those_of_the_moment_of_the_call():
    model = small_model()
    signatures = build_signatures(model, {"way": Receiver(model_inputs(model), lambda inputs: inputs)})
    inputs = {"vector": tf.ones((1, 3)), "number": tf.ones((1,))}
    for scale in (1.0, 2.0):
        model.set_weights([np.full_like(weight, scale) for weight in model.get_weights()])
        assert signatures.functions["way"](**inputs)["outputs"].numpy().tolist() == [[5 * scale, 5 * scale]]


def test_outputs_without_a_task_keep_their_names():
    one, two = tf.ones((1, 1)), tf.zeros((1, 1))
    assert plain_predictions(one) == {"outputs": one}
    assert plain_predictions([one, two]) == {"outputs_0": one, "outputs_1": two}
    assert plain_predictions({"b": one, "a": two}) == {"b": one, "a": two}


def test_inputs_keep_their_names_and_nameless_ones_get_one_that_stays():
    named = keras.Input((2,), dtype="int32", name="ids")
    assert model_inputs(keras.Model(named, named)) == {"ids": Feature((2,), "int32")}
    nameless = keras.Input((None, 1))
    assert model_inputs(keras.Model(nameless, nameless)) == {"inputs": Feature((None, 1))}
    assert model_inputs(keras.Sequential([keras.Input((4,)), keras.layers.ReLU()])) == {"inputs": Feature((4,))}
    pair = keras.Model([keras.Input((1,)), named], keras.layers.Flatten()(named))
    assert list(model_inputs(pair)) == ["inputs_0", "ids"]
    assert list(model_inputs(small_model())) == ["vector", "number"]


def test_model_without_symbolic_inputs_is_an_error():
    class Subclassed(keras.Model):
        def call(self, inputs):
            return inputs

    with pytest.raises(ValueError, match="'nobody' isn't functional: it has no named inputs"):
        model_inputs(Subclassed(name="nobody"))


class Ragged(framework.Pipeline):
    """A feature that no `tf.Example` can hold."""

    features = {"image": Feature((None, None, 1), "float32")}
    task = tasks.Regression()

    def preprocess(self, features):
        return {"image": tf.image.resize(features["image"], (2, 2))}


def test_features_that_no_tf_example_can_hold_have_no_serialized_signature():
    assert set(receivers(Ragged())) == {"serving_default", "features"}


def test_own_signature_may_replace_the_default_but_not_the_others():
    class Default(Ragged):
        @framework.signature({"size": Feature((), "int32")}, name="serving_default")
        def sized(self, inputs):
            return {"image": tf.ones((tf.shape(inputs["size"])[0], 4, 4, 1))}

    class Clash(Ragged):
        @framework.signature({"size": Feature((), "int32")}, name="features")
        def sized(self, inputs):
            return inputs

    assert receivers(Default())["serving_default"].inputs == {"size": Feature((), "int32")}
    with pytest.raises(ValueError, match="Clash declares the signature 'features', which every export has"):
        receivers(Clash())
