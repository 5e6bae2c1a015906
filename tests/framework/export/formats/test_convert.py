import importlib.util
import os
import pickle
import stat
import subprocess
import sys
import threading
import time

import keras
import numpy as np
import psutil
import pytest
import tensorflow as tf

import framework
from framework.export import formats
from framework.export.formats import FormatError, FormatRefused, FormatResult, process
from framework.export.formats.errors import FormatInterrupted

EXACT = {"frozen": 1e-5, "litert": 1e-5, "onnx": 1e-5, "openvino": 1e-5}
ALLOWED = EXACT | {"litert_f16": 5e-3, "litert_dynamic": 0.1, "litert_int8": 0.3}


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class TestDigits:
    @pytest.mark.parametrize("name", list(formats.FORMATS))
    def test_every_format_answers_as_the_live_model_does(self, converted, name):
        run = formats.open_format(converted.results[name].path)
        assert (run.format, run.signature) == (name, "serving_default")
        assert run.inputs == {"image": framework.Feature((8, 8, 1), "uint8")}
        expected = converted.run.predict({"image": converted.images})
        for size in (1, 3, 32, 1):
            answered = run(image=converted.images[:size])
            assert set(answered) == {"logits", "probabilities", "class_id"} | (
                {"class_name"} if name == "frozen" else set()
            )
            for output in ("logits", "probabilities"):
                np.testing.assert_allclose(answered[output], expected[output][:size], rtol=0, atol=ALLOWED[name])
                assert answered[output].dtype == np.float32
            if name in EXACT:
                assert answered["class_id"].tolist() == expected["class_id"][:size].tolist()

    @pytest.mark.parametrize("name", list(formats.FORMATS))
    def test_a_result_says_what_it_is(self, converted, name):
        result = converted.results[name]
        assert isinstance(result, FormatResult), result
        assert result.path == converted.run.export_dir / "formats" / name
        assert result.left_out == (() if name == "frozen" else ("class_name",))
        assert result.passed_over == {}
        assert set(result.max_difference) == {"logits", "probabilities"}
        assert max(result.max_difference.values()) <= ALLOWED[name]
        assert result.agreement["class_id"] >= (1.0 if name in EXACT else 0.9)
        assert result.versions["tensorflow"] == tf.__version__
        assert formats.list_formats(converted.run.export_dir)[name] == result

    def test_the_metric_is_what_keras_reports(self, converted):
        reported = converted.run.evaluate("validation")["accuracy"]
        for name, result in converted.results.items():
            assert (result.metric, result.before) == ("accuracy", pytest.approx(reported, abs=1e-6))
            assert result.after == (
                pytest.approx(reported, abs=1e-6) if name in EXACT else pytest.approx(reported, 0.02)
            )

    def test_quantizing_makes_it_smaller(self, converted):
        size = {name: result.size_bytes for name, result in converted.results.items()}
        parameters = 4 * converted.run.model.count_params()
        for name in EXACT:
            assert parameters <= size[name] < 1.2 * parameters
        assert parameters / 2 <= size["litert_f16"] < 0.6 * parameters
        assert parameters / 4 <= size["litert_int8"] < 0.4 * parameters
        assert parameters / 4 <= size["litert_dynamic"] < 0.4 * parameters

    def test_nothing_is_left_beside_the_formats_and_all_may_read_them(self, converted):
        folder = converted.run.export_dir / "formats"
        assert sorted(path.name for path in folder.iterdir()) == sorted(formats.FORMATS)
        assert {path.name for path in (folder / "openvino").iterdir()} == {"model.xml", "model.bin", "format.json"}
        for path in folder.rglob("*"):
            assert path.stat().st_mode & (stat.S_IROTH | (stat.S_IXOTH if path.is_dir() else 0)), path

    def test_no_path_of_this_machine_is_in_them(self, converted):
        for path in (converted.run.export_dir / "formats").rglob("*.*"):
            assert str(converted.run.run_dir).encode() not in path.read_bytes(), path

    def test_table(self, converted):
        rows = formats.measure_formats(
            converted.run.export_dir, examples=converted.representative, batch_sizes=(1, 32), budget_secs=0.5
        )
        assert [row.format for row in rows] == ["saved_model", *formats.FORMATS]
        for row in rows:
            assert set(row.latency_ms) == {1, 32}
            assert all(0 < latency < 1000 for latency in row.latency_ms.values())
            assert (row.signature, row.metric) == ("serving_default", "accuracy")
        assert rows[0].value == converted.results["litert"].before
        assert rows[0].max_difference == 0
        assert rows[0].size_bytes > 4 * converted.run.model.count_params()
        assert rows[2].value == converted.results["litert"].after
        assert rows[2].size_bytes == converted.results["litert"].size_bytes


