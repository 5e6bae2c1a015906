import copy
import datetime
import json
import pathlib
import pickle

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from sklearn.datasets import load_diabetes, load_wine

import framework
from framework.data.bad_examples import BadExampleError
from framework.data.phases import PHASES
from framework.data.sampling import Balanced
from framework.data.statistics import Statistics
from framework.export import read_manifest
from framework.training.plan import resolve_pipeline

COUNT = 120


def frame(count=COUNT, seed=0):
    """One column of each kind, with missing values in all but the label."""
    random = np.random.default_rng(seed)
    days = [datetime.date(2024, 1, 1) + datetime.timedelta(days=int(day)) for day in random.integers(0, 500, count)]
    made = pd.DataFrame(
        {
            "Height (cm)": random.normal(170.0, 10.0, count).round(1),
            "city": random.choice(["Rome", "Oslo", "Bonn"], count, p=[0.5, 0.3, 0.2]),
            "member": random.random(count) < 0.5,
            "born": [day.isoformat() for day in days],
            "label": random.choice(["no", "yes"], count),
        }
    )
    return made.assign(
        **{
            name: made[name].astype(object).where(np.arange(count) % step != 0, None)
            for name, step in (("Height (cm)", 10), ("city", 15), ("member", 12), ("born", 20))
        }
    )


def table(path, **options):
    return framework.get_pipeline("table")(path, **({"label": "label"} | options))


def write(path, made):
    made.to_csv(path, index=False)
    return str(path)


@pytest.fixture(scope="module")
def csv(tmp_path_factory):
    return write(tmp_path_factory.mktemp("table") / "people.csv", frame())


def rows(pipeline, phase):
    return pipeline.source(phase).arrays


def places(pipeline, phase):
    """The numbers of a split's rows."""
    source = pipeline.source(phase)
    return [int(source.place(index).rpartition(" ")[2]) for index in range(source.num_examples)]


def some(pipeline, **features):
    """A batch of raw features: some given, the others from training."""
    count = len(next(iter(features.values())))
    others = {name: values[:count] for name, values in rows(pipeline, "train").features.items()}
    return {name: tf.constant(value) for name, value in {**others, **features}.items()}


def test_what_clients_send(csv):
    pipeline = table(csv)
    assert {name: feature.dtype for name, feature in pipeline.features.items()} == {
        "Height_cm": "float32",
        "city": "string",
        "member": "float32",
        "born": "string",
    }
    assert pipeline.task == framework.tasks.Classification(class_names=["no", "yes"])
    assert pipeline.renamed == {"Height_cm": "Height (cm)"}
    assert pipeline.describe() == [
        ("Height (cm)", "numeric", "inferred", "Height_cm: float32", "12 missing"),
        ("city", "categorical", "inferred", "city: string", "8 missing"),
        ("member", "boolean", "inferred", "member: float32", "10 missing"),
        ("born", "date", "inferred", "born: string", "6 missing"),
    ]
    sizes = {phase: pipeline.source(phase).num_examples for phase in ("train", "validation", "test")}
    assert sizes == {"train": 84, "validation": 18, "test": 18}


def test_every_row_is_what_stood_in_its_line(csv):
    lines = pathlib.Path(csv).read_text(encoding="utf-8").splitlines()
    pipeline = table(csv)
    seen = set()
    for phase in PHASES:
        arrays = rows(pipeline, phase)
        for index in range(pipeline.source(phase).num_examples):
            place, _, line = pipeline.source(phase).place(index).rpartition(", line ")
            assert place == csv
            seen.add(int(line))
            height, city, member, born, label = lines[int(line) - 1].split(",")
            values = {name: array[index] for name, array in arrays.features.items()}
            assert str(values["Height_cm"]) == (height or "nan")
            assert str(values["member"]) == {"True": "1.0", "False": "0.0", "": "nan"}[member]
            assert (values["city"], values["born"]) == (city, born)
            assert pipeline.task.class_names[arrays.labels[index]] == label
    assert seen == set(range(2, COUNT + 2))


