"""What the tests of manifest, card, warm-up and ready calls share: one export with everything."""

from __future__ import annotations

import dataclasses
import pathlib

import keras

import framework
from framework.data.evaluate import eval_dataset
from framework.data.pipeline import Pipeline
from framework.data.profile import profile_source
from framework.export import Answers, Evaluation, Exporter, Exports, Slice
from framework.testing.toys import toy_table

BATCH_SIZE = 16
EXPORTS = Exports(
    answers=Answers(saliency=True),
    classify_regress=True,
    warmup=(1, 4),
    slices=("shop", Slice("tall", lambda features, labels: features["height"] > 175.0)),
)


@dataclasses.dataclass(frozen=True)
class Full:
    """A published export and what it was made of."""

    path: pathlib.Path
    model: keras.Model
    pipeline: Pipeline
    exporter: Exporter
    metrics: dict[str, float]


def network(inputs, task):
    colours = keras.layers.CategoryEncoding(4, output_mode="one_hot")(inputs["colour"])
    columns = [keras.ops.reshape(inputs["height"], (-1, 1)), inputs["readings"], colours]
    return task.logits(keras.layers.Dense(4, activation="tanh")(keras.layers.Concatenate()(columns)))


def make(base: pathlib.Path) -> Full:
    pipeline = toy_table().with_statistics()
    pipeline.profile = profile_source(pipeline.source("train"), pipeline.features, pipeline.task)
    model = framework.build_model(network, pipeline.interface(), pipeline.task, seed=0)
    arguments = {"loss": pipeline.task.loss(), "metrics": pipeline.task.metrics()}
    model.compile("adam", **arguments)
    data = {phase: eval_dataset(pipeline, phase, batch_size=BATCH_SIZE) for phase in ("train", "validation")}
    model.fit(data["train"], epochs=2, shuffle=False, verbose=0)
    evaluated = model.evaluate(data["validation"], return_dict=True, verbose=0)
    metrics = {f"val_{name}": value for name, value in evaluated.items()}
    exporter = Exporter(
        model,
        pipeline,
        exports=EXPORTS,
        objective=pipeline.task.objective,
        evaluation=Evaluation(BATCH_SIZE, arguments),
        configuration={"model": {"name": "network"}},
    )
    version = exporter.publish(base, metrics=metrics, epoch=1, step=20)
    return Full(base / str(version), model, pipeline, exporter, metrics)
