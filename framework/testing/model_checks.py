"""What every model must do."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from framework.building import build_model, resolve_hparams
from framework.data.evaluate import eval_dataset
from framework.data.phases import TRAIN
from framework.data.pipeline import Pipeline
from framework.data.train import Position, steps_per_epoch
from framework.testing.checks import BATCH_SIZE, require, to_numpy
from framework.testing.reloading import assert_export_reloads
from framework.testing.toys import TOYS
from framework.training.checkpoints import CheckpointStore
from framework.training.config import Optimization, Schedule
from framework.training.fit import fit
from framework.training.plan import resolve_builder, resolve_pipeline
from framework.training.run import Run, compile_arguments
from framework.training.snapshot import restore_variables, take


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
        pipeline: What to train it on for an epoch, with a training split that fits into one batch; by default the first
            toy on whose features it builds.
        hparams: Keyword arguments of the build function. Small ones save time.

    Raises:
        AssertionError: It doesn't do one of these. What the framework itself refuses (a feature that isn't there, wrong
            units) is raised as it is.
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
    hparams = resolve_hparams(builder, hparams or {})
    data = _toy_for(builder, hparams) if pipeline is None else resolve_pipeline(pipeline, {}).with_statistics()
    name = getattr(builder, "__name__", repr(builder))
    batch = next(iter(eval_dataset(data, TRAIN, batch_size=min(BATCH_SIZE, data.require_source(TRAIN).num_examples))))
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
    together = to_numpy(model(inputs, training=False))
    count = len(next(iter(inputs.values())))
    for size in sorted({1, (count + 1) // 2}):
        apart = to_numpy(model({key: value[:size] for key, value in inputs.items()}, training=False))
        for path, (whole, part) in _pairs(together, apart):
            require(np.isfinite(whole).all(), f"Model {name!r} answers {path or 'its output'} with NaN or infinity.")
            shape = (size, *whole.shape[1:])
            require(
                part.shape == shape,
                f"Model {name!r} answers {size} examples with shape {part.shape}, expected {shape}.",
            )
            require(
                np.allclose(whole[:size], part, rtol=1e-4, atol=1e-5),
                f"Model {name!r} answers an example differently in a batch of {count} and of {size} "
                f"(by {np.abs(whole[:size] - part).max():.3g}): something is computed over the batch at inference.",
            )


def _check_gradients(name: str, model: keras.Model, data: Pipeline, batch: tuple) -> None:
    with tf.GradientTape() as tape:
        loss = _loss(model, data, batch)
    gradients = tape.gradient(loss, [variable.value for variable in model.trainable_variables])
    require(bool(model.trainable_variables), f"Model {name!r} has no trainable weights.")
    cut_off = [v.path for v, gradient in zip(model.trainable_variables, gradients, strict=True) if gradient is None]
    require(
        not cut_off,
        f"Model {name!r}: the loss doesn't depend on the trainable weights {cut_off}. Use what their layers return, or "
        "set trainable=False.",
    )
    bad = [
        variable.path
        for variable, gradient in zip(model.trainable_variables, gradients, strict=True)
        if not np.isfinite(tf.convert_to_tensor(gradient).numpy()).all()
    ]
    require(not bad, f"Model {name!r}: the gradients of {bad} are NaN or infinite at the first step.")


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
        answers = (to_numpy(model(batch[0], training=False)) for model in (first, second))
        for path, (expected, got) in _pairs(*answers):
            require(
                np.array_equal(expected, got),
                f"Model {name!r}: {steps} steps after a checkpoint another model answers {path or 'its output'} "
                f"differently (by {np.abs(expected - got).max():.3g}). Its state isn't all in keras.Variables: a "
                "Python attribute, or randomness without a keras.random.SeedGenerator.",
            )


def _check_fit(
    name: str, builder: Callable[..., Any], data: Pipeline, hparams: Mapping[str, Any], run_dir: pathlib.Path
) -> Run:
    source = data.require_source(TRAIN)
    batch_size = min(BATCH_SIZE, source.num_examples)
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
        require(np.isfinite(values).all(), f"Model {name!r}: {key} is {values} after an epoch of {data.name}.")
    probe.set_weights(run.model.get_weights())
    after = float(_loss(probe, data, everything))
    require(
        after < before,
        f"Model {name!r} doesn't learn: the loss over the training split is {after:.4g} after an epoch of {data.name} "
        f"({steps_per_epoch(source, batch_size)} steps of Adam at 0.003), it was {before:.4g} before.",
    )
    return run


def _pairs(first: Any, second: Any) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
    """(name, both values) of outputs that are one array or a dict of them."""
    if isinstance(first, Mapping):
        yield from ((repr(name), (first[name], second[name])) for name in first)
    else:
        yield "", (first, second)