def test_statistics_are_those_of_the_training_split(csv):
    pipeline = table(csv).with_statistics()
    arrays, statistics = rows(pipeline, "train"), pipeline.statistics
    height = arrays.features["Height_cm"].astype(np.float64)
    np.testing.assert_allclose(statistics["Height_cm/mean"], np.nanmean(height), rtol=1e-6)
    np.testing.assert_allclose(statistics["Height_cm/deviation"], np.nanstd(height), rtol=1e-6)
    np.testing.assert_allclose(statistics["Height_cm/missing"], np.isnan(height).mean())
    cities = pd.Series(arrays.features["city"]).value_counts()
    assert dict(zip(statistics["city"], [cities[city] for city in statistics["city"]], strict=True)) == dict(cities)
    assert list(statistics["city"][:2]) == ["Rome", "Oslo"]
    born = pd.to_datetime(pd.Series(arrays.features["born"]).replace("", None)).dropna()
    days = (born - pd.Timestamp(0)) / pd.Timedelta(days=1)
    np.testing.assert_allclose(statistics["born/mean"], days.mean(), rtol=1e-6)
    np.testing.assert_allclose(statistics["born/deviation"], days.std(ddof=0), rtol=1e-5)
    assert not statistics["born/has_time"]


def test_what_the_model_gets(csv):
    pipeline = table(csv).with_statistics()
    statistics = pipeline.statistics
    assert {name: (feature.shape, feature.dtype) for name, feature in pipeline.interface().items()} == {
        "Height_cm": ((2,), "float32"),
        "city": ((4,), "float32"),
        "member": ((2,), "float32"),
        "born": ((6,), "float32"),
    }
    made = pipeline.preprocess(
        {
            "Height_cm": tf.constant([180.0, np.nan]),
            "city": tf.constant(["", "Paris"]),
            "member": tf.constant([1.0, np.nan]),
            "born": tf.constant(["2024-06-30", ""]),
        }
    )
    height = (180.0 - statistics["Height_cm/mean"]) / statistics["Height_cm/deviation"]
    np.testing.assert_allclose(made["Height_cm"], [[height, 0.0], [0.0, 1.0]], rtol=1e-5)
    nothing = list(statistics["city"]).index("")
    assert made["city"].numpy().tolist() == [np.eye(4)[nothing].tolist(), [0.0] * 4]
    np.testing.assert_allclose(made["member"][1], [0.0, 1.0])
    assert made["born"].numpy()[1].tolist() == [0.0] * 5 + [1.0]
    assert made["born"].numpy()[0, 5] == 0.0


def test_ids_for_models_with_embeddings(csv):
    pipeline = table(csv, categories="ids", max_categories=2).with_statistics()
    assert pipeline.interface()["city"] == framework.Feature((), "int64")
    got = pipeline.preprocess(
        {**dict(rows(pipeline, "train").features), "city": tf.constant(["Rome", "Oslo", "Bonn", ""])}
    )
    assert got["city"].numpy().tolist() == [1, 2, 0, 0]


def test_integers_that_are_categories(tmp_path):
    made = frame().assign(shop=np.resize([-1, -1, 3, 15], COUNT))
    pipeline = table(write(tmp_path / "a.csv", made), types={"shop": "categorical"}).with_statistics()
    assert pipeline.features["shop"] == framework.Feature((), "int64")
    got = pipeline.preprocess(some(pipeline, shop=np.array([-1, 15, 7])))["shop"].numpy()
    assert got.sum(axis=1).tolist() == [1.0, 1.0, 0.0]
    assert got[0].tolist() == [1.0, 0.0, 0.0]  # the most frequent one, though -1 is Keras' own word for unknown


