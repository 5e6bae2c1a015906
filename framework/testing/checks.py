"""What every model and every pipeline must do, as one assertion each.

Both raise `AssertionError` with what was got and what was expected; an error of the framework itself (a feature that
isn't there, wrong units) passes through as it is.
"""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import pathlib
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.building import build_model
from framework.data.evaluate import eval_dataset
from framework.data.phases import PHASES, TRAIN
from framework.data.pipeline import Pipeline
from framework.data.serving import DEFAULT, EXAMPLES, FEATURES, SERIALIZED, checked, receivers
from framework.data.sources import Source
from framework.data.stages import model_inputs
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.data.validation import check_pipeline
from framework.features import Feature
from framework.testing.toys import TOYS
from framework.training.checkpoints import CheckpointStore
from framework.training.config import Optimization, Schedule
from framework.training.fit import fit
from framework.training.plan import resolve_builder, resolve_pipeline
from framework.training.run import Run, compile_arguments
from framework.training.snapshot import restore_variables, take

_BATCH_SIZE = 16
# Grappler rewrites what a signature computes (measured: 5e-7 apart); more than this is another computation.
_TOLERANCE = 1e-5
_RELOAD_TIMEOUT_SECS = 300


def assert_model_conforms(
    builder: str | Callable[..., Any],
    pipeline: str | Pipeline | Callable[..., Pipeline] | None = None,
    hparams: Mapping[str, Any] | None = None,
) -> None:
    """Takes a build function through everything that a run will ask of it.

    Forward at several batch sizes, each example answered by itself; gradients reach all trainable weights; one epoch of
    `fit` lowers the loss; a checkpoint brings another model to the same state, from which both go on alike; the export,
    loaded in a new process by TensorFlow alone, answers as `Run.predict` does.

    Args:
        builder: A registered model's name, or a build function.
        pipeline: What to train it on for an epoch; by default the first toy on whose features it builds.
        hparams: Keyword arguments of the build function. Small ones save time.

    Raises:
        AssertionError: It doesn't do one of these.
    """
    with tempfile.TemporaryDirectory() as directory:
        assert_export_reloads([trained_on_toy(builder, pipeline, hparams, run_dir=pathlib.Path(directory, "run"))])


def trained_on_toy(
    builder: str | Callable[..., Any],
    pipeline: str | Pipeline | Callable[..., Pipeline] | None = None,
    hparams: Mapping[str, Any] | None = None,
    *,
    run_dir: pathlib.Path,
) -> Run:
    """`assert_model_conforms` up to the export, which several runs can prove together with `assert_export_reloads`."""
    builder = resolve_builder(builder)
    hparams = dict(hparams or {})
    data = _toy_for(builder, hparams) if pipeline is None else resolve_pipeline(pipeline, {}).with_statistics()
    name = getattr(builder, "__name__", repr(builder))
    batch = next(iter(eval_dataset(data, TRAIN, batch_size=min(_BATCH_SIZE, _train(data).num_examples))))
    model = _compiled(builder, data, hparams, seed=1)
    _check_forward(name, model, batch[0])
    _check_gradients(name, model, data, batch)
    _check_checkpoint(name, builder, data, hparams, batch)
    return _check_fit(name, builder, data, hparams, run_dir)


def _toy_for(builder: Callable[..., Any], hparams: Mapping[str, Any]) -> Pipeline:
    """The first toy on which the builder builds, with its statistics."""
    refusals = []
    for toy, make in TOYS.items():
        data = make().with_statistics()
        interface = data.interface()
        try:
            build_model(builder, interface, data.task, hparams)
        except (LookupError, TypeError, ValueError) as error:
            refusals.append(f"  {toy} {sorted(interface)}: {type(error).__name__}: {error}")
            continue
        return data
    raise AssertionError(
        f"Model {getattr(builder, '__name__', builder)!r} builds on none of the toys; give "
        "assert_model_conforms a pipeline with the features that it wants. It was tried on\n" + "\n".join(refusals)
    )


