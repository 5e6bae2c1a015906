"""Top-k, embeddings, saliency and masked rows, each through a written and reloaded SavedModel."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.building import build_model
from framework.data.serving import DEFAULT, ENCODED, EXAMPLES, SERIALIZED, receivers
from framework.export.answers import Answers, predictions_of
from framework.export.signatures import build_signatures

NAMES = ("a", "b", "c", "d")
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (6, 8, 8, 3), np.uint8)
ENCODINGS = np.array([tf.io.encode_png(image).numpy() for image in IMAGES], object)
WEIGHTS = np.linspace(0.0, 1.0, 6).astype(np.float32)


class Photos(framework.Pipeline):
    features = {"image": framework.Image((8, 8, 3)), "weight": framework.Feature()}
    task = tasks.Classification(class_names=NAMES)

    def source(self, phase):
        return framework.ArraySource({"image": ENCODINGS, "weight": WEIGHTS}, np.arange(6) % 4)

    def preprocess(self, features):
        return {"image": tf.cast(features["image"], tf.float32) / 255.0, "weight": features["weight"]}


def attentive(inputs, task):
    x = keras.layers.Reshape((64, 3))(inputs["image"])
    attended, _ = keras.layers.MultiHeadAttention(1, 4, name="look")(x, x, return_attention_scores=True)
    x = keras.layers.GlobalAveragePooling1D()(attended)
    x = keras.layers.Dense(5, activation="relu")(x)
    joined = keras.layers.Concatenate()([x, keras.layers.Reshape((1,))(inputs["weight"])])
    return task.logits(joined)


def export(tmp_path, answers, pipeline=None, builder=attentive):
    pipeline = pipeline or Photos()
    model = build_model(builder, pipeline.interface(), pipeline.task, seed=0)
    made = build_signatures(model, receivers(pipeline), predictions_of(pipeline.task, answers), answers=answers)
    tf.saved_model.save(made.module, str(tmp_path / "export"), signatures=made.functions)
    return model, tf.saved_model.load(str(tmp_path / "export"))


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    answers = Answers(top_k=2, layers=("dense", "look"), saliency=True, on_error="mask")
    return export(tmp_path_factory.mktemp("answers"), answers)


def ask(loaded, signature=ENCODED, count=6, **changed):
    inputs = {"image": ENCODINGS[:count].tolist(), "weight": WEIGHTS[:count], **changed}
    return {n: v.numpy() for n, v in loaded.signatures[signature](**tf.nest.map_structure(tf.constant, inputs)).items()}


def test_top_k_are_the_most_probable_with_their_names(everything):
    answer = ask(everything[1])
    order = np.argsort(-answer["probabilities"], axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(answer["top_k_class_ids"], order)
    np.testing.assert_allclose(answer["top_k_probabilities"], np.take_along_axis(answer["probabilities"], order, 1))
    assert answer["top_k_class_names"].tolist() == [[NAMES[i].encode() for i in row] for row in order]


def test_layers_answer_what_they_compute(everything):
    model, loaded = everything
    answer = ask(loaded)
    inputs = {"image": IMAGES.astype(np.float32) / 255, "weight": WEIGHTS}
    expected = keras.Model(model.input, model.get_layer("look").output)(inputs)
    np.testing.assert_allclose(answer["look_0"], expected[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer["look_1"], expected[1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(answer["look_1"].sum(-1), 1.0, rtol=1e-5)  # attention
    assert answer["dense"].shape == (6, 5)


def test_saliency_is_the_gradient_of_the_winning_score(everything):
    model, loaded = everything
    answer = ask(loaded, "encoded_saliency")
    inputs = {"image": tf.constant(IMAGES, tf.float32) / 255.0, "weight": tf.constant(WEIGHTS)}
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        score = tf.reduce_sum(tf.reduce_max(model(inputs, training=False), axis=-1))
    gradients = tape.gradient(score, inputs)
    np.testing.assert_allclose(answer["saliency_image"], np.abs(gradients["image"]), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(answer["saliency_weight"], np.abs(gradients["weight"]), rtol=1e-3, atol=1e-6)
    pixels = ask(loaded, "saliency", image=IMAGES)
    np.testing.assert_allclose(pixels["saliency_image"], answer["saliency_image"], rtol=1e-4, atol=1e-6)


def test_a_bad_row_is_masked_and_the_others_are_answered(everything):
    _, loaded = everything
    good = ask(loaded)
    assert set(good["error"].tolist()) == {b""}
    encodings = ENCODINGS.tolist()
    encodings[1], encodings[4] = b"junk", encodings[4][:40]
    for signature in (ENCODED, SERIALIZED):
        if signature == SERIALIZED:
            protos = Photos().serialize({"image": np.array(encodings, object), "weight": WEIGHTS})
            protos[3] = b"no proto"
            bad = [1, 3, 4]
            answered = loaded.signatures[SERIALIZED](**{EXAMPLES: tf.constant(protos.tolist())})
            answer = {name: value.numpy() for name, value in answered.items()}
        else:
            bad, answer = [1, 4], ask(loaded, image=encodings)
        assert np.flatnonzero(answer["error"] != b"").tolist() == bad
        rest = np.setdiff1d(np.arange(6), bad)
        assert set(answer) == set(good)
        for name, values in answer.items():
            if values.dtype.kind == "f":
                np.testing.assert_allclose(values[rest], good[name][rest], rtol=1e-5, atol=1e-6)
            else:
                np.testing.assert_array_equal(values[rest], good[name][rest])
        assert np.isnan(answer["probabilities"][bad]).all()
        assert (answer["class_id"][bad] == -1).all()
        assert (answer["class_name"][bad] == b"").all()


def test_a_batch_of_bad_rows_alone(everything):
    answer = ask(everything[1], count=2, image=[b"", b"junk"])
    assert (answer["error"] != b"").all()
    assert np.isnan(answer["logits"]).all()


def test_by_default_the_request_fails_with_the_row(tmp_path):
    _, loaded = export(tmp_path, Answers())
    assert set(loaded.signatures) == {DEFAULT, SERIALIZED, ENCODED, "features"}
    assert "error" not in ask(loaded)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Cannot decode image in these rows .*\[1\]"):
        ask(loaded, count=2, image=[ENCODINGS[0], b"junk"])


def test_heads_have_the_top_k_of_those_with_classes():
    heads = tasks.Heads({"kind": tasks.Classification(4), "yes": tasks.BinaryClassification()})
    predictions = predictions_of(heads, Answers(top_k=3))
    made = predictions({"kind": tf.constant([[0.0, 3.0, 1.0, 2.0]]), "yes": tf.constant([[0.0]])})
    assert made["kind_top_k_class_ids"].numpy().tolist() == [[1, 3, 2]]
    assert not any(name.startswith("yes_top_k") for name in made)


@pytest.mark.parametrize(
    ("task", "k", "message"),
    [
        (tasks.Classification(4), 5, "top_k is 5, but there are 4 classes"),
        (tasks.Regression(), 1, "Regression has no classes of which the 1 most probable"),
        (tasks.Heads({"x": tasks.Regression()}), 1, "Heads has no classes"),
    ],
)
def test_top_k_of_what_has_no_such_classes(task, k, message):
    with pytest.raises(ValueError, match=message):
        predictions_of(task, Answers(top_k=k))


def test_a_layer_that_isn_t_there(tmp_path):
    with pytest.raises(LookupError, match=r"no layer 'desne'. Did you mean 'dense'\?"):
        export(tmp_path, Answers(layers=("desne",)))


def test_a_layer_named_as_a_prediction_is(tmp_path):
    def clash(inputs, task):
        x = keras.layers.Flatten(name="probabilities")(inputs["image"])
        return task.logits(x)

    with pytest.raises(ValueError, match=r"The layers \['probabilities'\] are named as predictions are"):
        export(tmp_path, Answers(layers=("probabilities",)), builder=clash)


def test_saliency_without_floating_inputs(tmp_path):
    class Ids(framework.Pipeline):
        features = {"word": framework.Feature((), "int64")}
        task = tasks.Regression()

    def embed(inputs, task):
        return task.logits(keras.layers.Embedding(3, 2)(inputs["word"]))

    with pytest.raises(ValueError, match=r"Saliency is a gradient by floating inputs; the model's inputs are"):
        export(tmp_path, Answers(saliency=True), Ids(), embed)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"top_k": 0}, ValueError, "top_k must be at least 1, got 0"),
        ({"on_error": "skip"}, ValueError, "on_error must be 'raise' or 'mask', got 'skip'"),
        ({"layers": "dense"}, TypeError, r"layers is a sequence of names, got 'dense'. Write \('dense',\)"),
    ],
)
def test_bad_settings(arguments, error, message):
    with pytest.raises(error, match=message):
        Answers(**arguments)