def test_times_of_the_day_are_told(tmp_path):
    made = frame().assign(at=[f"2024-05-{1 + hour % 28:02}T{hour % 24:02}:30:00Z" for hour in range(COUNT)])
    pipeline = table(write(tmp_path / "a.csv", made)).with_statistics()
    assert pipeline.interface()["at"] == framework.Feature((7,), "float32")


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "frame", "arrays"])
def test_every_form_gives_the_same_rows(tmp_path, form):
    made = frame()
    data = {
        "csv": lambda: write(tmp_path / "a.csv", made),
        "jsonl": lambda: made.to_json(tmp_path / "a.jsonl", orient="records", lines=True) or str(tmp_path / "a.jsonl"),
        "parquet": lambda: made.to_parquet(tmp_path / "a.parquet") or str(tmp_path / "a.parquet"),
        "frame": lambda: made,
        "arrays": lambda: {name: made[name].to_numpy() for name in made},
    }[form]()
    expected, got = rows(table(made), "train"), rows(table(data), "train")
    for name, values in expected.features.items():
        np.testing.assert_array_equal(got.features[name], values)
    np.testing.assert_array_equal(got.labels, expected.labels)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_copies_of_a_pipeline(tmp_path, form):
    path = tmp_path / f"a.{form}"
    frame().to_csv(path, index=False) if form == "csv" else frame().to_parquet(path)
    pipeline = table(path)
    for twin in (copy.deepcopy(pipeline), pickle.loads(pickle.dumps(pipeline))):
        assert twin.options == pipeline.options
        assert twin.source("train").fingerprint() == pipeline.source("train").fingerprint()
        assert twin.with_statistics().interface() == pipeline.with_statistics().interface()


def test_tables_of_their_own_and_other_columns(tmp_path, csv):
    made = frame(30, seed=1)
    other = write(tmp_path / "valid.csv", made[made.columns[::-1]].assign(more=1))
    pipeline = table(csv, validation=other, test=0)
    assert {phase: pipeline.source(phase).num_examples for phase in ("train", "validation")} == {
        "train": COUNT,
        "validation": 30,
    }
    assert not pipeline.has("test")
    assert rows(pipeline, "validation").features["city"].tolist() == made["city"].fillna("").tolist()
    with pytest.raises(ValueError, match=r"valid\.csv has no column 'city'"):
        table(csv, validation=write(tmp_path / "valid.csv", made.drop(columns="city")))
    with pytest.raises(BadExampleError, match=r"(?s)30 of 30 rows .*'maybe' isn't one of the classes 'no', 'yes'\)"):
        table(csv, test=write(tmp_path / "valid.csv", made.assign(label="maybe")))


def test_several_files(tmp_path):
    made = frame()
    for number, part in enumerate((made[:50], made[50:])):
        write(tmp_path / f"{number}.csv", part)
    pipeline = table(str(tmp_path / "*.csv"), validation=0, test=0)
    assert rows(pipeline, "train").features["born"].tolist() == made["born"].fillna("").tolist()
    assert pipeline.source("train").place(50).endswith("1.csv, line 2")
    write(tmp_path / "2.csv", made.rename(columns={"city": "town"}))
    with pytest.raises(ValueError, match=r"0\.csv has no column 'town'"):
        table(str(tmp_path / "*.csv"))


BAD = """170,Rome,True,2024-01-01
170,Rome,True,2024-01-01,no,no
x,Rome,True,2024-01-01,no
170,Rome,True,soon,no
170,,,,
"""


