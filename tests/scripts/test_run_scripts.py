"""`scripts/evaluate.py`, `export.py` and `inspect_pipeline.py`, in this process."""

import json

import numpy as np
import pytest
import tensorflow as tf

import framework


def test_evaluate(run_script, wine_run):
    code, out, _ = run_script("evaluate", f"--run_dir={wine_run}")
    assert code == 0
    first, *rows = out.splitlines()
    assert first.endswith("on the 36 examples of the test split:")
    assert sorted(row.split()[0] for row in rows) == ["accuracy", "loss"]


def test_evaluate_as_json(run_script, wine_run):
    code, out, _ = run_script("evaluate", f"--run_dir={wine_run}", "--phase=train", "--batch_size=7", "--json")
    assert code == 0
    expected = framework.Run.load(wine_run).evaluate("train")
    assert json.loads(out) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("script", "argv", "message"),
    [
        ("evaluate", [], "--run_dir must be given"),
        ("evaluate", ["--run_dir={tmp}"], "isn't a run directory"),
        ("evaluate", ["--run_dir={run}", "--phase=tset"], "value should be one of <train|validation|test>"),
        ("export", ["--run_dir={tmp}/nothing"], "isn't a run directory"),
        ("export", ["--run_dir={run}", "--to=/proc/nowhere"], "/proc/nowhere"),
        ("inspect_pipeline", [], "--pipeline must be given"),
        ("inspect_pipeline", ["--pipeline=digit"], "Did you mean 'digits'"),
        ("inspect_pipeline", ["--pipeline=digits", "--option", "spin=3"], "spin"),
        ("inspect_pipeline", ["--pipeline=wine", "--batch_size=5000"], "larger than the training split"),
    ],
)
def test_mistakes(run_script, wine_run, tmp_path, script, argv, message):
    code, _, err = run_script(script, *(arg.format(tmp=tmp_path, run=wine_run) for arg in argv))
    assert code == 2
    assert err.startswith("error: ")
    assert message in err


def test_export_elsewhere(run_script, wine_run, tmp_path):
    code, out, _ = run_script("export", f"--run_dir={wine_run}", f"--to={tmp_path}/models")
    assert code == 0
    path, *lines = out.splitlines()
    assert path == f"{tmp_path}/models/1"
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "serving_default",
        "serialized",
        "features",
    ]
    assert "  out  probabilities         float32  (3,)" in lines
    run = framework.Run.load(wine_run)
    rows = {name: np.full(3, 2.5, np.float32) for name in run.pipeline.features}
    answered = tf.saved_model.load(path).signatures["serving_default"](**{k: tf.constant(v) for k, v in rows.items()})
    np.testing.assert_allclose(answered["probabilities"], run.predict(rows)["probabilities"], atol=1e-5)
    code, out, _ = run_script("export", f"--run_dir={wine_run}", f"--to={tmp_path}/models")
    assert out.splitlines()[0] == f"{tmp_path}/models/2"


def test_export_again_doesnt_move_the_best(run_script, wine_run):
    before = framework.Run.load(wine_run)
    code, out, _ = run_script("export", f"--run_dir={wine_run}")
    assert code == 0
    assert out.splitlines()[0] == f"{wine_run}/export/{before.best.version + 1}"
    assert framework.Run.load(wine_run).best == before.best


def test_inspect_digits(run_script, tmp_path):
    sheet = tmp_path / "pictures" / "digits.png"
    code, out, err = run_script(
        "inspect_pipeline",
        "--pipeline=digits",
        "--option",
        "rotation=30",
        f"--sheet={sheet}",
        "--benchmark",
        "--seconds=0.05",
    )
    assert code == 0, err
    lines = [" ".join(line.split()) for line in out.splitlines()]
    for line in (
        "rotation 30",
        "objective val_accuracy, max",
        "image uint8 (8, 8, 1)",
        "0 125 26 27",
        "train 1258 examples 20 batches of image float32 (None, 8, 8, 1); labels int64 (None,)",
        "serialized examples string ()",
    ):
        assert line in lines
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "examples/s (median of 5 rounds" in out


@pytest.mark.parametrize(
    ("pipeline", "expected"),
    [
        ("wine", ["alcohol/mean float32 () 13.0373", "class_0 35 12 12"]),
        ("diabetes", ["objective val_rmse, min", "least 25.0000 "]),
    ],
)
def test_inspect_tables(run_script, pipeline, expected):
    code, out, err = run_script("inspect_pipeline", f"--pipeline={pipeline}", "--batch_size=16")
    assert code == 0, err
    text = "\n".join(" ".join(line.split()) + " " for line in out.splitlines())
    for line in expected:
        assert line in text


def test_inspect_labels_of_every_task():
    import inspect_pipeline

    from framework import tasks

    rng = np.random.default_rng(0)
    labels = {
        "kind": rng.integers(0, 2, 40),
        "tags": np.tile([[1, 0, 1]], (40, 1)),
        "size": np.linspace(-1, 1, 40, dtype=np.float32),
    }
    pipeline = framework.pipeline_from_arrays(
        rng.normal(size=(40, 2)).astype(np.float32),
        labels,
        task=tasks.Heads(
            {
                "kind": tasks.BinaryClassification(class_names=["no", "yes"]),
                "tags": tasks.MultiLabelClassification(label_names=["a", "b", "c"]),
                "size": tasks.Regression(),
            }
        ),
        validation=None,
    )
    rows = list(inspect_pipeline.label_rows(pipeline, ["train"]))
    assert ("no", int((labels["kind"] == 0).sum())) in rows
    assert [row for row in rows if row[0] in ("a", "b", "c")] == [("a", 40), ("b", 0), ("c", 40)]
    assert ("least", -1.0) in rows


def test_inspect_a_stream_of_text(capsys):
    import command_line
    import inspect_pipeline

    from framework import tasks

    dataset = tf.data.Dataset.from_tensor_slices(({"name": ["a", "b", "c", "d"]}, [0, 1, 2, 1]))
    pipeline = framework.pipeline_from_datasets(dataset, task=tasks.Classification(40), validation=dataset)
    for _, rows in inspect_pipeline.sections(pipeline.with_statistics(), 2, 0):
        print(command_line.table(rows) if rows else "none")
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert "1 2 2" in lines
    assert "10 more 0 0" in lines
    assert "name string ()" in lines
