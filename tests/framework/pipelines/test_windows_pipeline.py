import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

import framework

WINDOWS = framework.get_pipeline("windows")


@pytest.fixture(scope="module")
def waves():
    random = np.random.default_rng(0)
    place = np.arange(1200)
    season = np.sin(place / 6.0)
    return pd.DataFrame(
        {
            "time": pd.date_range("2020-01-01", periods=1200, freq="h"),
            "level": 50.0 + 5.0 * season + random.normal(0.0, 0.3, 1200),
            "noise": random.normal(3.0, 2.0, 1200),
            "state": np.where(season > 0, "high", "low"),
        }
    )


def test_a_forecast_is_trained_exported_called_and_loaded(waves, tmp_path):
    waves.to_csv(tmp_path / "waves.csv", index=False)
    run = framework.fit(
        "mlp",
        "windows",
        run_dir=tmp_path / "run",
        epochs=6,
        batch_size=32,
        pipeline_options={
            "data": str(tmp_path / "waves.csv"),
            "targets": "level",
            "time": "time",
            "length": 24,
            "horizon": 2,
        },
        optimization=framework.Optimization(learning_rate=3e-3),
        verbose=0,
    )
    test = run.pipeline.require_source("test")
    example = test.gather(tf.range(test.num_examples))
    last = example.features["window"][:, -1:, 0].numpy()
    persistence = np.sqrt(np.mean((example.labels.numpy() - last) ** 2))
    assert run.evaluate("test")["rmse"] < 0.7 * persistence  # better than "as it is now"

    windows = example.features["window"][:5]
    expected = run.predict({"window": windows.numpy()})["value"]
    assert expected.shape == (5, 2)
    served = tf.saved_model.load(str(run.export_dir)).signatures
    prepared = run.pipeline.preprocess({"window": windows})
    protos = tf.constant(run.pipeline.serialize({"window": windows.numpy()}))
    for name, request in {
        "serving_default": {"window": windows},
        "serialized": {"examples": protos},
        "features": prepared,
    }.items():
        np.testing.assert_allclose(served[name](**request)["value"], expected, rtol=1e-4)

    again = framework.Run.load(run.run_dir)
    np.testing.assert_array_equal(again.predict({"window": windows.numpy()})["value"], expected)


def test_no_window_straddles_a_border(waves):
    pipeline = WINDOWS(waves, "level", columns=["level"], length=24, horizon=3, validation=0.2, test=0.1)
    rows = {"train": (0, 840), "validation": (840, 1080), "test": (1080, 1200)}
    for phase, (first, last) in rows.items():
        source = pipeline.source(phase)
        assert source.num_examples == last - first - 27 + 1
        places = [source.place(index) for index in (0, source.num_examples - 1)]
        assert places == [f"rows {first} to {first + 26}", f"rows {last - 27} to {last - 1}"]


def test_statistics_are_those_of_the_training_rows(waves):
    changed = waves.copy()
    changed.loc[900:, "level"] = 1e6  # all of it after the training split
    for data in (waves, changed):
        statistics = WINDOWS(data, "level", columns=["noise", "level"]).with_statistics().statistics
        train = waves.loc[: 840 - 1, ["noise", "level"]].to_numpy()
        np.testing.assert_allclose(statistics["window/mean"], train.mean(axis=0), rtol=1e-5)
        np.testing.assert_allclose(statistics["window/deviation"], train.std(axis=0), rtol=1e-5)
        np.testing.assert_allclose(statistics["target"], [train[:, 1].mean(), train[:, 1].std()], rtol=1e-5)


def test_missing_values_are_an_error_or_left_out(waves):
    holes = waves.copy()
    holes.loc[[100, 101, 1000], "noise"] = np.nan
    with pytest.raises(ValueError, match=r"3 of 1200 rows have a value that is missing .* the first of them row 100"):
        WINDOWS(holes, "level")
    pipeline = WINDOWS(holes, "level", length=10, missing="skip").with_statistics()
    for phase in ("train", "validation", "test"):
        for example in pipeline.source(phase).batches(64):
            assert np.isfinite(example.features["window"].numpy()).all()
    # Windows of 11 rows with what they predict: 11 that begin before or at row 100, and one more for row 101.
    assert pipeline.source("train").num_examples == 840 - 11 + 1 - 12
    noise = holes.loc[: 840 - 1, "noise"].dropna()
    np.testing.assert_allclose(pipeline.statistics["window/mean"][1], noise.mean(), rtol=1e-5)


def test_classes(waves):
    now = WINDOWS(waves, "state", predict="class", horizon=0, length=8)
    assert now.task.class_names == ("high", "low")
    assert now.features["window"].shape == (8, 2)  # neither the class nor the time
    source = now.source("train")
    labels = source.gather(tf.constant([0, 50], tf.int64)).labels
    expected = [["high", "low"].index(waves["state"][row]) for row in (7, 57)]
    assert labels.numpy().tolist() == expected
    later = WINDOWS(waves, "state", predict="class", horizon=5, length=8)
    assert later.source("train").gather(tf.constant([50], tf.int64)).labels.numpy().tolist() == [
        ["high", "low"].index(waves["state"][62])
    ]


def test_what_the_model_sees_by_default(waves):
    assert WINDOWS(waves, "level").features["window"].shape == (24, 2)
    assert WINDOWS(waves, "level", horizon=0).features["window"].shape == (24, 1)
    assert WINDOWS(waves.to_numpy()[:, 1:3].astype(float), "column_1").features["window"].shape == (24, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"targets": "levle"}, r"targets: there is no column 'levle'\. Did you mean 'level'\?"),
        ({"columns": ["noisy"]}, r"columns: there is no column 'noisy'"),
        ({"columns": ["state"]}, "Column 'state' holds .*expected numbers"),
        ({"targets": "state"}, "Column 'state' holds .*expected numbers"),
        ({"horizon": 0, "columns": ["level"]}, r"With horizon=0 .* \['level'\]"),
        ({"predict": "state"}, "predict must be 'value' or 'class', got 'state'"),
        ({"predict": "class", "targets": ["state", "level"]}, "A class is told by one column"),
        ({"predict": "class"}, "expected names or ids of classes"),
        ({"missing": "drop"}, "missing must be 'error' or 'skip'"),
        ({"length": 200}, r"validation split has the rows 840 to 1019, in which no window of 201 rows"),
        ({"length": 0}, "length and stride are rows, at least 1; got 0 and 1"),
        ({"horizon": -1}, "horizon is rows after the window, 0 or more; got -1"),
        ({"targets": []}, "targets names no column"),
        ({"data": np.arange(600.0), "targets": "column_0", "horizon": 0}, "No column is left for the window"),
        ({"targets": ["level", "noise"], "horizon": 0}, r"No column is left .* beside \['level', 'noise'\]"),
        ({"validation": 0.6, "test": 0.4}, "Shares must be positive"),
        ({"time": "noise"}, "Rows must be in the order of 'noise'"),
    ],
)
def test_what_can_not_be_is_refused_at_once(waves, options, message):
    with pytest.raises(ValueError, match=message):
        WINDOWS(**{"data": waves, "targets": "level", **options})


def test_a_split_can_be_left_out(waves):
    pipeline = WINDOWS(waves, "level", test=0)
    assert pipeline.source("test") is None
    assert pipeline.has("validation")