def test_of_decimal_commas_is_said_what_to_do(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("price;kind\n" + "".join(f"{n},5;{'ab'[n % 2]}\n" for n in range(40)), encoding="utf-8")
    with pytest.raises(BadExampleError, match=r"'0,5' isn't a number[\s\S]*pandas\.read_csv\(\.\.\., decimal=','\)"):
        framework.get_pipeline("table")(str(path), "kind", types={"price": "numeric"})
    framework.get_pipeline("table")(pd.read_csv(path, sep=";", decimal=","), "kind")


def test_bad_rows_are_named_or_skipped(tmp_path, csv):
    path = tmp_path / "a.csv"
    path.write_text(pathlib.Path(csv).read_text(encoding="utf-8") + BAD, encoding="utf-8")
    with pytest.raises(BadExampleError) as error:
        table(str(path))
    for expected in (
        "5 of 125 rows can't be used (2 wrong number of columns, 2 wrong type, 1 missing label)",
        f"{path}, line 122: wrong number of columns (it has 4, the first line names 5)",
        f"{path}, line 124: wrong type (column 'Height (cm)': 'x' isn't a number)",
        f"{path}, line 125: wrong type (column 'born': 'soon' isn't an ISO 8601 date",
        f"{path}, line 126: missing label (column 'label' has none)",
    ):
        assert expected in str(error.value)
    assert "decimal" not in str(error.value)
    with pytest.raises(BadExampleError, match=r"At most a share of 0\.01 is skipped"):
        table(str(path), on_error="skip")
    pipeline = table(str(path), on_error="skip", max_bad_share=0.05)
    assert [bad.kind for bad in pipeline.left_out].count("wrong type") == 2
    assert sum(pipeline.source(phase).num_examples for phase in ("train", "validation", "test")) == COUNT


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"label": "lable"},
            r"label= names .* 'lable', which .*people\.csv doesn't have\. Did you mean 'label'",
        ),
        ({"weight": "wieght"}, "weight= names the column 'wieght'"),
        ({"group": "grup"}, "group= names the column 'grup'"),
        ({"time": "when"}, "time= names the column 'when'"),
        ({"on_error": "ignore"}, "on_error must be 'raise' or 'skip', got 'ignore'"),
        ({"categories": "hash"}, "categories must be 'one_hot' or 'ids', got 'hash'"),
        ({"max_categories": 0}, "max_categories must be at least 1, got 0"),
        ({"task": "regression"}, "isn't a number"),
    ],
)
def test_options_are_checked(csv, change, message):
    with pytest.raises(ValueError, match=message):
        table(csv, **change)


def test_balance_is_for_classes(csv):
    balanced = table(csv, balance=True).source("train")
    assert isinstance(balanced, Balanced)
    assert balanced.labels.tolist() == rows(table(csv), "train").labels.tolist()
    with pytest.raises(ValueError, match="balance=True makes classes equally frequent, Regression has none"):
        table(csv, label="Height (cm)", drop=["label"], on_error="skip", max_bad_share=0.2, balance=True)


def test_weights(tmp_path):
    made = frame().assign(weight=np.arange(COUNT) / 10.0)
    pipeline = table(write(tmp_path / "a.csv", made), weight="weight", validation=0, test=0)
    np.testing.assert_allclose(rows(pipeline, "train").weights, np.arange(COUNT) / 10.0, rtol=1e-6)
    assert "weight" not in pipeline.features
    with pytest.raises(BadExampleError, match="isn't a weight, which is a number and not negative"):
        table(made.assign(weight=-1.0), weight="weight")


