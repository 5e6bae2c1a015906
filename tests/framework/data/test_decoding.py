"""Encoded examples: decoded in every phase, named when they can't be, and left out where that is wanted."""

import json

import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data.bad_examples import BadExampleError, BadExamples
from framework.data.checking import check_examples
from framework.data.decoding import decode_all, decode_good
from framework.data.evaluate import eval_dataset
from framework.data.serving import DEFAULT, ENCODED, SERIALIZED, receivers
from framework.data.train import train_dataset
from framework.testing import assert_pipeline_conforms

RNG = np.random.default_rng(0)
NUM_EXAMPLES = 40
LABELS = np.arange(NUM_EXAMPLES) % 2
# Dark ones and bright ones, of two formats and many sizes.
IMAGES = [
    RNG.integers(0, 60, (8 + index % 5, 9 + index % 3, 3)).astype(np.uint8) + np.uint8(150 * (index % 2))
    for index in range(NUM_EXAMPLES)
]
ENCODINGS = [
    (tf.io.encode_png if index % 3 else tf.io.encode_jpeg)(image).numpy() for index, image in enumerate(IMAGES)
]


class Photos(framework.Pipeline):
    """Small encoded images and a number that comes along."""

    features = {"image": framework.Image((8, 8, 3)), "age": framework.Feature((), "float32")}
    task = tasks.Classification(class_names=["dark", "bright"])

    def __init__(self, bad=(), labels=LABELS, skip=False, max_share=0.2):
        encodings = np.array(ENCODINGS, object)
        for index in bad:
            encodings[index] = encodings[index][:20] if index % 2 else b"junk"
        self.source_of = framework.ArraySource(
            {"image": encodings, "age": np.arange(NUM_EXAMPLES, dtype=np.float32)}, labels
        )
        self.bad_examples = BadExamples("skip" if skip else "raise", max_share)

    def source(self, phase):
        rows = {"train": range(24), "validation": range(24, 40)}.get(phase)
        return rows and framework.data.sources.Subset(self.source_of, rows)

    def preprocess(self, features):
        return {"image": tf.cast(features["image"], tf.float32) / 255.0, "age": features["age"]}


def brightness(inputs, task):
    import keras

    x = keras.layers.GlobalAveragePooling2D()(inputs["image"])
    return keras.layers.Dense(task.units)(x)


def test_a_pipeline_of_encoded_images_conforms():
    assert_pipeline_conforms(Photos())


