import concurrent.futures
import json
import types

import numpy as np
import pytest

from framework import Feature
from framework.export import formats
from framework.export.formats import FormatResult, FormatRunner
from framework.export.formats.comparison import answers, compare, made_up, take
from framework.export.formats.table import _median_ms

INPUTS = {"image": Feature((2, None), "uint8"), "size": Feature((), "float32")}


def runner(call, inputs=None, outputs=None):
    return FormatRunner("made", "serving_default", inputs or INPUTS, outputs or {}, call)


class TestFormatRunner:
    def test_arrays_that_fit_are_passed_on_as_they_are(self):
        seen = {}
        run = runner(lambda given: seen.update(given) or {})
        given = {"image": np.ones((3, 2, 5), np.uint8), "size": np.ones(3, np.float32)}
        run(**given)
        assert seen["image"] is given["image"]
        assert seen["size"] is given["size"]

    def test_others_are_converted_or_refused(self):
        seen = {}
        run = runner(lambda given: seen.update(given) or {})
        run(image=[[[1, 2], [3, 4]]], size=[1])
        assert (seen["image"].dtype, seen["size"].dtype) == (np.uint8, np.float32)
        with pytest.raises(ValueError, match="'image' has the value 300, which uint8 can't hold"):
            run(image=[[[300], [1]]], size=[1.0])
        with pytest.raises(ValueError, match=r"'image' has shape \(1, 3, 2\), expected \(examples, 2, None\)"):
            run(image=np.zeros((1, 3, 2), np.uint8), size=np.zeros(1, np.float32))
        with pytest.raises(ValueError, match="same number of examples"):
            run(image=np.zeros((1, 2, 2), np.uint8), size=np.zeros(2, np.float32))
        with pytest.raises(ValueError, match=r"missing: \['size'\], unknown: \['sice'\]"):
            run(image=np.zeros((1, 2, 2), np.uint8), sice=np.zeros(1, np.float32))
        with pytest.raises(ValueError, match="There are no examples: the batch is empty"):
            run(image=np.zeros((0, 2, 2), np.uint8), size=np.zeros(0, np.float32))


class TestOpening:
    @pytest.mark.parametrize("name", list(formats.FORMATS))
    def test_threads_with_batches_of_different_sizes_get_their_own_answers(self, converted, name):
        run = formats.open_format(converted.results[name].path)
        sizes = [1, 7, 32, 2] * 5
        expected = {size: run(image=converted.images[:size])["logits"] for size in set(sizes)}
        with concurrent.futures.ThreadPoolExecutor(4) as executor:
            answered = executor.map(lambda size: run(image=converted.images[:size])["logits"], sizes)
            for size, logits in zip(sizes, answered, strict=True):
                np.testing.assert_allclose(logits, expected[size], rtol=0, atol=1e-5)

    @pytest.mark.parametrize("name", list(formats.FORMATS))
    def test_an_answer_stays_as_it_was(self, converted, name):
        run = formats.open_format(converted.results[name].path)
        first = run(image=converted.images[:2])["logits"]
        kept = first.copy()
        run(image=converted.images[2:4])
        np.testing.assert_array_equal(first, kept)

    def test_a_saved_model_in_the_same_way(self, converted):
        run = formats.open_saved_model(converted.run.export_dir)
        assert (run.format, run.signature) == ("saved_model", "serving_default")
        assert run.inputs == {"image": Feature((8, 8, 1), "uint8")}
        assert run.outputs["logits"] == Feature((10,), "float32")
        expected = converted.run.predict({"image": converted.images})
        np.testing.assert_allclose(run(image=converted.images)["logits"], expected["logits"], rtol=0, atol=1e-5)
        with pytest.raises(ValueError, match=r"no signature 'serving'\. The SavedModel has \['features', 'serial"):
            formats.open_saved_model(converted.run.export_dir, "serving")

    def test_another_directory(self, converted):
        with pytest.raises(FileNotFoundError, match=r"has no format.json: it isn't a directory that convert wrote"):
            formats.open_format(converted.run.export_dir)

    def test_what_lies_beside_a_format_is_plain(self, converted):
        result = converted.results["litert_int8"]
        values = json.loads((result.path / "format.json").read_text())
        assert values["file"] == "model.tflite"
        assert values["inputs"] == {"image": {"shape": [8, 8, 1], "dtype": "uint8"}}
        assert values["tensors"]["logits"] == "logits"
        assert "path" not in values
        assert FormatResult.read(result.path) == result


