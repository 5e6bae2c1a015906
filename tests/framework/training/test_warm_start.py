import json

import keras
import numpy as np
import pytest

import framework
from framework.training.warm_start import WarmStart, load_weights
from framework.variables import variable_names


def network(inputs, task, *, width: int = 5, name: str = "encoder"):
    x = keras.layers.Dense(width, activation="relu", name=name)(inputs["features"])
    x = keras.layers.BatchNormalization()(x)
    return task.logits(x)


def pipeline(classes=2):
    rng = np.random.default_rng(0)
    return framework.pipeline_from_arrays(
        rng.normal(size=(64, 4)).astype(np.float32), np.arange(64) % classes, validation=0.25
    )


def model(classes=2, seed=1, **hparams):
    data = pipeline(classes)
    return framework.build_model(network, data.interface(), data.task, hparams, seed=seed)


def weights(of):
    return [np.array(value) for value in of.get_weights()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return framework.fit(
        network, pipeline(), run_dir=tmp_path_factory.mktemp("run"), epochs=2, batch_size=16, verbose=0
    )


def test_names_dont_depend_on_what_was_built_before():
    assert variable_names(model()) == variable_names(model())
    assert variable_names(model())[0] == "encoder/kernel"
    assert "batch_normalization/gamma" in variable_names(model())


@pytest.mark.parametrize("form", ["run", "export", "weights", "keras"])
def test_all_weights_from_each_form(form, finished, tmp_path):
    source = {
        "run": finished.run_dir,
        "export": finished.export_dir,
        "weights": tmp_path / "a.weights.h5",
        "keras": tmp_path / "a.keras",
    }[form]
    if form == "weights":
        finished.model.save_weights(source)
    if form == "keras":
        finished.model.save(source)
    fresh = model()
    report = load_weights(fresh, WarmStart(source))
    assert (report.missing, report.unused, report.reinitialized) == ([], [], [])
    for got, expected in zip(weights(fresh), weights(finished.model), strict=True):
        np.testing.assert_array_equal(got, expected)


def test_a_mapping_renames_and_the_report_says_what_didnt_fit(finished):
    fresh = model(name="backbone")
    report = load_weights(fresh, WarmStart(finished.run_dir))
    assert report.missing == ["backbone/kernel", "backbone/bias"]
    assert report.unused == ["encoder/bias", "encoder/kernel"]
    report = load_weights(fresh, WarmStart(finished.run_dir, mapping={"backbone/": "encoder/"}))
    assert report.loaded["backbone/kernel"] == "encoder/kernel"
    assert "4 not in the source" not in str(report)
    np.testing.assert_array_equal(weights(fresh)[0], weights(finished.model)[0])


def test_another_shape_is_an_error_unless_it_starts_anew(finished):
    fresh = model(classes=3)
    before = weights(fresh)
    with pytest.raises(ValueError, match=r"logits/kernel: here \(5, 3\), in the source \(5, 2\)"):
        load_weights(fresh, WarmStart(finished.run_dir))
    for got, expected in zip(weights(fresh), before, strict=True):  # nothing was half loaded
        np.testing.assert_array_equal(got, expected)
    report = load_weights(fresh, WarmStart(finished.run_dir, reinitialize=["logits/*"]))
    assert report.reinitialized == ["logits/kernel", "logits/bias"]
    assert len(report.loaded) == 6


def test_fit_starts_from_it_once_and_keeps_the_report(finished, tmp_path):
    still = framework.Optimization(
        optimizer="sgd", learning_rate=1e-12, schedule=framework.Schedule("constant", warmup=0.0)
    )
    run = framework.fit(
        network,
        pipeline(),
        run_dir=tmp_path / "run",
        epochs=1,
        batch_size=16,
        optimization=still,
        warm_start=finished.run_dir,
        verbose=0,
    )
    np.testing.assert_allclose(weights(run.model)[0], weights(finished.model)[0], atol=1e-6)
    assert json.loads((tmp_path / "run/warm_start.json").read_text())["loaded"]["encoder/kernel"] == "encoder/kernel"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda run, tmp: WarmStart(tmp / "nowhere"), FileNotFoundError, "nothing to start from"),
        (
            lambda run, tmp: WarmStart(run.run_dir, reinitialize=["logit/*"]),
            ValueError,
            "No variable of the model fits",
        ),
        (lambda run, tmp: WarmStart(run.run_dir, mapping={"decoder/": "x/"}), ValueError, "decoder"),
        (lambda run, tmp: WarmStart(run.run_dir / "config.json"), ValueError, r"a .weights.h5 or a .keras file"),
        (lambda run, tmp: WarmStart(run.run_dir, reinitialize="logits/*"), TypeError, "list of patterns"),
    ],
)
def test_bad_input_is_named(make, error, message, finished, tmp_path):
    with pytest.raises(error, match=message):
        load_weights(model(), make(finished, tmp_path))


def test_nothing_in_common_is_an_error(finished, tmp_path):
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="elsewhere")])
    other.save_weights(tmp_path / "other.weights.h5")
    with pytest.raises(ValueError, match=r"No variable of .* has a name of this model"):
        load_weights(model(), WarmStart(tmp_path / "other.weights.h5"))
