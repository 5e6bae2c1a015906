"""`scripts/predict.py`, in this process, on exports of plain TensorFlow and of a run."""

import base64
import csv
import gzip
import io
import json
import sys
import tracemalloc

import numpy as np
import pytest
import read_examples
import tensorflow as tf
from predict import ask, batches
from progress import Progress
from trained_tables import TrainedTables

import framework


class _Toy(tf.Module):
    """A signature with a feature of every kind, and one that takes images."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None], tf.float32, "size"),
            tf.TensorSpec([None], tf.uint8, "count"),
            tf.TensorSpec([None], tf.bool, "known"),
            tf.TensorSpec([None], tf.string, "name"),
            tf.TensorSpec([None, 2], tf.float32, "place"),
        ]
    )
    def everything(self, size, count, known, name, place):
        return {
            "total": size + tf.cast(count, tf.float32) + tf.reduce_sum(place, axis=1),
            "known": known,
            "greeting": tf.strings.join(["hello ", name]),
            "place": place,
            "batch": tf.fill([tf.shape(size)[0]], tf.shape(size)[0]),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, 2, 3, 1], tf.uint8, "image")])
    def images(self, image):
        return {"mean": tf.reduce_mean(tf.cast(image, tf.float32), [1, 2, 3])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "bytes")])
    def encoded(self, bytes):
        return {"length": tf.strings.length(bytes), "bytes": bytes}

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int64, "tokens")])
    def sequences(self, tokens):
        return {"sum": tf.reduce_sum(tokens, 1), "batch": tf.fill([tf.shape(tokens)[0]], tf.shape(tokens)[0])}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def picky(self, x):
        tf.debugging.assert_positive(x, "x must be positive")
        return {"root": tf.sqrt(x), "all": tf.reduce_sum(x)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def complex(self, x):
        return {"turned": tf.complex(0.0, x), "x": x}

    @tf.function(input_signature=[tf.TensorSpec([2], tf.float32, "x")])
    def unbatched(self, x):
        return {"x": x}


_ROW = {"size": 0.1, "count": 3, "known": True, "name": "Zoë", "place": [1.0, 2.0]}


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    path = tmp_path_factory.mktemp("toy") / "1"
    module = _Toy()
    names = ("images", "encoded", "sequences", "picky", "complex", "unbatched")
    signatures = {"serving_default": module.everything, **{name: getattr(module, name) for name in names}}
    tf.saved_model.save(module, str(path), signatures=signatures)
    return path


@pytest.fixture
def predict(run_script, monkeypatch):
    """Calls the script with standard input; returns code, lines and standard error."""

    def call(*argv, stdin=b""):
        stdin = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        code, out, err = run_script("predict", *argv)
        return code, out.splitlines(), err

    return call


def _json_lines(*rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def _csv(*rows, extra=()):
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow([*extra, *rows[0]])
    for row in rows:
        cells = [json.dumps(v) if isinstance(v, list) else v for v in row.values()]
        writer.writerow([*("-" for _ in extra), *cells])
    return file.getvalue()


_ANSWER = {"batch": 1, "greeting": "hello Zoë", "known": True, "place": [1.0, 2.0], "total": 6.1}


def test_json_lines(predict, toy):
    code, lines, err = predict(f"--export={toy}", stdin=_json_lines(_ROW) + "\n\n")
    assert code == 0, err
    assert [json.loads(line) for line in lines] == [_ANSWER]
    assert list(json.loads(lines[0])) == sorted(_ANSWER)


def test_csv_in_any_order_with_further_columns_and_a_byte_order_mark(predict, toy, tmp_path):
    row = dict(reversed(_ROW.items()))
    path = tmp_path / "rows.csv"
    path.write_text(_csv(row, row, extra=["id"]), encoding="utf-8-sig")
    code, lines, err = predict(f"--export={toy}", f"--input={path}")
    assert code == 0, err
    assert [json.loads(line) for line in lines] == 2 * [{**_ANSWER, "batch": 2}]


def test_npz(predict, toy, tmp_path):
    columns = {name: np.asarray([value, value, value]) for name, value in _ROW.items()}
    np.savez(tmp_path / "rows.npz", **columns)
    code, lines, err = predict(
        f"--export={toy}", f"--input={tmp_path}/rows.npz", "--batch_size=2", "--outputs=batch,total"
    )
    assert code == 0, err
    assert lines == ['{"batch": 2, "total": 6.1}', '{"batch": 2, "total": 6.1}', '{"batch": 1, "total": 6.1}']


def test_npz_from_standard_input(predict, toy):
    file = io.BytesIO()
    np.savez(file, **{name: np.asarray([value]) for name, value in _ROW.items()})
    code, lines, err = predict(f"--export={toy}", "--format=npz", "--outputs=total", stdin=file.getvalue())
    assert (code, lines) == (0, ['{"total": 6.1}']), err


def test_an_output_has_its_name_when_all_is_written(toy, predict, tmp_path):
    argv = (f"--export={toy}", "--batch_size=1", "--outputs=total", f"--output={tmp_path}/out.jsonl")
    assert predict(*argv, stdin=_json_lines(_ROW, {}))[0] == 2
    assert list(tmp_path.iterdir()) == []
    assert predict(*argv, stdin=_json_lines(_ROW))[0] == 0
    before = (tmp_path / "out.jsonl").read_text()
    assert len(before.splitlines()) == 1
    assert predict(*argv, stdin=_json_lines(_ROW, _ROW, {}))[0] == 2
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl"]
    assert (tmp_path / "out.jsonl").read_text() == before
    argv = (*argv[:-1], "--output=/dev/null")
    assert predict(*argv, stdin=_json_lines(_ROW))[0] == 0


def test_csv_out(predict, toy, tmp_path):
    code, lines, _ = predict(f"--export={toy}", f"--output={tmp_path}/out.csv", stdin=_json_lines(_ROW, _ROW))
    assert (code, lines) == (0, [])
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    expected = {"batch": "2", "greeting": "hello Zoë", "known": "True", "place": "[1.0, 2.0]", "total": "6.1"}
    assert rows == [expected, expected]


def test_csv_of_no_examples_has_a_header(predict, toy):
    code, lines, err = predict(f"--export={toy}", "--output_format=csv", "--outputs=total,known,total")
    assert (code, lines) == (0, ["total,known"]), err


@pytest.mark.parametrize("name", ["rows.jsonl", "link.jsonl"])
def test_the_input_is_not_overwritten(predict, toy, tmp_path, name):
    given = _json_lines(_ROW)
    (tmp_path / "rows.jsonl").write_text(given)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "rows.jsonl")
    code, _, err = predict(f"--export={toy}", f"--input={tmp_path}/rows.jsonl", f"--output={tmp_path / name}")
    assert code == 2
    assert f"--output={tmp_path / name} is an input, too" in err
    assert (tmp_path / "rows.jsonl").read_text() == given
    image, _ = _write_images(tmp_path)
    assert "is an input, too" in predict(f"--export={toy}", f"--output={image}", image)[2]
    _write_records(tmp_path / "a.tfrecord", {"x": 1.0})
    argv = ("--signature=encoded", f"--input={tmp_path}/*.tfrecord", f"--output={tmp_path}/a.tfrecord")
    assert "is an input, too" in predict(f"--export={toy}", *argv)[2]


def test_what_went_out_goes_in_again(predict, toy, tmp_path):
    """A CSV cell of a list is JSON both ways."""
    predict(f"--export={toy}", f"--output={tmp_path}/out.csv", "--outputs=place", stdin=_json_lines(_ROW))
    cell = (tmp_path / "out.csv").read_text().splitlines()[1]
    assert json.loads(next(csv.reader([cell]))[0]) == _ROW["place"]


def test_numbers_are_json(predict, toy):
    row = {**_ROW, "size": float("inf")}
    _, lines, _ = predict(f"--export={toy}", "--outputs=total", stdin=_json_lines(row))
    assert lines == ['{"total": null}']


def test_bytes(predict, toy):
    encoded = base64.b64encode(b"\xff\x00\x01").decode()
    code, lines, err = predict(
        f"--export={toy}", "--signature=encoded", stdin=_json_lines({"bytes": {"b64": encoded}}, {"bytes": "four"})
    )
    assert code == 0, err
    assert [json.loads(line) for line in lines] == [
        {"bytes": {"b64": encoded}, "length": 3},
        {"bytes": "four", "length": 4},
    ]


def test_varying_lengths_are_batched_by_length(predict, toy):
    rows = [{"tokens": [1]}, {"tokens": [2]}, {"tokens": [3, 4]}, {"tokens": [5]}]
    code, lines, err = predict(f"--export={toy}", "--signature=sequences", stdin=_json_lines(*rows))
    assert code == 0, err
    answers = [json.loads(line) for line in lines]
    assert [(answer["sum"], answer["batch"]) for answer in answers] == [(1, 2), (2, 2), (7, 1), (5, 1)]


def test_streaming(toy):
    """The first batch is answered before the second is read."""
    read = []

    def examples():
        for number in range(4):
            read.append(number)
            yield f"line {number}", {"x": np.float32(number + 1)}

    signature = framework.load_export(toy)("picky")
    answers = ask(signature, batches(examples(), 2), ["root"], Progress())
    next(answers)
    assert len(read) <= 3


def test_memory_is_flat(predict, toy, tmp_path):
    """Fifty times the examples, the same memory; half a megabyte of JSON lines is read in pieces."""

    def peak(count):
        (tmp_path / "rows.jsonl").write_text(_json_lines({"tokens": list(range(500))}) * count)
        tracemalloc.start()
        argv = ("--signature=sequences", f"--input={tmp_path}/rows.jsonl", f"--output={tmp_path}/out.csv")
        code, _, err = predict(f"--export={toy}", *argv, "--batch_size=4")
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert code == 0, err
        assert len((tmp_path / "out.csv").read_text().splitlines()) == count + 1
        return highest

    peak(4)
    assert peak(500) < 1.5 * peak(10)


def _write_records(path, *examples, compression=""):
    with tf.io.TFRecordWriter(str(path), compression) as writer:
        for example in examples:
            features = {
                key: tf.train.Feature(float_list=tf.train.FloatList(value=[value])) for key, value in example.items()
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())


def test_records(predict, wine_run, tmp_path):
    run = framework.Run.load(wine_run)
    columns = {name: array[:5] for name, array in run.pipeline.require_source("test").arrays.features.items()}
    rows = [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]
    _write_records(tmp_path / "test.tfrecord-00000-of-00002", *rows[:3])
    _write_records(tmp_path / "test.tfrecord-00001-of-00002", *rows[3:])
    code, lines, err = predict(f"--export={wine_run}", f"--input={tmp_path}/test.tfrecord-*", "--format=records")
    assert code == 0, err
    expected = run.predict(columns)["probabilities"]
    np.testing.assert_allclose([json.loads(line)["probabilities"] for line in lines], expected, atol=1e-5)
    _write_records(tmp_path / "test.tfrecord.gz", *rows, compression="GZIP")
    assert predict(f"--export={wine_run}", f"--input={tmp_path}/test.tfrecord.gz") == (0, lines, err)


def test_mistakes_in_records(predict, toy, tmp_path):
    argv = (f"--export={toy}", "--signature=encoded")
    assert "There is no file" in predict(*argv, f"--input={tmp_path}/none.tfrecord")[2]
    _write_records(tmp_path / "cut.tfrecord", {"x": 1.0}, {"x": 2.0})
    whole = (tmp_path / "cut.tfrecord").read_bytes()
    (tmp_path / "cut.tfrecord").write_bytes(whole[:-3])
    code, lines, err = predict(*argv, f"--input={tmp_path}/cut.tfrecord", "--batch_size=1", "--outputs=length")
    assert (code, len(lines)) == (2, 1)
    assert "cut.tfrecord is damaged after record 1" in err


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.csv", "csv"),
        ("a.tsv", "csv"),
        ("a.csv.gz", "csv"),
        ("a.JSONL", "jsonl"),
        ("a.npz", "npz"),
        ("a.tfrecord", "records"),
        ("a.tfrecord.gz", "records"),
        ("a-00001-of-00004.tfrecord", "records"),
        ("a.tfrecords-00001-of-00004", "records"),
        ("a.gz", None),
        ("a.txt", None),
        ("a", None),
    ],
)
def test_formats_by_name(name, kind):
    assert read_examples.format_of(name) == kind


@pytest.mark.parametrize(("bad", "size"), [(0, 1), (0, 8), (5, 8), (5, 3)])
def test_the_bad_example_is_named(predict, toy, bad, size):
    rows = [{"x": -1.0 if row == bad else 1.0} for row in range(8)]
    argv = ("--signature=picky", "--outputs=root", f"--batch_size={size}")
    code, lines, err = predict(f"--export={toy}", *argv, stdin=_json_lines(*rows))
    assert code == 2
    assert f"standard input, line {bad + 1}: the signature refuses this: assertion failed: [x must be positive" in err
    assert len(lines) == bad // size * size


class _Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress():
    times = iter([0.0, 0.1, 0.3, 0.3, 0.3, 0.35, 10.0])
    terminal = _Terminal()
    progress = Progress(lambda count: count / 8, file=terminal, clock=lambda: next(times))
    progress.add(1)  # too early to show
    progress.add(2)
    progress.add(5)  # too early
    progress.close()
    assert terminal.getvalue() == ("\r3 examples, 10 a second, 38%\r8 examples, 1 a second, 100%\n")


def test_progress_is_for_terminals():
    file = io.StringIO()
    progress = Progress(file=file, clock=iter(range(0, 1000, 10)).__next__)
    progress.add(1)
    progress.add(1)
    progress.close()
    assert file.getvalue() == ""


def _write_images(directory, shape=(2, 3, 1)):
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
    for name, encode in (("a.png", tf.io.encode_png), ("b.jpeg", tf.io.encode_jpeg)):
        (directory / name).write_bytes(encode(pixels).numpy())
    return [str(directory / "a.png"), str(directory / "b.jpeg")]


def test_images(predict, toy, tmp_path):
    paths = _write_images(tmp_path)
    code, lines, err = predict(f"--export={toy}", "--signature=images", *paths)
    assert code == 0, err
    assert json.loads(lines[0]) == {"file": paths[0], "mean": 2.5}
    assert json.loads(lines[1]) == {"file": paths[1], "mean": pytest.approx(2.5, abs=1)}
    for outputs, line in (("mean", '{"mean": 2.5}'), ("mean,file", f'{{"mean": 2.5, "file": "{paths[0]}"}}')):
        assert predict(f"--export={toy}", "--signature=images", f"--outputs={outputs}", paths[0])[1] == [line]


def test_images_as_bytes(predict, toy, tmp_path):
    """The signature `encoded` is the one for images, where there is one."""
    paths = _write_images(tmp_path)
    code, lines, err = predict(f"--export={toy}", "--outputs=length", *paths)
    assert code == 0, err
    assert json.loads(lines[0])["length"] == len((tmp_path / "a.png").read_bytes())


def test_export_run_directory_and_base(predict, toy, tmp_path):
    base = tmp_path / "run" / "export"
    base.mkdir(parents=True)
    for version in ("1", "2", "10"):
        (base / version).symlink_to(toy, target_is_directory=True)
    for export in (tmp_path / "run", base, base / "2"):
        _, lines, err = predict(f"--export={export}", "--outputs=total", stdin=_json_lines(_ROW))
        assert lines == ['{"total": 6.1}'], err


def _without(name):
    return {key: value for key, value in _ROW.items() if key != name}


@pytest.mark.parametrize(
    ("argv", "stdin", "messages"),
    [
        (["--signature=servin_default"], "", ["no signature 'servin_default'", "Did you mean 'serving_default'"]),
        (["--outputs=totl"], "", ["no output 'totl'", "Did you mean 'total'"]),
        (["--input=rows.txt"], "", ["its name doesn't tell the format", "csv|jsonl|npz|records"]),
        (["--input=nothing.csv"], "", ["No such file or directory: 'nothing.csv'"]),
        (["--input=x.csv", "picture.png"], "", ["Give images or --input, not both"]),
        (["--batch_size=0"], "", ["--batch_size must be at least 1"]),
        (
            ["--signature=serving_default", "a.png"],
            "",
            ["Image files need a signature with one input", "size: float32"],
        ),
        (["picture.png"], "", ["No such file or directory: 'picture.png'"]),
        (["--format=records"], "", ["Records are read from files"]),
        (["--input=none.tfrecord"], "", ["Records need a signature with one input, string ()"]),
        ([], "{", ["standard input, line 1: not JSON"]),
        ([], "[1]", ["line 1: got [1], expected an object"]),
        ([], _json_lines(_ROW, _without("count")), ["line 2: feature 'count' is missing", "Got size, known"]),
        ([], _json_lines({**_without("size"), "sise": 1}), ["feature 'size' is missing. Did you mean 'sise'"]),
        ([], _json_lines({**_ROW, "size": "0.5"}), ["line 1: feature 'size' got '0.5', expected float32"]),
        ([], _json_lines({**_ROW, "size": None}), ["feature 'size' got None, expected float32"]),
        ([], _json_lines({**_ROW, "size": True}), ["feature 'size' got True, expected float32"]),
        ([], _json_lines({**_ROW, "size": 1e300}), ["feature 'size' got 1e+300, expected float32"]),
        ([], _json_lines({**_ROW, "count": 300}), ["feature 'count' got 300, expected uint8"]),
        ([], _json_lines({**_ROW, "count": -1}), ["feature 'count' got -1, expected uint8"]),
        ([], _json_lines({**_ROW, "count": 2.5}), ["feature 'count' got 2.5, expected uint8"]),
        ([], _json_lines({**_ROW, "known": 1}), ["feature 'known' got 1, expected bool"]),
        ([], _json_lines({**_ROW, "name": 7}), ["feature 'name' got 7, expected string"]),
        ([], _json_lines({**_ROW, "name": ["a"]}), ["feature 'name' got shape (1,), expected string"]),
        ([], _json_lines({**_ROW, "place": [1.0]}), ["feature 'place' got shape (1,), expected float32 (2,)"]),
        ([], _json_lines({**_ROW, "place": [[1], [1, 2]]}), ["feature 'place' got [[1], [1, 2]]"]),
        (["--format=csv"], "", ["standard input is empty", "expected a header with count, known"]),
        (["--format=csv"], "size,count\n", ["header: feature 'known' is missing"]),
        (["--format=csv"], _csv(_ROW) + "1,2\n", ["line 3: got 2 cells, expected 5"]),
        (["--format=csv"], _csv({**_ROW, "size": "big"}), ["line 2: feature 'size' got 'big', expected float32"]),
        (["--format=csv"], _csv({**_ROW, "size": ""}), ["line 2: feature 'size' got '', expected float32"]),
        (["--format=csv"], _csv({**_ROW, "known": "perhaps"}), ["feature 'known' got 'perhaps', expected bool"]),
        (
            ["--format=csv"],
            _csv({**_ROW, "place": "1 2"}),
            ["feature 'place' got '1 2', expected float32 (2,) as JSON"],
        ),
        (["--format=csv"], b"size\n\xff\xfe\n", ["standard input, "]),
        (["--format=npz"], b"PK nonsense", ["standard input isn't an .npz file"]),
        (["--signature=picky"], _json_lines({"x": -1.0}), ["line 1: the signature refuses this", "x must be positive"]),
        (["--signature=complex"], "", ["'turned' is complex64, which can't be written", "--outputs, of turned, x"]),
        (["--signature=unbatched"], "", ["a batch axis of any length, not <unbatched(x: float32(2,)) -> x: float32"]),
        (["--signature=picky", "--outputs=all"], _json_lines({"x": 1.0}), ["The output 'all' has shape ()"]),
    ],
)
def test_mistakes(predict, toy, argv, stdin, messages, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = predict(f"--export={toy}", *argv, stdin=stdin)
    assert code == 2
    assert err.startswith("error: ")
    assert len(err.splitlines()) <= 2
    for message in messages:
        assert message in err


def test_mistakes_in_npz(predict, toy, tmp_path):
    columns = {name: np.asarray([value, value]) for name, value in _ROW.items()}
    np.savez(tmp_path / "short.npz", **{**columns, "size": np.asarray([1.0])})
    _, _, err = predict(f"--export={toy}", f"--input={tmp_path}/short.npz")
    assert "arrays need the same number of examples" in err
    np.savez(tmp_path / "wrong.npz", **{**columns, "place": np.zeros([2, 3])})
    _, _, err = predict(f"--export={toy}", f"--input={tmp_path}/wrong.npz")
    assert "wrong.npz, example 0: feature 'place' got shape (3,), expected float32 (2,)" in err
    np.savez(tmp_path / "pickled.npz", **{**columns, "name": np.asarray([{}, {}], object)})
    _, _, err = predict(f"--export={toy}", f"--input={tmp_path}/pickled.npz")
    assert "pickled.npz isn't an .npz file of plain arrays" in err


def test_mistakes_in_images(predict, toy, tmp_path):
    large, _ = _write_images(tmp_path, shape=(4, 4, 1))
    _, _, err = predict(f"--export={toy}", "--signature=images", large)
    assert "a.png: feature 'image' got shape (4, 4, 1), expected uint8 (2, 3, 1)" in err
    (tmp_path / "text.png").write_text("no picture")
    _, _, err = predict(f"--export={toy}", "--signature=images", f"{tmp_path}/text.png")
    assert "text.png is no JPEG, PNG, GIF, BMP or WebP image" in err
    code, _, err = predict(f"--export={toy}", "--signature=images", f"{tmp_path}/none.png")
    assert (code, "No such file or directory" in err) == (2, True)


def test_no_export(predict, tmp_path):
    code, _, err = predict(f"--export={tmp_path}")
    assert code == 2
    assert f"There is no SavedModel in {tmp_path}: expected saved_model.pb, versions such as {tmp_path}/1" in err


def test_all_formats_agree_with_the_run(predict, wine_run, tmp_path):
    run = framework.Run.load(wine_run)
    columns = {name: array[:5] for name, array in run.pipeline.require_source("test").arrays.features.items()}
    rows = [dict(zip(columns, map(float, values), strict=True)) for values in zip(*columns.values(), strict=True)]
    (tmp_path / "rows.jsonl").write_text(_json_lines(*rows))
    (tmp_path / "rows.csv").write_text(_csv(*rows))
    np.savez(tmp_path / "rows.npz", **columns)
    expected = run.predict(columns)
    for name in ("rows.jsonl", "rows.csv", "rows.npz"):
        code, lines, err = predict(f"--export={wine_run}", f"--input={tmp_path / name}", "--batch_size=2")
        assert code == 0, err
        answers = [json.loads(line) for line in lines]
        np.testing.assert_allclose([a["probabilities"] for a in answers], expected["probabilities"], atol=1e-5)
        assert [a["class_name"].encode() for a in answers] == expected["class_name"].tolist()


@pytest.fixture(scope="module")
def people(tmp_path_factory):
    """A table with a column of each kind, values missing in all of them, and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("people")
    random = np.random.default_rng(0)
    pixels = tf.constant(random.integers(0, 255, (9, 8, 3), dtype=np.uint8))
    (folder / "photos").mkdir()
    for name in "ab":
        (folder / "photos" / f"{name}.png").write_bytes(tf.io.encode_png(pixels).numpy())
    lines = ["id;Height (cm); class;member;born;photo;label"]
    for number in range(60):
        height = ["", "NA", " 170.5", "161"][number % 4]
        city, member = random.choice(["Rome", "Oslo", ""]), random.choice(["True", "False", ""])
        born = f"2001-02-{number % 28 + 1:02}" if number % 5 else ""
        lines.append(f'{number};{height}; "{city}";{member};{born};{"ab"[number % 2]}.png;{"yn"[number % 2]}')
    (folder / "people.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    options = {"path": str(folder / "people.csv"), "label": "label", "drop": ["id"], "root": str(folder / "photos")}
    options |= {"image_size": [8, 8], "validation": 0.0, "test": 0.0}
    framework.fit("multimodal", "multimodal", pipeline_options=options, run_dir=folder / "run", epochs=1, batch_size=20)
    return folder


@pytest.mark.parametrize("signature", ["serving_default", "encoded"])
def test_a_table_that_was_trained_on(predict, people, signature):
    run = framework.Run.load(people / "run")
    assert dict(run.pipeline.renamed) == {"Height_cm": "Height (cm)", "class_": "class"}
    path = people / "people.csv"
    code, lines, err = predict(f"--export={people / 'run'}", f"--input={path}", f"--signature={signature}")
    assert code == 0, err
    examples = run.pipeline.require_source("train").gather(tf.range(60, dtype=tf.int64)).features
    photos = np.stack([run.pipeline.features["photo"].decode(photo) for photo in examples["photo"]])
    expected = run.predict({name: np.asarray(value) for name, value in {**examples, "photo": photos}.items()})
    expected = expected["probabilities"]
    np.testing.assert_allclose([json.loads(line)["probabilities"] for line in lines], expected, atol=1e-5)
    whole = path.read_bytes()
    (people / "people.csv.gz").write_bytes(gzip.compress(whole))
    (people / "people.tsv").write_bytes(whole.replace(b";", b"\t"))
    named = whole.replace(b"Height (cm); class", b"Height_cm;class_", 1).replace(b";", b",")
    (people / "named.csv").write_bytes(named)
    for name in ("people.csv.gz", "people.tsv", "named.csv"):
        argv = (f"--export={people / 'run'}", f"--input={people / name}", f"--signature={signature}")
        assert predict(*argv) == (0, lines, err)


def test_json_lines_like_a_table_that_was_trained_on(predict, people):
    header = "Height (cm),class,member,born,photo\n"
    argv = (f"--export={people / 'run'}", "--outputs=probabilities")
    row = {"Height (cm)": None, "class": None, "member": True, "born": None, "photo": "a.png"}
    code, lines, err = predict(*argv, stdin=_json_lines(row, row | {"class": 7, "member": None}))
    assert code == 0, err
    assert predict(*argv, "--format=csv", stdin=header + ",,True,,a.png\n,7,,,a.png\n") == (0, lines, err)
    assert (
        "feature 'class_' got shape (1,), expected string"
        in predict(*argv, stdin=_json_lines(row | {"class": ["a"]}))[2]
    )


def test_mistakes_in_a_table_like_those_of_training(predict, people):
    header = "Height (cm),class,member,born,photo\n"
    argv = (f"--export={people / 'run'}", "--format=csv")
    for row, message in (
        ("tall,Rome,True,2001-01-01,a.png\n", "line 2: feature 'Height_cm' got 'tall', expected float32"),
        ("170,Rome,maybe,2001-01-01,a.png\n", "line 2: feature 'member' got 'maybe', expected float32"),
        ("170,Rome,yes,2001-01-01,c.png\n", "line 2: [Errno 2] No such file or directory"),
    ):
        code, _, err = predict(*argv, stdin=header + row)
        assert code == 2
        assert message in err
    (people / "cut.csv.gz").write_bytes(gzip.compress((people / "people.csv").read_bytes())[:-9])
    assert "can't be decompressed" in predict(*argv, f"--input={people / 'cut.csv.gz'}")[2]


def test_columns_are_told_apart():
    tables = TrainedTables(renamed={"a_b": "a b", "a_b_2": "a_b"})
    assert tables.titles(["a_b", "a_b_2"], ["a b", "a_b"]) == {"a_b": "a b", "a_b_2": "a_b"}
    assert tables.titles(["a_b", "a_b_2"], ["a_b", "a_b_2"]) == {"a_b": "a_b", "a_b_2": "a_b_2"}
    assert TrainedTables().titles(["a_b", "c"], ["a b", "a-b"]) == {"a_b": "a b", "c": "c"}