OUTPUTS = {"y": Feature((), "float32"), "id": Feature((), "int64")}


def answering(y, identity=lambda x: x.astype(np.int64)):
    return runner(lambda given: {"y": y(given["x"]), "id": identity(given["x"])}, {"x": Feature()}, OUTPUTS)


class TestComparison:
    examples = {"x": np.arange(5, dtype=np.float32)}

    def compare(self, y, tolerance=1e-2, **others):
        expected = answers(answering(lambda x: 2 * x), self.examples)
        return compare(expected, answers(answering(y, **others), self.examples), tolerance)

    def test_figures(self):
        found = self.compare(lambda x: 2 * x + np.float32(0.005), identity=lambda x: (x > 0).astype(np.int64))
        assert found["max_difference"] == {"y": pytest.approx(0.005, abs=1e-6)}
        # Batches of 1, 3 and 32, which begins anew after 4; 0 and 1 are as they were.
        assert found["agreement"] == {"id": (1 + 2 + 14) / 36}

    def test_a_larger_difference_is_refused_and_a_metric_may_decide(self):
        # Of a largest value of 8 in the batch of 32, of 4 in that of 3.
        self.compare(lambda x: 1.991 * x)
        with pytest.raises(ValueError, match=r"output 'y', batch of 3: it differs .* by 0\.06, allowed is 0\.04"):
            self.compare(lambda x: 1.97 * x)
        assert self.compare(lambda x: 1.0 * x, tolerance=None)["max_difference"] == {"y": 4.0}

    def test_another_shape_or_dtype(self):
        with pytest.raises(ValueError, match=r"batch of 1: it answers float64\(1,\), the SavedModel float32\(1,\)"):
            self.compare(lambda x: 2.0 * x.astype(np.float64))
        with pytest.raises(ValueError, match=r"batch of 3: it answers float32\(1,\), the SavedModel float32\(3,\)"):
            self.compare(lambda x: 2 * x[:1])

    def test_no_number(self):
        with pytest.raises(ValueError, match="batch of 3: it isn't a number where the SavedModel's answer is one"):
            self.compare(lambda x: np.where(x == 2, np.nan, 2 * x).astype(np.float32), tolerance=None)

    def test_examples_where_there_are_none(self):
        features = {
            "a": Feature((2, None), "uint8"),
            "b": Feature((), "string"),
            "c": Feature((), "bool"),
            "d": Feature(),
        }
        made = made_up(features, 4)
        assert {name: (value.shape, value.dtype.kind) for name, value in made.items()} == {
            "a": ((4, 2, 8), "u"),
            "b": ((4,), "O"),
            "c": ((4,), "b"),
            "d": ((4,), "f"),
        }
        assert set(made["a"].ravel().tolist()) == {0, 1}
        np.testing.assert_array_equal(take({"x": np.arange(3)}, 7)["x"], [0, 1, 2, 0, 1, 2, 0])


def test_median_of_as_many_calls_as_the_budget_allows():
    clock = types.SimpleNamespace(now=0.0)
    durations = iter([9.0, 9.0, 9.0, 0.3, 0.1, 0.2, 5.0, 5.0])  # three to warm up

    def call():
        clock.now += next(durations)

    assert _median_ms(call, 0.55, lambda: clock.now) == pytest.approx(200.0)