def _compiled(builder: Callable[..., Any], data: Pipeline, hparams: Mapping[str, Any], *, seed: int) -> keras.Model:
    model = build_model(builder, data.interface(), data.task, hparams, seed=seed)
    # Eagerly: tracing would take longer than the few steps that are taken.
    model.compile(optimizer=keras.optimizers.Adam(1e-3), run_eagerly=True, **compile_arguments(data))
    return model


def _check_forward(name: str, model: keras.Model, inputs: Mapping[str, tf.Tensor]) -> None:
    """Each example is answered by itself, whatever stands beside it."""
    together = _numpy(model(inputs, training=False))
    count = len(next(iter(inputs.values())))
    for size in sorted({1, (count + 1) // 2}):
        apart = _numpy(model({key: value[:size] for key, value in inputs.items()}, training=False))
        for path, (whole, part) in _pairs(together, apart):
            _require(np.isfinite(whole).all(), f"Model {name!r} answers {path or 'its output'} with NaN or infinity.")
            shape = (size, *whole.shape[1:])
            _require(
                part.shape == shape,
                f"Model {name!r} answers {size} examples with shape {part.shape}, expected {shape}.",
            )
            _require(
                np.allclose(whole[:size], part, rtol=1e-4, atol=1e-5),
                f"Model {name!r} answers an example differently in a batch of {count} and of {size} "
                f"(by {np.abs(whole[:size] - part).max():.3g}): something is computed over the batch at inference.",
            )


def _check_gradients(name: str, model: keras.Model, data: Pipeline, batch: tuple) -> None:
    with tf.GradientTape() as tape:
        loss = _loss(model, data, batch)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    _require(bool(model.trainable_variables), f"Model {name!r} has no trainable weights.")
    cut_off = [v.path for v, gradient in zip(model.trainable_variables, gradients, strict=True) if gradient is None]
    _require(
        not cut_off,
        f"Model {name!r}: the loss doesn't depend on the trainable weights {cut_off}. Use what their layers return, or "
        "set trainable=False.",
    )
    bad = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if not np.isfinite(tf.convert_to_tensor(gradient).numpy()).all()
    ]
    _require(not bad, f"Model {name!r}: the gradients of {bad} are NaN or infinite at the first step.")


def _loss(model: keras.Model, data: Pipeline, batch: tuple) -> tf.Tensor:
    """The task's loss in training mode."""
    outputs = model(batch[0], training=True)
    loss = data.task.loss()
    if isinstance(loss, Mapping):
        return tf.add_n([loss[head](batch[1][head], outputs[head]) for head in loss])
    return loss(batch[1], outputs)


def _check_checkpoint(
    name: str, builder: Callable[..., Any], data: Pipeline, hparams: Mapping[str, Any], batch: tuple
) -> None:
    """State, written and read, makes another model the same, now and after one more step."""
    first, second = (_compiled(builder, data, hparams, seed=seed) for seed in (2, 3))
    for model in (first, second):
        model.train_on_batch(*batch)  # makes the variables of optimizer and metrics
    with tempfile.TemporaryDirectory() as directory:
        store = CheckpointStore(pathlib.Path(directory), keep=1)
        store.save(take(first, [], Position(1), stopped=False))
        snapshot = store.newest()
    if snapshot is None:
        raise AssertionError(f"Model {name!r}: the checkpoint that was just written can't be read.")
    restore_variables(second, snapshot)
    for steps in (0, 1):
        for model in (first, second) * steps:
            model.train_on_batch(*batch)
        answers = (_numpy(model(batch[0], training=False)) for model in (first, second))
        for path, (expected, got) in _pairs(*answers):
            _require(
                np.array_equal(expected, got),
                f"Model {name!r}: {steps} steps after a checkpoint another model answers {path or 'its output'} "
                f"differently (by {np.abs(expected - got).max():.3g}). Its state isn't all in keras.Variables: a "
                "Python attribute, or randomness without a keras.random.SeedGenerator.",
            )


def _check_fit(
    name: str, builder: Callable[..., Any], data: Pipeline, hparams: Mapping[str, Any], run_dir: pathlib.Path
) -> Run:
    source = _train(data)
    batch_size = min(_BATCH_SIZE, source.num_examples)
    seed = 4
    # The whole split in training mode: what evaluation sees of moving averages, an epoch is too short to settle. On a
    # model of its own, since that moves them.
    everything = next(iter(eval_dataset(data, TRAIN, batch_size=source.num_examples)))
    probe = build_model(builder, data.interface(), data.task, hparams, seed=seed)
    before = float(_loss(probe, data, everything))
    run = fit(
        builder,
        data,
        run_dir=run_dir,
        epochs=1,
        batch_size=batch_size,
        seed=seed,
        hparams=hparams,
        optimization=Optimization(learning_rate=3e-3, schedule=Schedule("constant", warmup=0.0)),
        verbose=0,
    )
    for key, values in run.history.items():
        _require(np.isfinite(values).all(), f"Model {name!r}: {key} is {values} after an epoch of {data.name}.")
    probe.set_weights(run.model.get_weights())
    after = float(_loss(probe, data, everything))
    _require(
        after < before,
        f"Model {name!r} doesn't learn: the loss over the training split is {after:.4g} after an epoch of {data.name} "
        f"({steps_per_epoch(source, batch_size)} steps of Adam at 0.003), it was {before:.4g} before.",
    )
    return run


_RELOAD = """
import pickle, sys
import numpy as np
import tensorflow as tf

with open(sys.argv[1], "rb") as file:
    exports = pickle.load(file)
answers = []
for directory, requests in exports:
    loaded = tf.saved_model.load(directory)
    answers.append([
        {name: value.numpy() for name, value in loaded.signatures[signature](**{
            name: tf.constant(value) for name, value in inputs.items()
        }).items()}
        for signature, inputs in requests
    ])
foreign = sorted({"framework", "models", "pipelines"} & {module.partition(".")[0] for module in sys.modules})
with open(sys.argv[2], "wb") as file:
    pickle.dump((answers, foreign), file)
"""


def assert_export_reloads(runs: Iterable[Run]) -> None:
    """Loads the exports of several runs in one new process that imports TensorFlow alone, and compares the answers.

    Raises:
        AssertionError: One doesn't load, or a signature doesn't answer as `Run.predict` does.
    """
    runs = list(runs)
    requests = [(str(run.export_dir), _requests(run)) for run in runs]
    for run, (answers, (_, asked)) in zip(runs, zip(_reload(requests), requests, strict=True), strict=True):
        for answer, (signature, inputs) in zip(answers, asked, strict=True):
            size = len(next(iter(inputs.values())))
            where = f"{run.export_dir}, signature {signature!r}, batch of {size}"
            expected = run.predict(_held_out(run.pipeline, size))
            _require(
                set(answer) == set(expected),
                f"{where} answers {sorted(answer)}, Run.predict {sorted(expected)}.",
            )
            for name, values in expected.items():
                _require_equal(answer[name], values, f"{where}: {name!r} differs from Run.predict")


def _requests(run: Run) -> list[tuple[str, dict[str, np.ndarray]]]:
    """(signature, inputs) for each signature whose input can be made of a split, at two batch sizes."""
    data = run.pipeline
    ways_in = receivers(data)
    found = []
    for size in (1, _BATCH_SIZE):
        raw = _held_out(data, size)
        if dict(ways_in[DEFAULT].inputs) == dict(data.features):
            found.append((DEFAULT, raw))
        if SERIALIZED in ways_in:
            found.append((SERIALIZED, {EXAMPLES: serialized_examples(raw, data.features)}))
        model_ready = _numpy(data.preprocess({name: tf.constant(value) for name, value in raw.items()}))
        found.append((FEATURES, {name: model_ready[name] for name in ways_in[FEATURES].inputs}))
    return found


def _held_out(data: Pipeline, size: int) -> dict[str, np.ndarray]:
    phase = next(phase for phase in (*PHASES[1:], TRAIN) if data.has(phase))
    return _numpy(next(iter(data.require_source(phase).batches(size))).features)


def _reload(requests: list[tuple[str, list]]) -> list[list[dict[str, np.ndarray]]]:
    with tempfile.TemporaryDirectory() as directory:
        asked, answered = pathlib.Path(directory, "asked"), pathlib.Path(directory, "answered")
        asked.write_bytes(pickle.dumps(requests))
        process = subprocess.run(
            # -P: not what happens to lie in the current directory.
            [sys.executable, "-P", "-c", _RELOAD, str(asked), str(answered)],
            capture_output=True,
            text=True,
            timeout=_RELOAD_TIMEOUT_SECS,
            check=False,
        )
        where = ", ".join(directory for directory, _ in requests)
        _require(process.returncode == 0, f"A new process couldn't use the export {where}:\n{process.stderr}")
        answers, foreign = pickle.loads(answered.read_bytes())
    _require(not foreign, f"Loading the exports imported {foreign}: an export must need TensorFlow alone.")
    return answers


def serialized_examples(features: Mapping[str, np.ndarray], declared: Mapping[str, Feature]) -> np.ndarray:
    """A batch of raw features as serialized `tf.Example` protos, `[batch]`, as a client of `serialized` sends them."""
    protos = []
    for row in range(len(next(iter(features.values())))):
        values = {name: value[row : row + 1].ravel().tolist() for name, value in features.items()}
        stored = {name: _stored(value, declared[name].storage_dtype) for name, value in values.items()}
        protos.append(tf.train.Example(features=tf.train.Features(feature=stored)).SerializeToString())
    return np.array(protos, dtype=object)


def _stored(values: list, dtype: tf.DType) -> tf.train.Feature:
    if dtype == tf.string:
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[tf.compat.as_bytes(value) for value in values]))
    if dtype == tf.float32:
        return tf.train.Feature(float_list=tf.train.FloatList(value=values))
    return tf.train.Feature(int64_list=tf.train.Int64List(value=[int(value) for value in values]))