def test_what_is_too_much_worse_is_refused_with_the_figures(converted, export_dir):
    black = {"serving_default": {"image": np.zeros((8, 8, 8, 1), np.uint8)}}  # shows no range at all
    names = ["litert_int8", "litert_f16"]
    results = formats.convert_all(export_dir, names, representative=black, gate=converted.gate)
    refused, published = results["litert_int8"], results["litert_f16"]
    assert isinstance(refused, FormatRefused)
    assert (refused.format, refused.metric, refused.allowed) == ("litert_int8", "accuracy", 0.02)
    assert refused.before == published.before == converted.results["litert"].before
    assert refused.after < 0.9 * refused.before
    figures = rf"{refused.before:.6g} \(SavedModel\) to {refused.after:.6g}, allowed is a drop of 0\.02"
    with pytest.raises(FormatRefused, match=f"'litert_int8' isn't published: accuracy goes from {figures}"):
        raise pickle.loads(pickle.dumps(refused))
    assert os.listdir(export_dir / "formats") == ["litert_f16"]


class TestRefusals:
    def test_unknown_format(self, doubling):
        with pytest.raises(ValueError, match=r"no format 'onxx'. Did you mean 'onnx'\? Formats: saved_model, frozen"):
            formats.convert(doubling, "onxx")
        with pytest.raises(ValueError, match=r"a list of names, such as \('onnx',\); got the text 'onnx'"):
            formats.convert_all(doubling, "onnx")

    def test_no_saved_model(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"isn't a SavedModel: it has no saved_model.pb"):
            formats.convert(tmp_path, "litert")

    def test_there_already(self, doubling):
        (doubling / "formats" / "litert").mkdir(parents=True)
        with pytest.raises(FileExistsError, match=r"formats/litert exists already; delete it"):
            formats.convert_all(doubling, ["frozen", "litert"])
        assert os.listdir(doubling / "formats") == ["litert"]

    def test_int8_without_examples(self, doubling):
        with pytest.raises(ValueError, match="'litert_int8' needs representative examples"):
            formats.convert(doubling, "litert_int8")

    @pytest.mark.parametrize(
        ("name", "missing"), [("onnx", "tf2onnx"), ("onnx", "onnxruntime"), ("openvino", "openvino")]
    )
    def test_missing_package(self, doubling, monkeypatch, name, missing):
        find_spec = importlib.util.find_spec
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda module: None if module == missing else find_spec(module)
        )
        monkeypatch.setitem(sys.modules, missing, None)
        with pytest.raises(ImportError, match=rf"The format '{name}' needs {missing}, .* \"keras-shipyard\[{name}\]\""):
            formats.check_formats(["litert", name])

    def test_what_is_there_anyway_is_passed_over(self, doubling):
        with pytest.raises(ValueError, match="doubling is a SavedModel already; choose another format: frozen, litert"):
            formats.convert(doubling, "saved_model")
        assert formats.convert_all(doubling, ["saved_model"]) == {}
        assert os.listdir(doubling.parent) == ["doubling"]
        assert not (doubling / "formats").exists()


