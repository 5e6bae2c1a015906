"""What every pipeline must do."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from framework.data.decoding import decode_all
from framework.data.evaluate import eval_dataset
from framework.data.phases import PHASES, TRAIN
from framework.data.pipeline import Pipeline
from framework.data.serving import checked, receivers
from framework.data.sources import Example
from framework.data.stages import model_inputs
from framework.data.train import Position, steps_per_epoch, train_dataset
from framework.data.validation import check_pipeline
from framework.features import Feature
from framework.testing.checks import BATCH_SIZE, held_out, joined, named_labels, require, require_equal, to_numpy
from framework.training.plan import resolve_pipeline


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
    batch_size = min(BATCH_SIZE, data.require_source(TRAIN).num_examples)
    datasets = {"training": train_dataset(data, batch_size=batch_size, seed=0)}
    for phase in PHASES:
        if data.has(phase):
            datasets[f"evaluation of {phase!r}"] = eval_dataset(data, phase, batch_size=batch_size)
    for where, dataset in datasets.items():
        got = {name: Feature.of(spec) for name, spec in dataset.element_spec[0].items()}
        require(got == interface, f"{data.name}: {where} makes {got}, preprocess was found to make {interface}.")
        for batch in dataset.take(1):
            try:
                checked(batch[0], interface, f"{data.name}, {where},")
            except ValueError as error:
                raise AssertionError(str(error)) from error
    for name, receiver in receivers(data).items():
        specs = {key: feature.spec(key) for key, feature in receiver.inputs.items()}
        outputs = tf.function(receiver.to_model).get_concrete_function(specs).structured_outputs
        got = {key: Feature.of(spec) for key, spec in outputs.items()}
        require(got == interface, f"{data.name}: signature {name!r} makes {got}, training makes {interface}.")


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
        expected = _joined([_flat(model_inputs(data, _decoded(data, batch))) for batch in source.batches(BATCH_SIZE)])
        for batch_size in sorted({min(7, count), min(BATCH_SIZE, count), count}):
            where = f"{data.name}: evaluation of {phase!r} in batches of {batch_size}"
            dataset = eval_dataset(spied, phase, batch_size=batch_size)
            steps = math.ceil(count / batch_size)
            require(
                int(dataset.cardinality()) == steps,
                f"{where} has {int(dataset.cardinality())} steps by its cardinality, expected {steps}.",
            )
            got = _joined([_flat(batch) for batch in dataset])
            for name, values in expected.items():
                require(len(got[name]) == count, f"{where} yields {len(got[name])} examples, the split has {count}.")
                require_equal(
                    got[name], values, f"{where}: {name} isn't what preprocess makes of the split, in its order"
                )


def _decoded(data: Pipeline, batch: Example) -> Example:
    return batch._replace(features=decode_all(batch.features, data.features, data.decode))


def _check_serving(data: Pipeline) -> None:
    """A request becomes what evaluation fed the model."""
    phase = next(phase for phase in (*PHASES[1:], TRAIN) if data.has(phase))
    size = min(BATCH_SIZE, data.require_source(phase).num_examples)
    expected = to_numpy(next(iter(eval_dataset(data, phase, batch_size=size)))[0])
    examples = held_out(data, size)
    for name, receiver in receivers(data).items():
        if receiver.request is None:
            continue
        inputs = {key: tf.constant(value) for key, value in receiver.request(examples).items()}
        got = to_numpy(tf.function(receiver.to_model)(inputs))
        for key, values in expected.items():
            require_equal(got[key], values, f"{data.name}: signature {name!r} and evaluation make another {key!r}")


def _check_labels_are_absent(data: Pipeline) -> None:
    """No signature takes a label: none is among the features, under whatever name."""
    source = data.require_source(TRAIN)
    features: dict[str, list] = {}
    labels: dict[str, list] = {}
    for batch in source.batches(BATCH_SIZE):
        for name, value in to_numpy(batch.features).items():
            features.setdefault(name, []).append(value)
        for name, value in named_labels(batch.labels).items():
            labels.setdefault(name, []).append(value)
    for label, name in itertools.product(labels, features):
        feature, values = joined(features[name]), joined(labels[label])
        leaks = feature.shape == values.shape and np.array_equal(feature, values)
        require(not leaks, f"{data.name}: the feature {name!r} holds {label}; every signature would ask for it.")


def _check_training_order(data: Pipeline) -> None:
    source = data.require_source(TRAIN)
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
            require(
                not differing,
                f"{data.name}: {differing} of epoch {number // steps}, step {number % steps} differ when read again "
                f"with the same seed from epoch {start.epoch}, step {start.step}. augment must draw all its randomness "
                "from seeds, preprocess must have none, and the source must keep its order.",
            )
    orders = {key: _indices(data, *key, batch_size) for key in ((0, 0), (0, 1), (1, 0))}
    for (seed, epoch), order in orders.items():
        require(
            sorted(order) == list(range(count)),
            f"{data.name}: epoch {epoch} of seed {seed} has {len(order)} examples, {len(set(order))} different ones; "
            f"expected each of {count} exactly once.",
        )
    if count >= 10:  # fewer may well come in the same order twice
        require(orders[0, 0] != orders[0, 1], f"{data.name}: the first two epochs have the same order.")
        require(orders[0, 0] != orders[1, 0], f"{data.name}: another seed gives the same order.")


def _indices(data: Pipeline, seed: int, epoch: int, batch_size: int) -> list[int]:
    """The examples' indices in the order of an epoch: what augmentation is keyed by."""
    probe = copy.copy(data)
    vars(probe)["augment"] = lambda features, labels, seeds: (features, seeds[:, 1])
    dataset = train_dataset(probe, batch_size=batch_size, seed=seed, start=Position(epoch))
    return [
        int(index)
        for batch in dataset.take(steps_per_epoch(data.require_source(TRAIN), batch_size))
        for index in batch[1]
    ]


def _flat(batch: tuple) -> dict[str, np.ndarray]:
    """Everything in a batch that a dataset yields, by name."""
    weights = {"the weight": to_numpy(batch[2])} if len(batch) > 2 else {}
    return to_numpy(batch[0]) | named_labels(batch[1]) | weights


def _bytes(values: np.ndarray) -> Any:
    return values.tolist() if values.dtype == object else values.tobytes()


def _joined(batches: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: joined([batch[name] for batch in batches]) for name in batches[0]}