def assert_pipeline_conforms(pipeline: str | Pipeline | Callable[..., Pipeline]) -> None:
    """Takes a pipeline through everything that training, evaluation and serving will ask of it.

    All phases feed the model the same interface; preprocessing is deterministic and the same in a dataset and in a
    signature; evaluation is never augmented and counts every example exactly once whatever the batch size; labels are
    absent from every signature; the training order is a permutation, the same for a seed and another for another.

    Every split is read a few times: where that takes long, give the pipeline an option for fewer examples.

    Args:
        pipeline: A registered pipeline's name, a `Pipeline`, or a class of them.

    Raises:
        AssertionError: It doesn't do one of these.
    """
    data = resolve_pipeline(pipeline, {})
    check_pipeline(data)
    data = data.with_statistics()
    _check_interface(data)
    _check_evaluation(data)
    _check_serving(data)
    _check_labels_are_absent(data)
    _check_training_order(data)


def _check_interface(data: Pipeline) -> None:
    """Training, evaluation and every signature make the same tensors."""
    interface = data.interface()
    batch_size = min(_BATCH_SIZE, _train(data).num_examples)
    datasets = {"training": train_dataset(data, batch_size=batch_size, seed=0)}
    for phase in PHASES:
        if data.has(phase):
            datasets[f"evaluation of {phase!r}"] = eval_dataset(data, phase, batch_size=batch_size)
    for where, dataset in datasets.items():
        got = {name: Feature.of(spec) for name, spec in dataset.element_spec[0].items()}
        _require(got == interface, f"{data.name}: {where} makes {got}, preprocess was found to make {interface}.")
        for batch in dataset.take(1):
            try:
                checked(batch[0], interface, f"{data.name}, {where},")
            except ValueError as error:
                raise AssertionError(str(error)) from error
    for name, receiver in receivers(data).items():
        specs = {key: feature.spec(key) for key, feature in receiver.inputs.items()}
        outputs = tf.function(receiver.to_model).get_concrete_function(specs).structured_outputs
        got = {key: Feature.of(spec) for key, spec in outputs.items()}
        _require(got == interface, f"{data.name}: signature {name!r} makes {got}, training makes {interface}.")


