import math
import os
import stat
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import Feature, tasks
from framework.data.statistics import vocabulary
from framework.export import Exporter, Moment, ParityError, list_versions, read_manifest
from framework.export.saved_model import SavedModelWriter, restore_weights

_RNG = np.random.default_rng(0)
VECTORS = _RNG.normal(size=(40, 64)).astype(np.float32)
CLASSES = (VECTORS[:, 0] > 0).astype(np.int64)


def network(inputs, task, *, width: int = 512):
    x = keras.layers.Dense(width, activation="relu")(inputs["vector"])
    x = keras.layers.Dropout(0.5)(keras.layers.BatchNormalization()(x))
    return task.logits(keras.layers.Dense(width, activation="relu")(x))


def build(builder, pipeline, **hparams):
    return framework.build_model(builder, pipeline.interface(), pipeline.task, hparams, seed=0)


@pytest.fixture(scope="module")
def pipeline():
    return framework.pipeline_from_arrays(
        {"vector": VECTORS},
        CLASSES,
        validation=0.25,
        augment=lambda features, labels, seeds: (
            {"vector": features["vector"] + tf.random.stateless_normal([64], seeds[0])},
            labels,
        ),
        preprocess=lambda features: {"vector": features["vector"] * 0.5},
    )


@pytest.fixture(scope="module")
def trained(pipeline):
    """A model with everything that an export must not have: optimizer slots, averages, metrics, dropout seeds."""
    model = build(network, pipeline)
    model.compile(keras.optimizers.AdamW(use_ema=True), pipeline.task.loss(), metrics=pipeline.task.metrics())
    model.train_on_batch({"vector": VECTORS}, CLASSES)
    return model


@pytest.fixture(scope="module")
def export_dir(trained, pipeline, tmp_path_factory):
    base = tmp_path_factory.mktemp("export")
    return base / str(Exporter(trained, pipeline).publish(base, metrics={"val_loss": 0.5}, epoch=3, step=7))


def checkpoint(export_dir):
    return str(export_dir / "variables" / "variables")


def operations(function):
    """Every operation of a signature and of the functions that it calls."""
    graph = function.graph.as_graph_def()
    nodes = [*graph.node, *(node for called in graph.library.function for node in called.node_def)]
    return {node.op for node in nodes}


def training_only(names):
    words = ("Random", "Grad", "Assign", "ResourceApply", "PyFunc", "Dropout")
    return {name for name in names if any(word in name for word in words)}