def test_evaluation_sees_the_decoded_images_in_order():
    feature = Photos.features["image"]
    inputs, labels = next(iter(eval_dataset(Photos(), "validation", batch_size=16)))
    expected = [feature.decode(tf.constant(encoding)).numpy() for encoding in ENCODINGS[24:40]]
    np.testing.assert_array_equal(inputs["image"], np.stack(expected).astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(labels, LABELS[24:40])


def test_training_decodes_with_the_example_s_own_seed():
    class Drawn(Photos):
        def decode_training(self, features, seed):
            drawn = tf.random.stateless_uniform([8, 8, 3], seed, maxval=256, dtype=tf.int32)
            return {"image": tf.cast(drawn, tf.uint8)}

    def images_by_age(batch_size):
        batches = train_dataset(Drawn(), batch_size=batch_size, seed=3).take(24 // batch_size)
        return {
            float(a): i for inputs, _ in batches for a, i in zip(inputs["age"], inputs["image"].numpy(), strict=True)
        }

    small, large = images_by_age(4), images_by_age(24)
    assert sorted(small) == sorted(large) == list(range(24))
    for age, image in small.items():
        np.testing.assert_array_equal(image, large[age])
    assert not np.array_equal(small[0.0], small[1.0])


def test_good_rows_are_decoded_and_bad_ones_told():
    pipeline = Photos()
    features = {"image": tf.constant([ENCODINGS[0], b"junk", ENCODINGS[1][:30], ENCODINGS[2]]), "age": tf.range(4.0)}
    for parallel_calls in (None, 2):
        decoded = tf.function(
            lambda f, calls=parallel_calls: decode_good(f, pipeline.features, pipeline.decode, parallel_calls=calls)
        )
        made, is_good = decoded(features)
        assert is_good.numpy().tolist() == [True, False, False, True]
        assert made["age"].numpy().tolist() == [0.0, 3.0]
        for row, index in enumerate((0, 2)):
            expected = pipeline.features["image"].decode(tf.constant(ENCODINGS[index]))
            np.testing.assert_array_equal(made["image"][row], expected)
    made, is_good = decode_good(
        {"image": tf.constant([b"", b"x"]), "age": tf.zeros(2)}, pipeline.features, pipeline.decode
    )
    assert made["image"].shape == (0, 8, 8, 3)
    assert not is_good.numpy().any()


def test_a_request_with_a_bad_row_fails_with_its_index():
    pipeline = Photos()
    features = {"image": tf.constant([ENCODINGS[0], b"junk", ENCODINGS[1]]), "age": tf.zeros(3)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"Cannot decode image in these rows .*\[1\]"):
        tf.function(lambda f: decode_all(f, pipeline.features, pipeline.decode))(features)


def test_a_decode_that_leaves_a_feature_out():
    pipeline = Photos()
    features = {"image": tf.constant(ENCODINGS[:1]), "age": tf.zeros(1)}
    with pytest.raises(ValueError, match=r"decode must return the raw tensors of \['image'\], it left out \['image'\]"):
        decode_good(features, pipeline.features, lambda features: {})


def test_signatures_take_pixels_of_any_size_and_bytes():
    ways = receivers(Photos())
    assert list(ways) == [DEFAULT, SERIALIZED, ENCODED, "features"]
    assert ways[DEFAULT].inputs["image"] == framework.Feature((None, None, 3), "uint8")
    assert ways[ENCODED].inputs["image"] == framework.Feature((), "string")
    png = 1  # every third one is a JPEG, which is lossy
    pixels = ways[DEFAULT].to_model({"image": tf.constant(IMAGES[png][None]), "age": tf.zeros(1)})
    from_bytes = ways[ENCODED].to_model({"image": tf.constant([ENCODINGS[png]]), "age": tf.zeros(1)})
    np.testing.assert_array_equal(pixels["image"], from_bytes["image"])


def test_checking_names_what_is_wrong():
    labels = LABELS.copy()
    labels[5] = 7
    pipeline = Photos(bad=[2, 9], labels=labels)
    bad = check_examples(pipeline, "train")
    assert [(example.index, example.kind) for example in bad] == [
        (2, "not an image"),
        (5, "label out of range"),
        (9, "undecodable image"),
    ]
    assert "feature 'image'" in bad[0].reason
    assert "expected a class id in [0, 2)" in bad[1].reason
    assert check_examples(pipeline, "train", [0, 9, 1])[0].place == "example 9"
    assert check_examples(pipeline, "validation") == []


def test_of_a_stream_only_those_asked_for_are_checked():
    class Stream(Photos):
        def source(self, phase):
            features, labels, _ = self.source_of.arrays
            return framework.DatasetSource(tf.data.Dataset.from_tensor_slices((features, labels)))

    pipeline = Stream(bad=[2, 9])
    assert [example.index for example in check_examples(pipeline, "train")] == [2, 9]
    assert [example.index for example in check_examples(pipeline, "train", [0, 9])] == [9]


def test_training_stops_at_a_bad_example_and_names_it(tmp_path):
    with pytest.raises(BadExampleError, match=r"example 9: undecodable image .*BadExamples\(on_error='skip'\)"):
        framework.fit(brightness, Photos(bad=[9]), run_dir=tmp_path, epochs=1, batch_size=8, verbose=0)


def test_training_skips_bad_examples_and_says_so(tmp_path):
    labels = LABELS.copy()
    labels[30] = -1
    pipeline = Photos(bad=[2, 9], labels=labels, skip=True)
    run = framework.fit(brightness, pipeline, run_dir=tmp_path, epochs=2, batch_size=8, verbose=0)
    assert run.history["skipped_undecodable_image"] == run.history["skipped_not_an_image"] == [1.0, 1.0]
    assert run.history["skipped_label_out_of_range"] == [1.0, 1.0]
    assert run.pipeline.require_source("train").num_examples == 22
    found = json.loads((tmp_path / "bad_examples.json").read_text())
    assert [example["index"] for example in found["train"]] == [2, 9]
    # A loaded run leaves the same ones out, which the splits are evaluated without.
    loaded = framework.Run.load(tmp_path, model=brightness, pipeline=pipeline)
    assert loaded.evaluate("validation") == run.evaluate("validation")
    ages = np.concatenate([inputs["age"] for inputs, _ in eval_dataset(loaded.pipeline, "validation", batch_size=4)])
    assert sorted(ages) == [age for age in range(24, 40) if age != 30]


def test_what_an_attempt_that_came_to_nothing_would_skip_is_not_skipped(tmp_path):
    with pytest.raises(LookupError, match="asks for the feature 'picture'"):
        framework.fit(
            lambda inputs, task: inputs["picture"],
            Photos(bad=[9], skip=True),
            run_dir=tmp_path,
            batch_size=8,
            verbose=0,
        )
    assert (tmp_path / "bad_examples.json").exists()
    run = framework.fit(brightness, Photos(), run_dir=tmp_path, epochs=1, batch_size=8, verbose=0)
    assert not [name for name in run.history if name.startswith("skipped")]
    assert framework.Run.load(tmp_path, model=brightness, pipeline=Photos()).pipeline.skipped.get("train", []) == []


def test_too_many_bad_examples_are_refused(tmp_path):
    pipeline = Photos(bad=[1, 2, 9], skip=True, max_share=0.1)
    with pytest.raises(
        BadExampleError,
        match=r"3 of 24 examples of the train split .* \(2 undecodable image, 1 not an image\)",
    ):
        framework.fit(brightness, pipeline, run_dir=tmp_path, epochs=1, batch_size=8, verbose=0)


def test_predict_takes_pixels_or_bytes(tmp_path):
    run = framework.fit(brightness, Photos(), run_dir=tmp_path, epochs=1, batch_size=8, verbose=0)
    png = 1
    by_bytes = run.predict({"image": np.array([ENCODINGS[png]], object), "age": np.zeros(1, np.float32)})
    by_pixels = run.predict({"image": IMAGES[png][None], "age": np.zeros(1, np.float32)})
    np.testing.assert_allclose(by_bytes["logits"], by_pixels["logits"], rtol=1e-6)
    served = tf.saved_model.load(str(run.export_dir)).signatures["encoded"]
    answer = served(image=tf.constant([ENCODINGS[png]]), age=tf.zeros(1))
    np.testing.assert_allclose(answer["logits"], by_bytes["logits"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
        ({"max_share": 1.0}, r"max_share is a share in \[0, 1\), got 1.0"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        BadExamples(**arguments)