def _check_evaluation(data: Pipeline) -> None:
    """Never augmented, deterministic, every example exactly once."""

    def augmented(*_: Any) -> Any:
        raise AssertionError(f"{data.name}: augment was called outside of training.")

    spied = copy.copy(data)
    vars(spied)["augment"] = augmented
    for phase in PHASES:
        if not data.has(phase):
            continue
        source = data.require_source(phase)
        count = source.num_examples
        expected = _joined([_flat(model_inputs(data, example)) for example in source.batches(_BATCH_SIZE)])
        for batch_size in sorted({min(7, count), min(_BATCH_SIZE, count), count}):
            where = f"{data.name}: evaluation of {phase!r} in batches of {batch_size}"
            dataset = eval_dataset(spied, phase, batch_size=batch_size)
            steps = math.ceil(count / batch_size)
            _require(
                int(dataset.cardinality()) == steps,
                f"{where} has {int(dataset.cardinality())} steps by its cardinality, expected {steps}.",
            )
            got = _joined([_flat(batch) for batch in dataset])
            for name, values in expected.items():
                _require(len(got[name]) == count, f"{where} yields {len(got[name])} examples, the split has {count}.")
                _require_equal(
                    got[name], values, f"{where}: {name} isn't what preprocess makes of the split, in its order"
                )