class TestWhatIsInside:
    def test_variables_are_stored_once_and_nothing_else_is(self, trained, export_dir):
        names = [name for name, _ in tf.train.list_variables(checkpoint(export_dir))]
        stored = [name for name in names if not name.startswith(("_CHECKPOINTABLE", "save_counter"))]
        assert sorted(stored) == sorted(
            f"model_variables/{index}/.ATTRIBUTES/VARIABLE_VALUE"
            for index, variable in enumerate(trained.variables)
            if "seed" not in variable.path
        )
        assert len(stored) == len(trained.weights)

    def test_variables_bytes_are_the_parameters(self, trained, export_dir):
        parameters = sum(math.prod(weight.shape) * 4 for weight in trained.weights)
        reader = tf.train.load_checkpoint(checkpoint(export_dir))
        shapes = reader.get_variable_to_shape_map()
        dtypes = reader.get_variable_to_dtype_map()
        held = sum(math.prod(shape) * dtypes[name].size for name, shape in shapes.items() if dtypes[name] != tf.string)
        assert held <= 1.02 * parameters
        files = sum(path.stat().st_size for path in (export_dir / "variables").iterdir())
        assert parameters < files <= 1.02 * parameters

    def test_the_check_for_training_operations_sees_them(self, trained):
        @tf.function
        def step(vector):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(trained({"vector": vector}, training=True))
            return tape.gradient(loss, trained.trainable_variables[0].value)

        found = training_only(operations(step.get_concrete_function(tf.TensorSpec((None, 64), tf.float32))))
        assert "ReluGrad" in found
        assert any("Assign" in name for name in found)
        assert any("Random" in name for name in found)

    def test_no_operation_of_training_and_no_python(self, export_dir):
        for name, function in tf.saved_model.load(str(export_dir)).signatures.items():
            found = operations(function)
            assert "MatMul" in found, name
            assert training_only(found) == set(), name

    def test_manifest_says_what_it_is(self, trained, pipeline, export_dir):
        manifest = read_manifest(export_dir)
        assert (manifest["epoch"], manifest["step"], manifest["metrics"]) == (3, 7, {"val_loss": 0.5})
        assert manifest["signatures"]["serving_default"]["inputs"] == {"vector": {"shape": [64], "dtype": "float32"}}
        assert manifest["signatures"]["serialized"]["inputs"] == {"examples": {"shape": [], "dtype": "string"}}
        assert manifest["signatures"]["features"]["outputs"]["class_id"] == {"shape": [], "dtype": "int64"}
        assert manifest["task"]["num_classes"] == 2
        assert manifest["parameters"] == trained.count_params()
        assert set(manifest["largest_difference"]) == {"serving_default", "serialized", "features"}
        assert max(manifest["largest_difference"].values()) <= 1e-5
        shapes = {entry["name"]: tuple(entry["shape"]) for entry in manifest["variables"].values()}
        normalization = dict.fromkeys(("gamma", "beta", "moving_mean", "moving_variance"), (512,))
        assert shapes == {
            "dense/kernel": (64, 512),
            "dense/bias": (512,),
            **{f"batch_normalization/{name}": shape for name, shape in normalization.items()},
            "dense_1/kernel": (512, 512),
            "dense_1/bias": (512,),
            "logits/kernel": (512, 2),
            "logits/bias": (2,),
        }
        assert manifest["versions"]["tensorflow"] == tf.__version__
        assert manifest["versions"]["keras"] == keras.__version__

    def test_a_server_of_another_user_may_read_it(self, export_dir):
        assert stat.S_IMODE(export_dir.stat().st_mode) == 0o755
        for path in export_dir.rglob("*"):
            assert path.stat().st_mode & stat.S_IROTH, path


class Words(framework.Pipeline):
    """Two vocabularies: one learned, one of a layer that the pipeline holds."""

    features = {"colour": Feature((), "string"), "text": Feature((), "string"), "year": Feature((), "int64")}
    task = tasks.Classification(class_names=["no", "yes"])

    def __init__(self):
        self.vectorize = keras.layers.TextVectorization(vocabulary=["small", "dog"], output_sequence_length=2)

    def source(self, phase):
        return framework.ArraySource(WORDS, np.arange(4) % 2)

    def learn(self, train):
        return {"colour": vocabulary(train, "colour"), "year": vocabulary(train, "year")}

    def preprocess(self, features):
        ids = [self.statistics.lookup("colour")(features["colour"]), self.statistics.lookup("year")(features["year"])]
        columns = [tf.cast(tf.stack(ids, axis=1), tf.float32), tf.cast(self.vectorize(features["text"]), tf.float32)]
        return {"ids": tf.concat(columns, axis=1), "colour": features["colour"]}


WORDS = {
    "colour": np.array(["red", "green", "red", "unseen"]),
    "text": np.array(["small dog", "dog small cat", "", "cat"]),
    "year": np.array([1990, 2000, 1990, 1]),
}


