"""The process that exports are tried in: what it has, and how it ends."""

import multiprocessing.spawn
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
import tensorflow as tf

from framework.export import FreshProcessError, fresh_process, plain_loader
from framework.export.fresh_process import FreshProcess, RefusedError


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A SavedModel with numbers and text."""
    module = tf.Module()
    module.scale = tf.Variable(3.0)

    @tf.function(input_signature=[tf.TensorSpec((None,), tf.float32, "x"), tf.TensorSpec((None,), tf.string, "name")])
    def serve(x, name):
        return {"y": x * module.scale, "greeting": tf.strings.join(["hello ", name])}

    module.serve = serve
    path = tmp_path_factory.mktemp("saved") / "model"
    tf.saved_model.save(module, str(path), signatures=serve.get_concrete_function())
    return path


INPUTS = {"x": np.array([1.0, 2.0], np.float32), "name": np.array(["Ada", b"\xff\x00"], object)}


@pytest.fixture
def process():
    return fresh_process.shared()


def number(process):
    return process._process.pid


def check(process, directory):
    with process.loaded(directory) as export:
        for call in (export.call, export.call_session):
            answers = call("serving_default", INPUTS)
            assert answers["y"].tolist() == [3.0, 6.0]
            assert answers["greeting"].tolist() == [b"hello Ada", b"hello \xff\x00"]
        return export.facts


def test_what_it_says_of_an_export(process, directory):
    facts = check(process, directory)
    [signature] = facts["signatures"].values()
    assert signature["inputs"] == {"x": ([None], "float32"), "name": ([None], "string")}
    assert signature["outputs"] == {"y": ([None], "float32"), "greeting": ([None], "string")}
    assert signature["method_name"] == "tensorflow/serving/predict"
    assert {"Mul", "StringJoin", "ReadVariableOp"} <= set(signature["operations"])
    assert "RestoreV2" not in signature["operations"]  # the loader's business, not the signature's
    assert facts["variables"]["scale/.ATTRIBUTES/VARIABLE_VALUE"] == ((), "float32")
    assert facts["bytes"]["saved_model.pb"] == (directory / "saved_model.pb").stat().st_size


def test_it_is_kept_and_has_tensorflow_alone(process, directory):
    check(process, directory)
    first = number(process)
    assert process.ask("foreign") == []
    check(process, directory)
    assert number(process) == first


def test_what_tensorflow_refuses_is_told_and_does_no_harm(process, directory, tmp_path):
    with pytest.raises(RefusedError, match=r"SavedModel file does not exist|doesn't exist"), process.loaded(tmp_path):
        pass
    with process.loaded(directory) as export:
        with pytest.raises(RefusedError, match="KeyError"):
            export.call("no such signature", INPUTS)
        with pytest.raises(RefusedError, match="TypeError"):
            export.call("serving_default", {"x": INPUTS["x"]})
        assert export.call("serving_default", INPUTS)["y"].tolist() == [3.0, 6.0]


def test_it_is_replaced_when_it_dies_and_after_some_exports(process, directory, monkeypatch):
    check(process, directory)
    first = number(process)
    os.kill(first, signal.SIGKILL)
    check(process, directory)
    second = number(process)
    assert second != first
    monkeypatch.setattr(fresh_process, "_MAX_LOADS", 1)
    check(process, directory)
    assert number(process) not in (first, second)


def test_one_that_dies_while_it_is_asked_says_so(process, directory):
    def ask():
        with process.loaded(directory) as export:
            os.kill(number(process), signal.SIGKILL)
            export.call("serving_default", INPUTS)

    with pytest.raises(FreshProcessError, match=r"was ended by signal 9 \(.*out of memory\) after"):
        ask()


def test_one_that_gives_no_answer_is_given_up(process, directory, monkeypatch):
    def ask():
        with process.loaded(directory) as export:
            os.kill(number(process), signal.SIGSTOP)
            monkeypatch.setattr(fresh_process, "_CALL_SECS", 0.1)
            export.call("serving_default", INPUTS)

    with pytest.raises(FreshProcessError, match=r"took longer than 0\.1 seconds"):
        ask()


@pytest.mark.parametrize(
    ("executable", "error"),
    [
        ("/no/such/python", r"can't be started .*No such file.*multiprocessing\.set_executable"),
        ("", r"can't be started"),
        ("/bin/false", r"ended with exit code 1 .*started as '/bin/false'.*multiprocessing\.set_executable"),
    ],
)
def test_an_odd_executable_is_named_with_the_remedy(executable, error, directory, monkeypatch):
    monkeypatch.setattr(multiprocessing.spawn, "get_executable", lambda: executable)
    with pytest.raises(FreshProcessError, match=error), FreshProcess().loaded(directory):
        pass


def test_modules_with_custom_operations_are_imported(directory):
    process = FreshProcess(["keras"])
    try:
        check(process, directory)
        assert process.ask("foreign") == ["keras"]
    finally:
        process.stop()


def test_a_module_that_isnt_there_is_named(directory):
    with (
        pytest.raises(FreshProcessError, match=r"can't import what it needs \(ModuleNotFoundError: .*'no_such_module'"),
        FreshProcess(["no_such_module"]).loaded(directory),
    ):
        pass


_PARENT = """
import multiprocessing, os, subprocess, sys, time
ours, theirs = multiprocessing.Pipe()
arguments = [sys.executable, "-P", sys.argv[1], str(theirs.fileno()), str(os.getpid())]
child = subprocess.Popen(arguments, pass_fds=[theirs.fileno()])
theirs.close()
if sys.argv[2] == "forks" and not os.fork():
    time.sleep(60)  # holds our end of the connection open
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("behaviour", ["alone", "forks"])
def test_it_dies_with_its_parent(behaviour):
    arguments = [sys.executable, "-c", _PARENT, plain_loader.__file__, behaviour]
    parent = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, start_new_session=True)
    child = int(parent.stdout.readline())
    os.kill(child, 0)  # it is there
    os.kill(parent.pid, signal.SIGKILL)
    deadline = time.monotonic() + 30
    try:
        while time.monotonic() < deadline and is_running(child):
            time.sleep(0.02)
        assert not is_running(child)
    finally:
        os.killpg(parent.pid, signal.SIGKILL) if behaviour == "forks" else None
        parent.wait()
        parent.stdout.close()


def is_running(number):
    """Whether there is such a process that isn't waiting to be buried."""
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