def _check_serving(data: Pipeline) -> None:
    """A request becomes what evaluation fed the model."""
    phase = next(phase for phase in (*PHASES[1:], TRAIN) if data.has(phase))
    size = min(_BATCH_SIZE, data.require_source(phase).num_examples)
    expected = _numpy(next(iter(eval_dataset(data, phase, batch_size=size)))[0])
    raw = _held_out(data, size)
    ways_in = receivers(data)
    requests = {}
    if dict(ways_in[DEFAULT].inputs) == dict(data.features):
        requests[DEFAULT] = raw
    if SERIALIZED in ways_in:
        requests[SERIALIZED] = {EXAMPLES: serialized_examples(raw, data.features)}
    for name, request in requests.items():
        inputs = {key: tf.constant(value) for key, value in request.items()}
        got = _numpy(tf.function(ways_in[name].to_model)(inputs))
        for key, values in expected.items():
            _require_equal(got[key], values, f"{data.name}: signature {name!r} and evaluation make another {key!r}")


def _check_labels_are_absent(data: Pipeline) -> None:
    """No signature takes a label, under its own or another name."""
    source = _train(data)
    features: dict[str, list] = {}
    labels: dict[str, list] = {}
    for batch in source.batches(_BATCH_SIZE):
        for name, value in _numpy(batch.features).items():
            features.setdefault(name, []).append(value)
        for name, value in _labels(batch.labels).items():
            labels.setdefault(name, []).append(value)
    for label, name in itertools.product(labels, features):
        feature, values = np.concatenate(features[name]), np.concatenate(labels[label])
        leaks = feature.shape == values.shape and np.array_equal(feature, values)
        _require(not leaks, f"{data.name}: the feature {name!r} holds {label}; every signature would ask for it.")
    for name, receiver in receivers(data).items():
        # Traced with what it declares and nothing else: what needs a label can't be built.
        specs = {key: feature.spec(key) for key, feature in receiver.inputs.items()}
        taken = tf.function(receiver.to_model).get_concrete_function(specs).structured_input_signature[0][0]
        _require(set(taken) == set(receiver.inputs), f"{data.name}: signature {name!r} takes {sorted(taken)}.")