def test_groups_and_times():
    days = pd.date_range("2024-01-01", periods=COUNT, freq="D").astype(str)
    made = frame().assign(who=np.arange(COUNT) // 4, at=days)
    pipeline = table(made, group="who", drop=["at"])
    owners = {phase: {row // 4 for row in places(pipeline, phase)} for phase in PHASES}
    assert sum(map(len, owners.values())) == COUNT // 4
    pipeline = table(made, time="at", drop=["who"])
    assert places(pipeline, "test") == list(range(102, 120))
    with pytest.raises(BadExampleError, match="'sometimes' isn't a time"):
        table(made.assign(at="sometimes"), time="at", drop=["who"])


def test_a_constant_target_is_refused():
    targets = [*[1.0] * (COUNT - 1), 1.5]
    made = frame().assign(label=targets, number=np.arange(COUNT) * 2)
    with pytest.raises(ValueError, match="All training targets are 1"):
        table(made, time="number")  # which trains on the first ones


QUICK = {
    "epochs": 3,
    "batch_size": 8,
    "verbose": 0,
    "optimization": framework.Optimization(learning_rate=0.01),
}


@pytest.fixture(scope="module")
def wine_run(tmp_path_factory):
    """Three growers' wines from a CSV with a bad row."""
    directory = tmp_path_factory.mktemp("wine")
    data = load_wine(as_frame=True)
    made = data.frame.rename(columns={"od280/od315_of_diluted_wines": "od280/od315"})
    made["target"] = np.asarray(data.target_names)[made["target"]]
    path = write(directory / "wine.csv", made)
    with open(path, "a", encoding="utf-8") as file:
        file.write("1,2\n")
    options = {"path": path, "label": "target", "on_error": "skip"}
    return framework.fit("mlp", "table", pipeline_options=options, run_dir=directory / "run", **QUICK), made


def test_wine_is_learned(wine_run):
    run, _ = wine_run
    assert run.evaluate("test")["accuracy"] > 0.85
    assert run.history["skipped_wrong_number_of_columns"] == [1.0] * QUICK["epochs"]


def test_the_run_comes_back_from_its_configuration_alone(wine_run):
    run, _ = wine_run
    again = framework.Run.load(run.run_dir)
    assert again.evaluate("test") == pytest.approx(run.evaluate("test"))
    assert json.loads((run.run_dir / "config.json").read_text())["pipeline"]["reloadable"]


def test_every_signature_answers(wine_run):
    run, made = wine_run
    assert read_manifest(run.export_dir)["renamed"] == {"od280_od315": "od280/od315"}
    loaded = tf.saved_model.load(str(run.export_dir))
    assert sorted(loaded.signatures) == ["features", "serialized", "serving_default"]
    clients = {
        name: made[run.pipeline.renamed.get(name, name)].to_numpy(np.float32)[:5] for name in run.pipeline.features
    }
    expected = run.predict(clients)
    served = loaded.signatures["serving_default"](**{name: tf.constant(value) for name, value in clients.items()})
    protos = loaded.signatures["serialized"](examples=tf.constant(run.pipeline.serialize(clients)))
    inputs = run.pipeline.preprocess({name: tf.constant(value) for name, value in clients.items()})
    features = loaded.signatures["features"](**inputs)
    for answer in (served, protos, features):
        np.testing.assert_allclose(answer["probabilities"], expected["probabilities"], atol=1e-5)
        assert answer["class_name"].numpy().tolist() == expected["class_name"].tolist()
    gone = run.predict({name: np.full(1, np.nan, np.float32) for name in clients})
    assert np.isfinite(gone["probabilities"]).all()


def test_a_data_frame_of_every_kind_is_trained_on(tmp_path):
    made = frame(200)
    height = made["Height (cm)"].fillna(170.0).astype(float) + 15.0 * (made["city"] == "Rome")
    made["label"] = np.where(height > 175.0, "yes", "no")
    pipeline = table(made, categories="ids")
    run = framework.fit("wide_and_deep", pipeline, run_dir=tmp_path / "run", hparams={"num_bins": 20}, **QUICK)
    assert run.evaluate("train")["accuracy"] > 0.8
    with pytest.raises(LookupError, match="was made of objects: pass it as pipeline"):
        framework.Run.load(run.run_dir)
    again = framework.Run.load(run.run_dir, pipeline=table(made, categories="ids"))
    assert again.evaluate("test") == pytest.approx(run.evaluate("test"))


def test_diabetes_from_arrays(tmp_path):
    data = load_diabetes(scaled=False)
    columns = dict(zip(data.feature_names, data.data.T, strict=True)) | {"progression": data.target}
    with pytest.raises(ValueError, match="different integers: are they classes or amounts"):
        table(columns | {"progression": data.target.astype(int)}, label="progression")
    pipeline = table(columns, label="progression")
    train = rows(pipeline, "train").labels
    assert pipeline.task.offset == pytest.approx(train.mean(), rel=1e-5)
    assert pipeline.task.scale == pytest.approx(train.std(), rel=1e-5)
    run = framework.fit("mlp", pipeline, run_dir=tmp_path / "run", **QUICK)
    assert run.evaluate("test")["rmse"] < 0.85 * rows(pipeline, "test").labels.std()


def test_statistics_of_an_earlier_run_are_kept(csv):
    pipeline = table(csv).with_statistics()
    again = table(csv).with_statistics(Statistics(dict(pipeline.statistics)))
    assert again.interface() == pipeline.interface()


def test_the_script_s_form(csv):
    pipeline = resolve_pipeline("table", {"path": csv, "label": "label", "sample": "train[:50%]"})
    assert pipeline.source("train").num_examples == 42


def test_a_column_that_no_table_has_is_one_that_training_hasn_t():
    made = frame()
    with pytest.raises(ValueError, match=r"columns= names the column 'citty', .*Did you mean 'city'"):
        table(made, test=made, columns=["citty"])
