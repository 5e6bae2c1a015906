"""A finished run: evaluated, asked, and brought back in another process."""

import json
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (50, 2, 2), dtype=np.uint8)
SIZES = RNG.normal(size=50).astype(np.float32)
KINDS = RNG.choice(["a", "b"], 50)
WEIGHTS = RNG.uniform(0.1, 3.0, 50).astype(np.float32)
LABELS = ((IMAGES.mean(axis=(1, 2)) + 40 * SIZES) > 127).astype(np.int64)
PARTS = {"train": slice(0, 20), "validation": slice(20, 33), "test": slice(33, 50)}


class Parcels(framework.Pipeline):
    """Three kinds of features, and examples that weigh differently."""

    features = {"image": Feature((2, 2), "uint8"), "size": Feature((), "float32"), "kind": Feature((), "string")}
    task = tasks.Classification(class_names=["light", "heavy"])

    def source(self, phase):
        part = PARTS[phase]
        arrays = {"image": IMAGES[part], "size": SIZES[part], "kind": KINDS[part]}
        return framework.ArraySource(arrays, LABELS[part], WEIGHTS[part])

    def augment(self, features, labels, seeds):
        return {**features, "size": features["size"] + 100.0}, labels

    def preprocess(self, features):
        return {
            "image": tf.cast(features["image"], tf.float32) / 255.0,
            "rest": tf.stack([features["size"], tf.cast(features["kind"] == "a", tf.float32)], axis=1),
        }


def network(inputs, task, *, widths: tuple[int, ...] = (4,)):
    x = keras.layers.Concatenate()([keras.layers.Flatten()(inputs["image"]), inputs["rest"]])
    for width in widths:
        x = keras.layers.Dropout(0.5)(keras.layers.Dense(width, activation="tanh")(x))
    return task.logits(x)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return framework.fit(
        network,
        Parcels,
        run_dir=tmp_path_factory.mktemp("run"),
        epochs=2,
        batch_size=8,
        hparams={"widths": (5, 4)},
        optimization=framework.Optimization(steps_per_execution=1),
        verbose=0,
    )


def features(part):
    return {"image": IMAGES[part], "size": SIZES[part], "kind": KINDS[part]}


class TestEvaluate:
    @pytest.mark.parametrize("phase", PARTS)
    def test_equals_numpy_over_every_example_once(self, run, phase):
        part = PARTS[phase]
        image = IMAGES[part].reshape(-1, 4).astype(np.float32) / 255
        x = np.column_stack([image, SIZES[part], KINDS[part] == "a"])
        weights = run.model.get_weights()
        for kernel, bias in zip(weights[0:-2:2], weights[1:-2:2], strict=True):
            x = np.tanh(x @ kernel + bias)
        logits = x @ weights[-2] + weights[-1]
        losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), LABELS[part]]
        correct = logits.argmax(axis=1) == LABELS[part]
        scores = run.evaluate(phase)
        assert scores == {
            # Keras divides a weighted loss by the number of examples, a weighted metric by the sum of weights.
            "loss": pytest.approx(np.mean(losses * WEIGHTS[part]), rel=1e-5),
            "accuracy": pytest.approx(np.average(correct, weights=WEIGHTS[part]), rel=1e-5),
        }

    def test_batch_size_changes_nothing(self, run):
        expected = run.evaluate("test")
        for batch_size in (1, 3, 17, 100):
            assert run.evaluate("test", batch_size=batch_size) == {
                name: pytest.approx(value, rel=1e-5) for name, value in expected.items()
            }

    def test_an_unknown_split_is_an_error(self, run):
        with pytest.raises(
            ValueError, match=r"There is no phase 'tets'; a split is one of 'train', 'validation', 'test'"
        ):
            run.evaluate("tets")


class TestPredict:
    def test_every_prediction_of_the_task(self, run):
        answers = run.predict(features(slice(0, 50)))
        assert {name: (value.shape, value.dtype.kind) for name, value in answers.items()} == {
            "logits": ((50, 2), "f"),
            "probabilities": ((50, 2), "f"),
            "class_id": ((50,), "i"),
            "class_name": ((50,), "O"),
        }
        np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, rtol=1e-6)
        np.testing.assert_array_equal(answers["class_id"], answers["logits"].argmax(axis=1))
        assert {name.decode() for name in answers["class_name"]} <= {"light", "heavy"}
        again = run.predict(features(slice(0, 50)), batch_size=7)
        for name, value in answers.items():
            if value.dtype.kind == "f":
                np.testing.assert_allclose(again[name], value, atol=1e-6)
            else:
                np.testing.assert_array_equal(again[name], value)

    def test_lists_and_other_numbers_are_taken_where_nothing_is_lost(self, run):
        exact = run.predict(features(slice(0, 2)))
        lists = {"image": IMAGES[:2].astype(np.float64).tolist(), "size": SIZES[:2].tolist(), "kind": list(KINDS[:2])}
        np.testing.assert_array_equal(run.predict(lists)["logits"], exact["logits"])

    @pytest.mark.parametrize(
        ("change", "error"),
        [
            ({"size": None}, r"Features missing: \['size'\], unknown: \[\]\. Expected \['image', 'kind', 'size'\]"),
            ({"sise": SIZES[:2]}, r"Features missing: \[\], unknown: \['sise'\]"),
            ({"image": IMAGES[:2, 0]}, r"Feature 'image' has shape \(2, 2\), expected \(examples, 2, 2\)"),
            ({"image": IMAGES[0]}, r"Feature 'image' has shape \(2, 2\)"),
            ({"image": IMAGES[:2] + 0.5}, r"Feature 'image' has the value \d+\.5, which uint8 can't hold"),
            ({"image": IMAGES[:2].astype(np.int64) + 200}, r"Feature 'image' has the value [23]\d\d, which"),
            ({"size": ["big", "small"]}, r"Feature 'size' has dtype <U5, expected float32"),
            ({"size": SIZES[:3]}, r"same number of examples, got {'image': 2, 'size': 3, 'kind': 2}"),
        ],
    )
    def test_wrong_features_are_named(self, run, change, error):
        sent = {name: value for name, value in {**features(slice(0, 2)), **change}.items() if value is not None}
        with pytest.raises(ValueError, match=error):
            run.predict(sent)

    def test_an_array_isnt_enough_where_there_are_several_features(self, run):
        with pytest.raises(
            ValueError, match=r"Expected a dict with the features \['image', 'kind', 'size'\], got ndarray"
        ):
            run.predict(IMAGES)

    def test_nothing_to_predict_is_an_error(self, run):
        with pytest.raises(ValueError, match="There are no examples to predict"):
            run.predict(features(slice(0, 0)))