def with_a_table_of_its_own(inputs, task):
    class Inner(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.lookup = keras.layers.StringLookup(vocabulary=["unseen"], output_mode="one_hot")

        def call(self, x):
            return self.lookup(x)

    colour = inputs["colour"][:, None]
    outer = keras.layers.StringLookup(vocabulary=["green", "red"], output_mode="one_hot")(colour)
    words = keras.layers.TextVectorization(vocabulary=["red"], output_sequence_length=1)
    nested = keras.Sequential([keras.Input((1,), dtype="string"), words])
    x = [inputs["ids"], outer, Inner()(colour), keras.ops.cast(nested(colour), "float32")]
    return task.logits(keras.layers.Concatenate()(x))


_CLIENT = """
import sys
import numpy as np
import tensorflow as tf

loaded = tf.saved_model.load(sys.argv[1])
arrays = np.load(sys.argv[2])
answers = loaded.signatures["serving_default"](**{name: tf.constant(arrays[name]) for name in arrays})
np.savez(sys.argv[3], **{name: value.numpy() for name, value in answers.items() if value.dtype != tf.string})
strangers = {"framework", "models", "pipelines"} & {name.partition(".")[0] for name in sys.modules}
sys.exit(f"The client imported {strangers}." if strangers else 0)
"""


class TestInAFreshProcess:
    def test_lookup_tables_answer_as_here(self, tmp_path):
        pipeline = Words().with_statistics()
        assert pipeline.statistics["colour"].tolist() == ["red", "green", "unseen"]
        model = build(with_a_table_of_its_own, pipeline)
        version = Exporter(model, pipeline).publish(tmp_path / "export")
        np.savez(tmp_path / "sent.npz", **WORDS)

        arguments = [tmp_path / "export" / str(version), tmp_path / "sent.npz", tmp_path / "answers.npz"]
        client = subprocess.run(
            [sys.executable, "-c", _CLIENT, *map(str, arguments)], cwd=tmp_path, capture_output=True, text=True
        )
        assert client.returncode == 0, client.stderr
        answers = np.load(tmp_path / "answers.npz")
        ids = [[1, 1, 2, 3], [2, 3, 3, 2], [1, 1, 0, 0], [3, 2, 1, 0]]
        inputs = {"ids": tf.constant(ids, tf.float32), "colour": tf.constant(WORDS["colour"])}
        np.testing.assert_allclose(answers["logits"], model(inputs, training=False), rtol=0, atol=1e-5)

    def test_saved_model_cli_lists_every_signature(self, export_dir):
        cli = "from tensorflow.python.tools.saved_model_cli import main; main()"
        shown = subprocess.run(
            [sys.executable, "-c", cli, "show", "--dir", str(export_dir), "--all"], capture_output=True, text=True
        )
        assert shown.returncode == 0, shown.stderr
        for name in ("serving_default", "serialized", "features"):
            assert f"signature_def['{name}']" in shown.stdout
        for name in ("vector", "examples", "logits", "probabilities", "class_id"):
            assert f"['{name}'] tensor_info" in shown.stdout
        assert "shape: (-1, 64)" in shown.stdout


class Restless(keras.layers.Layer):
    """Answers differently each time, as no model in service may."""

    def call(self, x):
        return x + tf.cast(tf.math.mod(tf.timestamp() * 1e6, 1e3), tf.float32)


class TestNothingHalfDone:
    def left(self, base):
        return sorted(child.name for child in base.iterdir())

    def test_what_answers_differently_isnt_published(self, pipeline, tmp_path):
        model = build(lambda inputs, task: Restless()(task.logits(inputs["vector"])), pipeline)
        with pytest.raises(ParityError, match=r"output 'logits', example \d: .* differs .* by .* Not published"):
            Exporter(model, pipeline).publish(tmp_path)
        assert self.left(tmp_path) == []

    @pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
    def test_error_in_the_middle_leaves_nothing(self, trained, pipeline, tmp_path, monkeypatch, error):
        exporter = Exporter(trained, pipeline)
        exporter.publish(tmp_path)
        before = self.left(tmp_path)
        write = SavedModelWriter.write

        def interrupted(self, directory):
            write(self, directory)
            (directory / "saved_model.pb").unlink()
            raise error("in the middle")

        monkeypatch.setattr(SavedModelWriter, "write", interrupted)
        with pytest.raises(error, match="in the middle"):
            exporter.publish(tmp_path)
        assert self.left(tmp_path) == before
        monkeypatch.undo()
        assert exporter.publish(tmp_path) == 2

    def test_nobody_sees_it_before_it_is_whole(self, trained, pipeline, tmp_path, monkeypatch):
        save, seen = tf.saved_model.save, []

        def watched(module, directory, **arguments):
            save(module, directory, **arguments)
            seen.append((list_versions(tmp_path), self.left(tmp_path)))

        monkeypatch.setattr(tf.saved_model, "save", watched)
        Exporter(trained, pipeline).publish(tmp_path)
        [(versions, names)] = seen
        assert versions == []
        assert len(names) == 1
        assert names[0].startswith(".")
        assert self.left(tmp_path) == [".lock", "1", "latest.json"]

    def test_versions_go_up_and_nothing_is_overwritten(self, trained, pipeline, tmp_path):
        exporter = Exporter(trained, pipeline)
        for name in ("9a", "notes", ".tmp-99-x"):
            (tmp_path / name).mkdir()
        (tmp_path / "70").write_text("a file")
        assert [exporter.publish(tmp_path) for _ in range(2)] == [1, 2]
        assert exporter.publish(tmp_path, version=12) == 12
        os.rename(tmp_path / "1", tmp_path / "gone")
        assert exporter.publish(tmp_path) == 13
        before = (tmp_path / "12" / "manifest.json").read_bytes()
        with pytest.raises(FileExistsError, match="12 exists already"):
            exporter.publish(tmp_path, version=12, epoch=5)
        assert (tmp_path / "12" / "manifest.json").read_bytes() == before
        assert list_versions(tmp_path) == [2, 12, 13]


@pytest.fixture(scope="module")
def both(trained, pipeline, tmp_path_factory):
    """The same weights, written again and written in full by a new exporter."""
    base = tmp_path_factory.mktemp("again")
    exporter, weights = Exporter(trained, pipeline), trained.get_weights()
    trained.set_weights([weight + 1 for weight in weights])
    exporter.stage(base / "again")
    trained.set_weights(weights)
    again = exporter.stage(base / "again")
    full = Exporter(trained, pipeline).stage(base / "full")
    return again.model, full.model


class TestWrittenAgain:
    """After the first time only variables are written."""

    def test_variables_are_those_of_a_full_save(self, both):
        again, full = (tf.train.load_checkpoint(checkpoint(path)) for path in both)
        assert again.get_variable_to_shape_map() == full.get_variable_to_shape_map()
        for name in full.get_variable_to_shape_map():
            if "model_variables" in name:
                np.testing.assert_array_equal(again.get_tensor(name), full.get_tensor(name))

    def test_its_fingerprint_is_that_of_its_variables(self, both):
        again, full = (tf.saved_model.experimental.read_fingerprint(str(path)) for path in both)
        # As TensorFlow computes it for a full save, so that this would notice if it did it otherwise.
        for fingerprint, path in zip((again, full), both, strict=True):
            index = (path / "variables" / "variables.index").read_bytes()
            hashed = tf.fingerprint([index]).numpy().tobytes()
            assert fingerprint.checkpoint_hash == int.from_bytes(hashed, "little")
        assert again.graph_def_program_hash == full.graph_def_program_hash

    def test_only_the_first_time_is_in_full(self, trained, pipeline, tmp_path, monkeypatch):
        save, saved = tf.saved_model.save, []
        monkeypatch.setattr(tf.saved_model, "save", lambda *args, **named: (saved.append(1), save(*args, **named)))
        exporter = Exporter(trained, pipeline)
        for _ in range(3):
            exporter.stage(tmp_path)
        assert len(saved) == 1

    def test_a_vocabulary_file_comes_along_each_time(self, tmp_path):
        (tmp_path / "words.txt").write_text("small\ndog\n")
        words = keras.Input((), dtype="string", name="words")
        lookup = keras.layers.StringLookup(vocabulary=str(tmp_path / "words.txt"))
        model = keras.Model(words, keras.ops.cast(lookup(words), "float32"))
        exporter = Exporter(model)
        for _ in range(2):
            version = exporter.publish(tmp_path / "export")
            assert [path.name for path in (tmp_path / "export" / str(version) / "assets").iterdir()] == ["words.txt"]

    def test_where_a_checkpoint_has_other_keys_everything_is_written(self, trained, pipeline, tmp_path, monkeypatch):
        exporter = Exporter(trained, pipeline)
        exporter.stage(tmp_path)
        monkeypatch.setattr("framework.export.saved_model.checkpoint_keys", lambda directory: ["others"])
        again = exporter.stage(tmp_path)
        monkeypatch.undo()
        assert (again.model / "saved_model.pb").exists()
        exporter.finish(again, exporter.prove(again))


class TestRestoreWeights:
    def test_an_export_brings_the_weights_back(self, trained, pipeline, export_dir):
        other = build(network, pipeline)
        other.set_weights([weight * 0 for weight in other.get_weights()])
        restore_weights(other, export_dir)
        for restored, weight in zip(other.get_weights(), trained.get_weights(), strict=True):
            np.testing.assert_array_equal(restored, weight)

    def test_another_architecture_is_refused(self, pipeline, export_dir):
        with pytest.raises(ValueError, match=r"dense.*kernel has shape \(64, 256\), the export .* has \(64, 512\)"):
            restore_weights(build(network, pipeline, width=256), export_dir)


def test_the_moment_is_in_the_manifest(trained, pipeline, tmp_path):
    staged = Exporter(trained, pipeline).stage(tmp_path, Moment(2, 9, {"val_loss": math.nan}), version=7)
    manifest = read_manifest(staged.model)
    assert (manifest["version"], manifest["epoch"], manifest["step"]) == (7, 2, 9)
    assert manifest["metrics"] == {"val_loss": "NaN"}  # which JSON has no number for


def test_publishing_again_writes_the_weights_of_that_moment(pipeline, tmp_path):
    model = build(lambda inputs, task: task.logits(inputs["vector"]), pipeline)
    exporter = Exporter(model, pipeline)
    for scale in (1.0, 3.0):
        model.set_weights([np.full_like(weight, scale) for weight in model.get_weights()])
        loaded = tf.saved_model.load(str(tmp_path / str(exporter.publish(tmp_path))))
        answered = loaded.signatures["features"](vector=tf.ones((1, 64)))["logits"].numpy()
        assert answered.tolist() == [[65 * scale, 65 * scale]]


@pytest.mark.parametrize(
    ("message", "kind"),
    [("No space left on device", OSError), ("OOM when allocating", tf.errors.ResourceExhaustedError)],
)
def test_a_full_disk_is_an_error_of_the_disk(pipeline, tmp_path, monkeypatch, message, kind):
    def fail(*arguments, **named):
        raise tf.errors.ResourceExhaustedError(None, None, message)

    exporter = Exporter(build(lambda inputs, task: task.logits(inputs["vector"]), pipeline), pipeline)
    for number, (owner, name) in enumerate(((tf.saved_model, "save"), (tf.train.Checkpoint, "write"))):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            with pytest.raises(kind, match=message):
                exporter.publish(tmp_path)
        assert len(list_versions(tmp_path)) == number
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith((".tmp-", ".staged-"))] == []
        exporter.publish(tmp_path)


@pytest.mark.parametrize("dtype", ["float32", "int64", "bool", "string", "float16"])
def test_without_a_pipeline_any_input_can_be_proven(dtype, tmp_path):
    x = given = keras.Input((None,), dtype=dtype, name="given")
    if dtype == "string":
        x = keras.layers.StringLookup(vocabulary=["", "b"])(x)
    total = keras.ops.sum(keras.ops.cast(x, "float32"), axis=1, keepdims=True)
    version = Exporter(keras.Model(given, total)).publish(tmp_path)
    [(name, spec)] = (
        tf.saved_model.load(str(tmp_path / str(version))).signatures["serving_default"].structured_input_signature[1]
    ).items()
    assert (name, spec.shape.as_list(), spec.dtype.name) == ("given", [None, None], dtype)
