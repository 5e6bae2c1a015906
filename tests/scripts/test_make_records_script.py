"""`scripts/make_records.py`: writing, going on after a kill, describing and verifying."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
from calling_scripts import SCRIPTS

import framework
from framework.data import records


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    from calling_scripts import call

    path = tmp_path_factory.mktemp("make_records") / "wine"
    assert call("make_records", "--pipeline=wine", f"--to={path}", "--shards=3") == 0
    return path


def test_a_pipeline_becomes_records(written, run_script):
    sidecar = records.Sidecar.load(written)
    assert {name: len(split.shards) for name, split in sidecar.splits.items()} == {
        "train": 3,
        "validation": 1,
        "test": 1,
    }
    assert sidecar.made_from == {"pipeline": "wine", "options": {}}
    wine = framework.get_pipeline("wine")()
    for phase, split in sidecar.splits.items():
        assert split.examples == wine.source(phase).num_examples
    code, out, _ = run_script("make_records", "--pipeline=wine", f"--to={written}", "--shards=3")
    assert code == 0
    assert "examples in  3  files" in out


def test_options_and_phases(tmp_path, run_script):
    argv = ["--pipeline=digits", "--option", "zoom=0.5", f"--to={tmp_path}", "--phase=test", "--gzip"]
    assert run_script("make_records", *argv)[0] == 0
    sidecar = records.Sidecar.load(tmp_path)
    assert list(sidecar.splits) == ["test"]
    assert sidecar.made_from["options"]["zoom"] == 0.5
    assert sorted(tmp_path.glob("test-*"))[0].name == "test-00000-of-00001.tfrecord.gz"


def test_a_task_of_learned_statistics_is_written_down_as_it_was_learned(tmp_path, run_script):
    assert run_script("make_records", "--pipeline=diabetes", f"--to={tmp_path}")[0] == 0
    assert records.Sidecar.load(tmp_path).task["offset"] == pytest.approx(150, abs=10)


def test_what_is_in_a_data_set(written, run_script):
    code, out, _ = run_script("make_records", f"--describe={written}")
    assert code == 0
    for text in ("alcohol", "float_list", "Classification", "0 class_0", "Numbers of train", "examples in  3  files"):
        assert text in out
    code, out, _ = run_script("make_records", f"--describe={written}/train-*")
    assert (code, "train: 3 files" in out, "proline" in out) == (0, True, True)
    code, out, _ = run_script(
        "make_records", f"--describe={written}/train-*", "--feature", "strength=float32 from alcohol", "--label=int64"
    )
    assert (code, "float32 from alcohol" in out, "3  files" in out) == (0, True, True)


def test_sequences(tmp_path, run_script):
    examples = [({"points": [[0.0, 1.0]] * length}, length % 2) for length in range(3, 9)]
    features = {"points": framework.Feature((None, 2))}
    records.write(examples, tmp_path / "data", features=features, kind=records.SequenceSchema)
    code, out, _ = run_script("make_records", f"--describe={tmp_path}/data")
    assert code == 0
    assert "Lists of the tf.train.SequenceExample" in out
    assert run_script("make_records", f"--verify={tmp_path}/data")[:2] == (
        0,
        f"{tmp_path}/data: 6 records, nothing wrong\n",
    )
    option = f"path={tmp_path}/data"
    argv = ["--pipeline=sequences", "--sequences", "--option", option, "--option", "validation=0", "--option", "test=0"]
    code, out, err = run_script("make_records", *argv, "--option", "num_classes=2", f"--to={tmp_path}/again")
    assert code == 0, err
    again, sidecar = (records.Sidecar.load(tmp_path / name) for name in ("again", "data"))
    assert (again.schema, again.splits["train"].shards) == (sidecar.schema, sidecar.splits["train"].shards)
    others = f"{tmp_path}/data/train-*"
    code, out, _ = run_script("make_records", f"--describe={others}")
    assert "float32(None, 2)" in out
    argv = [f"--verify={others}", "--sequences", "--label=int64", "--num_classes=2"]
    assert run_script("make_records", *argv)[0] == 0
    argv = [f"--verify={others}", "--sequences", "--feature", "points=float32(None, 3)", "--label=int64"]
    code, out, _ = run_script("make_records", *argv)
    assert code == 1
    assert "feature 'points' in step 0 has 2 values" in out


def test_verifying(written, tmp_path, run_script):
    assert run_script("make_records", f"--verify={written}")[:2] == (0, f"{written}: 178 records, nothing wrong\n")
    others = [f"--verify={written}/train-*", "--feature", "alcohol=float32", "--label=int64"]
    assert run_script("make_records", *others, "--num_classes=3")[0] == 0
    code, out, _ = run_script("make_records", *others, "--num_classes=2")
    assert code == 1
    assert "label out of range: label doesn't fit the task: example 0 has label 2" in out
    damaged = tmp_path / "damaged"
    sidecar = records.write_pipeline(framework.get_pipeline("wine")(), damaged)
    path = damaged / sidecar.splits["test"].shards[0].file
    path.write_bytes(path.read_bytes()[:-1])
    code, out, _ = run_script("make_records", f"--verify={damaged}")
    assert code == 1
    assert f"{path.name}: changed file" in out
    assert "2 problems in 177 records: 1 changed file, 1 corrupt record" in out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ([], "Give --pipeline and --to"),
        (["--pipeline=wine"], "--to must be given"),
        (["--pipeline=wain", "--to=x"], "Did you mean 'wine'"),
        (["--describe=nowhere/*"], "no files of records that match nowhere/*"),
        (["--verify=nowhere/*", "--feature", "age"], "--feature takes name=text"),
    ],
)
def test_usage(argv, says, run_script, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = run_script("make_records", *argv)
    assert (code, says in err) == (2, True), err


def test_a_killed_call_goes_on(tmp_path):
    """Killed in the middle of a file; the same command then makes what an undisturbed one makes."""
    module = tmp_path / "stuck_data.py"
    module.write_text(
        "import pathlib, time\n"
        "import numpy as np\n"
        "import framework\n"
        "class Stuck(framework.ArraySource):\n"
        "    def gather(self, indices):\n"
        "        while int(indices[-1]) >= 850 and pathlib.Path('stuck').exists():\n"
        "            time.sleep(0.01)\n"
        "        return super().gather(indices)\n"
        "@framework.register_pipeline(name='stuck')\n"
        "class StuckData(framework.Pipeline):\n"
        "    features = {'x': framework.Feature((4,), 'float32')}\n"
        "    task = framework.tasks.Regression()\n"
        "    def source(self, phase):\n"
        "        x = np.random.default_rng(0).normal(size=(2000, 4)).astype(np.float32)\n"
        "        return Stuck({'x': x}, x.sum(axis=1)) if phase == 'train' else None\n"
    )
    command = [sys.executable, str(SCRIPTS / "make_records.py"), "--import", "stuck_data", "--pipeline=stuck"]
    command += ["--to=data", "--shards=16", "--threads=2"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    (tmp_path / "stuck").touch()
    process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while len(files_in(tmp_path / "data")) < 6 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    before = {path: path.stat().st_mtime_ns for path in files_in(tmp_path / "data")}
    assert len(before) == 6  # of 125 examples each; the seventh has the example that is waited for
    (tmp_path / "stuck").unlink()
    assert not records.Sidecar.exists(tmp_path / "data")
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.DEVNULL, timeout=300)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert list(records.verify_data_set(records.DataSet.find(tmp_path / "data"))) == []
    assert records.DataSet.find(tmp_path / "data").source("train").num_examples == 2000
    assert not [path for path in (tmp_path / "data").iterdir() if path.name.startswith(".tmp-")]


def files_in(directory: pathlib.Path) -> list[pathlib.Path]:
    return sorted(directory.glob("train-*"))
