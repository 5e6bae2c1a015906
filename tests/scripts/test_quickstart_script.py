"""What the README promises of its first command, with its real settings."""

import re
import shlex

import pytest
from calling_scripts import run_command


def _accuracy(out):
    return float(re.search(r"^  accuracy +(\S+)$", out, re.MULTILINE)[1])


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    folder = tmp_path_factory.mktemp("quick start")
    return folder, run_command("quickstart", cwd=folder, timeout_secs=600)


def test_the_first_call(quickstart):
    folder, done = quickstart
    assert done.returncode == 0, done.stderr
    assert _accuracy(done.stdout) >= 0.985
    epochs, best = map(int, re.search(r"(\d+) epochs in \d+ seconds; the best, epoch (\d+)", done.stdout).groups())
    assert best <= epochs < 40  # it stopped early
    assert "Epoch 1/40" in done.stdout
    said = re.search(r"serving_default: '(\d)' with probability (\S+); the label is '(\d)'", done.stdout)
    assert said[1] == said[3]
    assert 0.5 < float(said[2]) <= 1
    for place in re.findall(r"runs/quickstart/(?:export/\d+|report/\S+|history\.csv|\w+\.jsonl?)", done.stdout):
        assert (folder / place).exists(), place
    assert (folder / "runs/quickstart/report/confusion_test.png").exists()


def test_a_second_call_returns_the_finished_run(quickstart):
    folder, first = quickstart
    before = (folder / "runs/quickstart/history.csv").read_bytes()
    done = run_command("quickstart", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("runs/quickstart holds a finished run, which the same call returns.")
    assert "Epoch" not in done.stdout
    assert _accuracy(done.stdout) == _accuracy(first.stdout)
    assert (folder / "runs/quickstart/history.csv").read_bytes() == before


def test_what_to_try_next_works(quickstart, run_script, monkeypatch):
    folder, first = quickstart
    monkeypatch.chdir(folder)
    predict = re.search(r"predict +.+/predict\.py'? (.+)$", first.stdout, re.MULTILINE)[1]
    code, out, err = run_script("predict", *predict.split(), "--outputs=class_name")
    assert code == 0, err
    label = re.search(r"the label is '(\d)'", first.stdout)[1]
    assert out == f'{{"class_name": "{label}"}}\n'
    serve = shlex.split(re.search(r"serve +(docker .+)$", first.stdout, re.MULTILINE)[1])
    assert f"--volume={folder.resolve()}/runs/quickstart/export:/models/digits" in serve