def _check_training_order(data: Pipeline) -> None:
    source = _train(data)
    count = source.num_examples
    batch_size = min(7, count)
    steps = steps_per_epoch(source, batch_size)

    def read(start: Position) -> list[dict[str, np.ndarray]]:
        """Everything from `start` to the end of the second epoch."""
        dataset = train_dataset(data, batch_size=batch_size, seed=0, start=start)
        return [_flat(batch) for batch in dataset.take(2 * steps - start.epoch * steps - start.step)]

    whole = read(Position())
    # From the middle too: there a generator with a state of its own has another one than when it got there by itself.
    for start in (Position(), Position(0, steps // 2), Position(1)):
        first = start.epoch * steps + start.step
        for number, (one, other) in enumerate(zip(whole[first:], read(start), strict=True), first):
            differing = [name for name in one if _bytes(one[name]) != _bytes(other[name])]
            _require(
                not differing,
                f"{data.name}: {differing} of epoch {number // steps}, step {number % steps} differ when read again "
                f"with the same seed from epoch {start.epoch}, step {start.step}. augment must draw all its randomness "
                "from seeds, preprocess must have none, and the source must keep its order.",
            )
    orders = {key: _indices(data, *key, batch_size) for key in ((0, 0), (0, 1), (1, 0))}
    for (seed, epoch), order in orders.items():
        _require(
            sorted(order) == list(range(count)),
            f"{data.name}: epoch {epoch} of seed {seed} has {len(order)} examples, {len(set(order))} different ones; "
            f"expected each of {count} exactly once.",
        )
    if count >= 10:  # fewer may well come in the same order twice
        _require(orders[0, 0] != orders[0, 1], f"{data.name}: the first two epochs have the same order.")
        _require(orders[0, 0] != orders[1, 0], f"{data.name}: another seed gives the same order.")


def _indices(data: Pipeline, seed: int, epoch: int, batch_size: int) -> list[int]:
    """The examples' indices in the order of an epoch: what augmentation is keyed by."""
    probe = copy.copy(data)
    vars(probe)["augment"] = lambda features, labels, seeds: (features, seeds[:, 1])
    dataset = train_dataset(probe, batch_size=batch_size, seed=seed, start=Position(epoch))
    return [int(index) for batch in dataset.take(steps_per_epoch(_train(data), batch_size)) for index in batch[1]]


def _train(data: Pipeline) -> Source:
    return data.require_source(TRAIN)


def _numpy(values: Any) -> Any:
    return tf.nest.map_structure(lambda value: value.numpy(), values)


def _labels(labels: Any) -> dict[str, np.ndarray]:
    """Labels by a name for messages, which no feature has."""
    if isinstance(labels, Mapping):
        return {f"the label {head!r}": _numpy(value) for head, value in labels.items()}
    return {"the label": _numpy(labels)}


def _flat(batch: tuple) -> dict[str, np.ndarray]:
    """Everything in a batch that a dataset yields, by name."""
    weights = {"the weight": _numpy(batch[2])} if len(batch) > 2 else {}
    return _numpy(batch[0]) | _labels(batch[1]) | weights


def _bytes(values: np.ndarray) -> Any:
    return values.tolist() if values.dtype == object else values.tobytes()


def _joined(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}


def _pairs(first: Any, second: Any) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """(name, both values) of outputs that are one array or a dict of them."""
    if isinstance(first, Mapping):
        yield from ((repr(name), (first[name], second[name])) for name in first)
    else:
        yield "", (first, second)


def _require(condition: bool | np.bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)


def _require_equal(got: np.ndarray, expected: np.ndarray, what: str) -> None:
    """Equal, or for floats nearly so."""
    got, expected = np.asarray(got), np.asarray(expected)
    _require(got.shape == expected.shape, f"{what}: got shape {got.shape}, expected {expected.shape}.")
    if expected.dtype.kind == "f":
        with contextlib.suppress(AssertionError):
            np.testing.assert_allclose(got, expected, rtol=_TOLERANCE, atol=_TOLERANCE)
            return
        _require(False, f"{what}: by up to {np.nanmax(np.abs(got - expected)):.3g}, allowed {_TOLERANCE:g}.")
    differing = int(np.sum(got != expected))
    _require(not differing, f"{what}: {differing} of {expected.size} values.")