class TestProcess:
    """What converters do stays in their process."""

    # Converting to LiteRT aborts, as a converter's C++ may.
    ABORTING = process._START.replace(
        "worker.main",
        "import os, dataclasses; litert = worker.FORMATS['litert'];"
        " worker.FORMATS['litert'] = dataclasses.replace(litert, write=lambda *given: os.abort()); worker.main",
    )

    def test_one_that_crashes_stops_nobody_else(self, doubling, monkeypatch):
        monkeypatch.setattr(process, "_START", self.ABORTING)
        results = formats.convert_all(doubling, ["frozen", "litert", "onnx"])
        assert list(results) == ["frozen", "litert", "onnx"]
        assert isinstance(results["frozen"], FormatResult)
        assert isinstance(results["onnx"], FormatResult)
        assert "Converting to 'litert' was ended by signal 6. Its last words:" in str(results["litert"])
        assert "Fatal Python error: Aborted" in str(results["litert"])
        assert sorted(os.listdir(doubling / "formats")) == ["frozen", "onnx"]

    def test_an_error_of_the_worker_s_own_comes_once(self, doubling, monkeypatch):
        monkeypatch.setattr(process, "_START", "import sys; print('out of order'); sys.exit(3)  # {path!r} {work!r}")
        results = formats.convert_all(doubling, ["frozen", "litert"])
        assert [str(error) for error in results.values()] == [
            f"Converting to {name!r} ended with exit code 3. Its last words:\nout of order"
            for name in ("frozen", "litert")
        ]
        assert not (doubling / "formats").exists()

    def test_too_long(self, doubling):
        with pytest.raises(FormatError, match=r"'frozen' took longer than 0\.1 seconds"):
            formats.convert(doubling, "frozen", timeout_secs=0.1)

    # Converting to LiteRT takes its time, and says that it has begun.
    SLOW = process._START.replace(
        "worker.main",
        "import dataclasses, pathlib, time; litert = worker.FORMATS['litert'];"
        " begun = lambda *given, **named: (pathlib.Path('begun').touch(), time.sleep(120));"
        " worker.FORMATS['litert'] = dataclasses.replace(litert, write=begun); worker.main",
    )

    def test_it_is_given_up_when_it_is_interrupted(self, doubling, monkeypatch):
        monkeypatch.setattr(process, "_START", self.SLOW)
        interrupted = threading.Event()

        def interrupt():
            wait_for(lambda: list((doubling / "formats").glob("*/begun")))
            interrupted.set()

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(FormatInterrupted, match="ended on purpose"):
            formats.convert_all(doubling, ["frozen", "litert"], interrupted=interrupted)
        thread.join()
        assert not (doubling / "formats").exists()

    def test_a_key_pressed_in_the_terminal_doesn_t_reach_it(self, doubling, monkeypatch):
        monkeypatch.setattr(process, "_START", "import os; print(os.getsid(0) == os.getpid())  # {path!r} {work!r}")
        [error] = formats.convert_all(doubling, ["frozen"]).values()
        assert str(error).endswith("Its last words:\nTrue")

    def test_it_doesn_t_outlive_its_parent(self, doubling):
        program = f"""if True:
            import sys
            from framework.export import formats
            from framework.export.formats import process
            process._START = {self.SLOW!r}
            formats.convert_all(sys.argv[1], ["litert"])
        """
        parent = subprocess.Popen([sys.executable, "-c", program, str(doubling)])
        try:
            wait_for(lambda: list((doubling / "formats").glob("*/begun")))
            [worker] = psutil.Process(parent.pid).children()
        finally:
            parent.kill()
            parent.wait()
        wait_for(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)

    def test_the_caller_s_process_is_as_before(self, doubling, monkeypatch, capfd, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "path", ["", *sys.path])
        keras.utils.set_random_seed(7)
        layer = int(keras.layers.Dense(1).name.removeprefix("dense").removeprefix("_") or 0)
        graph, environment, files = tf.compat.v1.get_default_graph(), dict(os.environ), os.listdir(tmp_path)
        modules = {"tf2onnx", "openvino", "onnx"} - set(sys.modules)
        capfd.readouterr()
        examples = {"serving_default": {"x": np.ones((4, 3), np.float32)}}
        results = formats.convert_all(doubling, ["frozen", "litert_int8", "onnx", "openvino"], representative=examples)
        assert [type(result) for result in results.values()] == [FormatResult] * 4
        assert tuple(capfd.readouterr()) == ("", "")
        assert os.listdir(tmp_path) == files
        assert os.environ == environment
        assert tf.compat.v1.get_default_graph() is graph
        assert not modules & set(sys.modules)
        assert keras.layers.Dense(1).name == f"dense_{layer + 1}"
        drawn = (tf.random.uniform(()).numpy(), np.random.default_rng(0).random())
        keras.utils.set_random_seed(7)
        assert (tf.random.uniform(()).numpy(), np.random.default_rng(0).random()) == drawn