def assert_same_run(one, other):
    assert (one.best, one.history, one.export_dir, one.batch_size) == (
        other.best,
        other.history,
        other.export_dir,
        other.batch_size,
    )
    np.testing.assert_array_equal(
        one.predict(features(slice(0, 9)))["logits"], other.predict(features(slice(0, 9)))["logits"]
    )
    assert one.evaluate("test") == other.evaluate("test")


class TestLoad:
    def test_from_what_can_be_imported(self, run):
        assert_same_run(framework.Run.load(run.run_dir), run)

    def test_from_objects(self, run):
        assert_same_run(framework.Run.load(str(run.run_dir), model=network, pipeline=Parcels()), run)

    def test_another_network_is_refused(self, run):
        def wider(inputs, task, *, widths: tuple[int, ...] = ()):
            return network(inputs, task, widths=tuple(2 * width for width in widths))

        with pytest.raises(
            ValueError, match=r"has shape \(6, 10\), the export .* has \(6, 5\): it was made by another"
        ):
            framework.Run.load(run.run_dir, model=wider)

    def test_not_a_run(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"isn't a run directory: it has no config\.json"):
            framework.Run.load(tmp_path)

    def test_not_finished(self, run, tmp_path):
        (tmp_path / "config.json").write_bytes((run.run_dir / "config.json").read_bytes())
        with pytest.raises(FileNotFoundError, match=r"isn't finished\. Call fit again to go on with it"):
            framework.Run.load(tmp_path)

    def copy(self, run, tmp_path, **changes):
        config = json.loads((run.run_dir / "config.json").read_text())
        for part, values in changes.items():
            config[part] |= values
        (tmp_path / "config.json").write_text(json.dumps(config))
        for name in ("result.json", "statistics.npz"):
            (tmp_path / name).write_bytes((run.run_dir / name).read_bytes())
        return tmp_path

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            (
                {"model": {"builder": "__main__:network"}},
                r"model __main__:network was defined in a script .* as model=",
            ),
            ({"model": {"builder": "m:f.<locals>.g"}}, r"model m:f\.<locals>\.g was defined in .*pass it as model="),
            ({"model": {"builder": "no_such_module:f"}}, r"can't be imported \(No module named 'no_such_module'\)"),
            ({"model": {"name": "no_such_model"}}, r"No model is registered as 'no_such_model'"),
            ({"pipeline": {"reloadable": False}}, r"Parcels was made of objects: pass it as pipeline="),
        ],
    )
    def test_what_cant_be_found_is_asked_for(self, run, tmp_path, changes, error):
        with pytest.raises(LookupError, match=error):
            framework.Run.load(self.copy(run, tmp_path, **changes))

    def test_arrays_have_to_be_passed(self):
        pipeline = framework.pipeline_from_arrays(SIZES, LABELS)
        from framework.training.plan import describe_pipeline

        assert not describe_pipeline(pipeline, None)["reloadable"]
        assert describe_pipeline(Parcels(), None)["reloadable"]

    def test_exports_that_are_gone_are_missed(self, run, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"has no export: 'val_accuracy' never was a number, or the exports"
        ):
            framework.Run.load(self.copy(run, tmp_path))


_LOADER = """
import json, sys
import numpy as np
import framework

run = framework.Run.load(sys.argv[1])
arrays = np.load(sys.argv[2])
answers = run.predict({name: arrays[name] for name in arrays})
print(json.dumps({
    "version": run.best.version,
    "scores": run.evaluate("test"),
    "logits": answers["logits"].tolist(),
    "names": [name.decode() for name in answers["class_name"]],
    "modules": [name for name in sys.modules if name.split(".")[0] in ("models", "pipelines")],
}))
"""


def test_registered_names_come_back_in_a_new_process(tmp_path):
    run = framework.fit(
        "mlp",
        "wine",
        run_dir=tmp_path / "run",
        epochs=2,
        hparams={"width": 8},
        optimization=framework.Optimization(steps_per_execution=1),
        verbose=0,
    )
    arrays = {name: array[:5] for name, array in run.pipeline.source("test").arrays.features.items()}
    np.savez(tmp_path / "sent.npz", **arrays)
    arguments = [sys.executable, "-c", _LOADER, str(tmp_path / "run"), str(tmp_path / "sent.npz")]
    loader = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True)
    assert loader.returncode == 0, loader.stderr
    seen = json.loads(loader.stdout.splitlines()[-1])
    answers = run.predict(arrays)
    assert seen["version"] == run.best.version
    assert seen["scores"] == run.evaluate("test")
    np.testing.assert_array_equal(np.float32(seen["logits"]), answers["logits"])
    assert seen["names"] == [name.decode() for name in answers["class_name"]]
    # Ours were loaded under names that no folder of a user's has.
    assert seen["modules"] == []
