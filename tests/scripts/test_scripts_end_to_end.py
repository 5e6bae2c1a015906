"""The scripts as a person starts them, each in a process of its own."""

import csv
import io
import json
import re

import numpy as np
import pytest
from calling_scripts import run_command

import framework


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


def _run(script, *argv, folder, stdin=""):
    done = run_command(script, *argv, cwd=folder, stdin=stdin)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_train_evaluate_predict_export(folder):
    train = ["--model=mlp", "--hparam", "width=16", "--pipeline=wine", "--run_dir=runs/wine", "--epochs=2"]
    out = _run("train", *train, "--learning_rate=0.05", "--batch_size=32", folder=folder)
    assert "Epoch 2/2" in out
    assert "The run in runs/wine is finished: 2 epochs" in out

    metrics = json.loads(_run("evaluate", "--run_dir=runs/wine", "--json", folder=folder))
    assert metrics["accuracy"] > 0.6

    run = framework.Run.load(folder / "runs/wine")
    source = run.pipeline.require_source("test")
    columns = source.arrays.features
    rows = [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]
    with (folder / "wines.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    _run(
        "predict",
        "--export=runs/wine",
        "--input=wines.csv",
        "--output=answers.csv",
        "--outputs=class_id",
        folder=folder,
    )
    answers = [int(row["class_id"]) for row in csv.DictReader(io.StringIO((folder / "answers.csv").read_text()))]
    assert np.mean(answers == source.arrays.labels) == pytest.approx(metrics["accuracy"], abs=1e-6)

    path = _run("export", "--run_dir=runs/wine", "--to=elsewhere", folder=folder).splitlines()[0]
    assert path == "elsewhere/1"
    lines = "".join(f"{json.dumps(row)}\n" for row in rows)
    answered = _run("predict", "--export=elsewhere", "--batch_size=10", folder=folder, stdin=lines)
    assert [json.loads(line)["class_id"] for line in answered.splitlines()] == answers


def test_a_typo_is_one_message(folder):
    argv = ["--model=mlp", "--pipeline=wine", "--run_dir=runs/typo", "--hparam", "widht=64"]
    done = run_command("train", *argv, cwd=folder)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "error: Model 'mlp' has no hyper-parameter 'widht'. Did you mean 'width'?" in done.stderr
    assert not (folder / "runs/typo").exists()


def test_helpshort_has_every_flag_in_a_line(folder):
    import command_line
    import train
    from absl import flags as absl_flags

    flags = command_line.Flags(absl_flags.FlagValues())
    train.define_flags(flags)
    done = run_command("train", "--helpshort", cwd=folder)
    assert done.returncode == 0
    assert done.stdout.startswith(train.__doc__.strip().partition("\n")[0])
    lines = done.stdout.splitlines()
    shown = [re.split(r"[ =]", line.strip())[0] for line in lines[lines.index("What is trained") :] if "--" in line]
    defined = [f"--no{name}" if flags.values[name].default is True else f"--{name}" for name in flags.values]
    assert sorted(shown) == sorted([*defined, "--debug"])
    assert max(map(len, lines)) <= 140
