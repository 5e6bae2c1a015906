import gc
import sys
import weakref

import keras
import numpy as np
import pytest
import tensorflow as tf

import framework
from framework import tasks
from framework.data import fetching, python_calls
from framework.data.caching import CachedSource
from framework.data.evaluate import eval_dataset
from framework.data.fetching import FetchingSource
from framework.data.python_calls import numpy_function
from framework.data.sources import Example
from framework.data.train import train_dataset
from framework.media import Image

PNG = tf.io.encode_png(np.zeros((9, 9, 3), np.uint8)).numpy()


class Photos(framework.Pipeline):
    features = {"image": Image((8, 8, 3))}
    task = tasks.Classification(2)

    def __init__(self, *, cached=False, encoded=(PNG,) * 4):
        source = framework.ArraySource({"image": np.array(encoded, object)}, np.arange(len(encoded)) % 2)
        self.examples = CachedSource(source, self.features, self.decode) if cached else source

    def source(self, phase):
        return self.examples


@pytest.mark.parametrize("cached", [False, True])
def test_a_pipeline_and_its_data_can_be_forgotten(cached):
    pipeline = Photos(cached=cached)
    for dataset in (
        train_dataset(pipeline, batch_size=2, seed=0).take(3),
        eval_dataset(pipeline, "train", batch_size=2),
    ):
        list(dataset)
    gone = weakref.ref(pipeline), weakref.ref(pipeline.examples)
    del pipeline, dataset
    gc.collect()
    assert [reference() for reference in gone] == [None, None]


def test_so_can_a_run(tmp_path):
    def linear(inputs, task):
        return task.logits(keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(inputs["image"])))

    pipeline = Photos(cached=True)
    run = framework.fit(linear, pipeline, run_dir=tmp_path, epochs=1, batch_size=2, verbose=0)
    gone = [weakref.ref(thing) for thing in (pipeline, pipeline.examples, run, run.model)]
    del pipeline, run
    gc.collect()
    assert [reference() for reference in gone] == [None] * 4


def test_a_data_set_keeps_what_it_needs():
    dataset = eval_dataset(Photos(encoded=[PNG, b"junk"]), "train", batch_size=2)
    cached = eval_dataset(Photos(cached=True), "train", batch_size=2)
    gc.collect()
    with pytest.raises(tf.errors.InvalidArgumentError, match="example 1: undecodable image"):
        list(dataset)
    batches = iter(cached)
    del cached
    gc.collect()
    assert len(list(batches)) == 2


def test_it_is_called_in_any_graph_and_in_none():
    def doubled(value):
        return numpy_function(lambda x: 2 * x, [value], tf.int64, stateful=False)

    assert int(doubled(tf.constant(3, tf.int64))) == 6
    within = tf.data.Dataset.range(3).map(lambda x: tf.cond(x > 0, lambda: doubled(x), lambda: x))
    gc.collect()
    assert [int(x) for x in within] == [0, 2, 4]


class Counted(FetchingSource):
    """Notes the files of the code that calls it."""

    num_examples = 4
    spec = Example({"x": tf.TensorSpec([None], tf.int64)}, tf.TensorSpec([None], tf.int64))

    def __init__(self):
        self.callers = set()

    def fetch(self, indices):
        caller = sys._getframe(1)
        self.callers |= {caller.f_code.co_filename, caller.f_back.f_code.co_filename}
        return Example({"x": indices}, indices)

    def fingerprint(self):
        return ""


def test_what_is_called_is_our_own_code_and_not_what_autograph_makes_of_it():
    callers = []

    def called(number):
        callers.append(sys._getframe(1).f_code.co_filename)
        return number

    list(tf.data.Dataset.range(2).map(lambda x: numpy_function(called, [x], tf.int64, stateful=True)))
    assert callers == [python_calls.__file__] * 2
    source = Counted()
    list(source.batches(2))
    assert source.callers == {python_calls.__file__, fetching.__file__}


def test_a_data_set_within_a_data_set_keeps_what_it_needs():
    def nested(number):
        within = Counted().batches(2)
        gc.collect()
        return within.concatenate(tf.data.Dataset.range(2).flat_map(lambda _: Counted().batches(4)))

    dataset = tf.data.Dataset.range(2).interleave(nested, cycle_length=2)
    gc.collect()
    first, second = iter(dataset), iter(dataset)
    del dataset
    gc.collect()
    found = [[example.labels.numpy().tolist() for example in batches] for batches in (first, second)]
    assert found[0] == found[1]
    assert sorted(found[0]) == sorted(2 * [[0, 1], [2, 3], [0, 1, 2, 3], [0, 1, 2, 3]])


def test_what_nobody_keeps_is_said():
    lost = tf.data.Dataset.from_tensors(Counted().batches(2)).flat_map(lambda within: within)
    gc.collect()
    with pytest.raises(tf.errors.OpError, match=r"is gone\. Keep it"):
        list(lost)
