"""`scripts/serve.py` in a process of its own, and the campaign of malformed requests in this one."""

import asyncio
import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import urllib.parse

import fuzz_server
import httpx
import numpy as np
import pytest
import serve
from calling_scripts import SCRIPTS

import framework
from framework.serving.rest import answers
from framework.serving.server import ServedModel


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "--model must be given, such as --model digits=runs/digits"),
        (["--model=runs/digits"], "--model takes NAME=..., got 'runs/digits'"),
        (["--model=m=nowhere"], "--model m=nowhere: there is no nowhere"),
        (["--model=m=.", "--model=m=.."], "--model m is given twice"),
        (["--model=m=.", "--label=stable"], "--label takes NAME=..., got 'stable'"),
        (["--model=m=.", "--label=stable=newest"], "--label takes NAME=VERSION, such as --label stable=3"),
        (["--model=m=.", "--versions=newest"], "Versions are latest, latest:2, all, or numbers"),
        (["--model=m=.", "--max_batch_size=0"], "Batching needs max_size"),
        (["--model=m=.", "--max_delay_ms=-1"], "Batching needs max_size"),
        (["--model=m=.", "--timeout_secs=0.0"], "Limits must be positive"),
    ],
)
def test_mistakes(run_script, tmp_path, monkeypatch, argv, message):
    monkeypatch.chdir(tmp_path)
    code, _, err = run_script("serve", *argv)
    assert code == 2
    assert err.startswith("error: ")
    assert message in err


def test_a_port_that_is_taken(run_script, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, _, err = run_script("serve", f"--model=m={tmp_path}", f"--port={port}")
    assert code == 2
    assert f"127.0.0.1:{port}: Address already in use" in err


class FakeServer:
    """uvicorn's, as far as `serve` knows it, on a socket that is none."""

    def __init__(self, *, starts, host):
        self.started = False
        self._starts = starts
        self._host = host
        self._ended = asyncio.Event()

    async def serve(self, sockets):
        self.started = self._starts
        if self._starts:
            await asyncio.wait_for(self._ended.wait(), 60)

    def getsockname(self):
        self._ended.set()
        return (self._host, 8501, 0, 0)


@pytest.mark.parametrize(("host", "shown"), [("127.0.0.1", "127.0.0.1"), ("::1", "[::1]")])
def test_where_it_serves(capsys, tmp_path, host, shown):
    fake = FakeServer(starts=True, host=host)
    asyncio.run(serve.serve(fake, fake, [ServedModel("team/digits", tmp_path)]))
    assert capsys.readouterr().out == f"http://{shown}:8501/v1/models/team%2Fdigits\n"


def test_a_server_that_cannot_start(capsys, tmp_path):
    fake = FakeServer(starts=False, host="127.0.0.1")
    with pytest.raises(RuntimeError, match="couldn't start"):
        asyncio.run(serve.serve(fake, fake, [ServedModel("digits", tmp_path)]))
    assert capsys.readouterr().out == ""


def test_help_says_what_production_is():
    text = " ".join((SCRIPTS / "serve.py").read_text(encoding="utf-8").split('"""')[1].split())
    assert "In production TensorFlow Serving serves the same directory" in text
    assert re.search(r"docker run .* -v \S*/export:/models/digits:ro\S* -e MODEL_NAME=digits tensorflow/serving", text)


class Process:
    """A running script; `url` is that of its model."""

    def __init__(self, *argv):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [sys.executable, str(SCRIPTS / "serve.py"), *argv, "--port=0"]
        self._process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )
        readable, _, _ = select.select([self._process.stdout], [], [], 120)
        self.url = self._process.stdout.readline().strip() if readable else ""
        if not self.url:
            self._process.kill()
            pytest.fail(self._process.communicate()[1])

    def terminate(self):
        self._process.send_signal(signal.SIGTERM)

    def end(self):
        """Exit code and standard error."""
        _, err = self._process.communicate(timeout=60)
        return self._process.returncode, err

    def kill(self):
        self._process.kill()
        self._process.communicate()


def wait_until_refused(host, port):
    """The server has heard the signal: it takes no new connections, and resets one that was waiting to be taken."""
    with contextlib.suppress(ConnectionRefusedError, ConnectionResetError):
        while True:
            socket.create_connection((host, port), timeout=60).close()


@pytest.fixture
def process(wine_run):
    started = Process(f"--model=wine={wine_run}", "--poll_secs=0.1")
    yield started
    started.kill()


def test_a_run_is_served_until_the_signal_and_what_was_begun_is_answered(process, wine_run):
    run = framework.Run.load(wine_run)
    columns = {name: array[:3] for name, array in run.pipeline.require_source("test").arrays.features.items()}
    expected = run.predict(columns)
    document = {"inputs": {name: array.tolist() for name, array in columns.items()}}
    with httpx.Client(timeout=60) as client:
        answer = client.post(f"{process.url}:predict", json=document)
        assert answer.status_code == 200, answer.text
        np.testing.assert_allclose(answer.json()["outputs"]["probabilities"], expected["probabilities"], atol=1e-5)
        assert answer.json()["outputs"]["class_name"] == [name.decode() for name in expected["class_name"]]
        assert client.get(process.url).json()["model_version_status"][0]["state"] == "AVAILABLE"
        assert client.get(urllib.parse.urljoin(process.url, "/readyz")).text == "ok"
        assert client.post(f"{process.url}:predict", content=b"{").status_code == 400
    place = urllib.parse.urlsplit(process.url)
    body = b'{"instances": [1]}'
    with socket.create_connection((place.hostname, place.port), timeout=60) as connection:
        head = f"POST {place.path}:predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:5])
        # An answer to somebody else says that the half request has come, too.
        assert httpx.get(process.url).status_code == 200
        process.terminate()
        wait_until_refused(place.hostname, place.port)
        connection.sendall(body[5:])
        received = b"".join(iter(lambda: connection.recv(65536), b""))
    assert received.startswith(b"HTTP/1.1 400 ")
    assert b"must be an object" in received or b"plain list" in received
    code, err = process.end()
    assert code == -signal.SIGTERM
    assert "Traceback" not in err


def test_malformed_requests(run_script):
    code, out, err = run_script("fuzz_server", "--requests=320", "--seed=1")
    assert code == 0, err
    assert "320 requests" in out
    statuses = dict(map(int, line.split()) for line in out.splitlines()[1:])
    assert set(statuses) >= {200, 400}
    assert sum(statuses.values()) == 320


def test_the_campaign_notices_a_wrong_answer(run_script, monkeypatch):
    right = answers.predictions
    monkeypatch.setattr(
        answers, "predictions", lambda outputs, is_row: right(outputs, is_row=is_row).replace(b"0.75", b"0.7")
    )
    code, _, err = run_script("fuzz_server", "--requests=320", "--seed=1")
    assert code == 2
    assert "expected " in err


def test_the_campaign_notices_a_malformed_error(run_script, monkeypatch):
    monkeypatch.setattr(answers, "error", lambda message: answers.to_json({"message": message}))
    code, _, err = run_script("fuzz_server", "--requests=64")
    assert code == 2
    assert "the error isn't {'error': text}" in err


def test_the_same_seed_makes_the_same_requests():
    def made(seed):
        fuzzer = fuzz_server.Fuzzer(seed)
        return [fuzzer.request() for _ in range(50)]

    assert made(3) == made(3)
    assert made(3) != made(4)
