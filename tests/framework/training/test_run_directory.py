import json
import os
import subprocess
import sys

import pytest

from framework.training.run_directory import ConfigurationError, RunDirectory, RunInUseError, differences

_HOLDER = """
import sys
from framework.training.run_directory import RunDirectory

with RunDirectory(sys.argv[1]):
    print("locked", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that writes to `tmp_path / "run"`, until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def test_a_second_writer_is_refused_by_the_first_ones_name(holder, tmp_path):
    with (
        pytest.raises(
            RunInUseError, match=rf"run is being written by process {holder.pid} on .*choose another run_dir"
        ),
        RunDirectory(tmp_path / "run"),
    ):
        pass
    # Not the refused one's to clean up.
    assert (tmp_path / "run" / ".owner").exists()


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_the_lock_goes_with_its_process(holder, tmp_path, end):
    if end == "kill":
        holder.kill()
    else:
        holder.stdin.close()
    holder.wait()
    with RunDirectory(tmp_path / "run") as directory:
        assert (directory.path / ".owner").read_text() == f"process {os.getpid()} on {os.uname().nodename}"
    assert not (tmp_path / "run" / ".owner").exists()


def test_an_error_inside_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), RunDirectory(tmp_path):
        _ = 1 / 0
    with RunDirectory(tmp_path):
        pass


def test_home_is_understood(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with RunDirectory("~/runs/1") as directory:
        assert directory.path == tmp_path / "runs" / "1"
        assert directory.path.is_dir()


@pytest.mark.parametrize("below", [False, True])
def test_a_file_in_the_way_is_named(tmp_path, below):
    (tmp_path / "file").write_text("mine")
    run_dir = tmp_path / "file" / "run" if below else tmp_path / "file"
    with (
        pytest.raises(OSError, match=rf"run_dir '{run_dir}' can't be written .*Choose another one"),
        RunDirectory(run_dir),
    ):
        pass
    assert (tmp_path / "file").read_text() == "mine"


def test_leftovers_of_a_killed_writer_are_swept(tmp_path):
    (tmp_path / ".tmp-config.json-x").write_text("{")
    with RunDirectory(tmp_path):
        assert not (tmp_path / ".tmp-config.json-x").exists()


CONFIG = {
    "model": {"name": "mlp", "hparams": {"width": 8, "widths": [1, 2]}},
    "pipeline": {"data": {"train": {"examples": 3, "fingerprint": "a"}}},
    "training": {"batch_size": 4, "stopping": {"patience": 1}, "exports": {"keep": 1, "proof": {"metrics": True}}},
    "epochs": 3,
    "environment": {"keras": "3.15.1"},
}


def changed(**parts):
    config = json.loads(json.dumps(CONFIG))
    for name, value in parts.items():
        target = config
        *parents, last = name.split("__")
        for parent in parents:
            target = target[parent]
        target[last] = value
    return config


class TestConfiguration:
    @pytest.fixture
    def directory(self, tmp_path):
        directory = RunDirectory(tmp_path)
        directory.write_config(CONFIG)
        return directory

    def test_the_same_is_accepted_also_as_tuples(self, directory):
        directory.check_config(CONFIG)
        directory.check_config(changed(model__hparams={"width": 8, "widths": (1, 2)}))

    def test_epochs_and_versions_may_differ(self, directory):
        directory.check_config(changed(epochs=9, environment={"keras": "4"}))

    def test_how_exports_are_proven_may_differ_and_nothing_else_of_them(self, directory):
        directory.check_config(changed(training__exports__proof={"metrics": False}))
        with pytest.raises(ConfigurationError, match=r"training\.exports\.keep: was 1, now 2"):
            directory.check_config(changed(training__exports__keep=2))

    def test_a_new_directory_accepts_all(self, tmp_path):
        RunDirectory(tmp_path / "new").check_config(CONFIG)

    def test_every_difference_is_named_and_nothing_else(self, directory):
        new = changed(
            model__hparams__width=16,
            pipeline__data__train__fingerprint="b",
            training__batch_size=5,
            training__stopping=None,
            training__more="new",
        )
        with pytest.raises(ConfigurationError) as caught:
            directory.check_config(new)
        lines = str(caught.value).splitlines()
        assert lines[0] == f"{directory.path} holds a run with another configuration:"
        assert lines[1:-1] == [
            "  model.hparams.width: was 8, now 16",
            '  pipeline.data.train.fingerprint: was "a", now "b"',
            "  training.batch_size: was 4, now 5",
            '  training.stopping: was {"patience": 1}, now null',
            '  training.more: was nothing, now "new"',
        ]
        assert "another run_dir" in lines[-1]
        assert directory.config == CONFIG

    def test_long_values_are_shortened(self):
        [(name, old, new)] = differences({"a": "x" * 500}, {"a": 1})
        assert (name, new) == ("a", "1")
        assert len(old) == 120
        assert old.endswith("...")

    def test_damaged_configuration_is_named(self, directory):
        (directory.path / "config.json").write_text("{")
        with pytest.raises(ValueError, match=r"config\.json isn't valid JSON"):
            directory.check_config(CONFIG)
