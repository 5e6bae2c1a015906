import keras
import numpy as np
import pytest

import framework
from framework.testing import assert_pipeline_conforms, reloading
from framework.testing.model_checks import trained_on_toy


def dense(inputs, task, *, width: int = 8):
    return task.logits(keras.layers.Dense(width, activation="relu")(inputs["values"]))


def test_heads_conform_and_exports_are_compared(tmp_path, monkeypatch):
    labels = np.arange(64) % 2
    features = np.random.default_rng(0).normal(labels[:, None], 0.3, (64, 3)).astype(np.float32)
    given = {"kind": labels, "size": features[:, 0], "tags": (features > 0.5).astype(np.int64)}
    heads = framework.tasks.Heads(
        {
            "kind": framework.tasks.Classification(2),
            "size": framework.tasks.Regression(),
            "tags": framework.tasks.MultiLabelClassification(3),
        }
    )
    pipeline = framework.pipeline_from_arrays({"values": features}, given, task=heads, validation=0.25)
    assert_pipeline_conforms(pipeline)
    run = trained_on_toy(dense, pipeline, {"width": 4}, run_dir=tmp_path / "run")
    assert run.model.layers[1].units == 4
    answers = []
    reload = reloading._reload
    monkeypatch.setattr(reloading, "_reload", lambda requests: answers.append(reload(requests)) or answers[0])
    reloading.assert_export_reloads([run])

    kernel = run.model.trainable_variables[0]
    kernel.assign(kernel + 0.01)
    monkeypatch.setattr(reloading, "_reload", lambda requests: answers[0])
    with pytest.raises(
        AssertionError, match=r"export/1, signature 'serving_default', batch of 1: '.*' differs from Run"
    ):
        reloading.assert_export_reloads([run])


def test_an_export_that_can_t_be_loaded(tmp_path):
    (tmp_path / "saved_model.pb").write_bytes(b"no model")
    with pytest.raises(AssertionError, match=rf"A new process couldn't use the export {tmp_path}:\n(.|\n)*Error"):
        reloading._reload([(str(tmp_path), [])])
