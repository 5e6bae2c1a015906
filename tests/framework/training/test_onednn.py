"""Models whose training meets oneDNN's fault are named, others aren't."""

import keras
import pytest
import tensorflow as tf

import framework
from framework.training.onednn import warn_of_faulty_convolutions


@pytest.fixture(autouse=True)
def on_an_x86_processor(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS", raising=False)


def warnings_of(layer, caplog, shape=(8, 8, 3)):
    inputs = keras.Input(shape)
    warn_of_faulty_convolutions(keras.Model(inputs, layer(inputs)))
    return [record.getMessage() for record in caplog.records]


def strided(**changes):
    return keras.layers.Conv2D(**{"filters": 4, "kernel_size": 1, "strides": 2, "name": "squeeze", **changes})


def test_the_layer_and_what_to_write_instead_are_named(caplog):
    (message,) = warnings_of(strided(), caplog)
    assert "'squeeze' is a convolution of kernel size 1 with strides (2, 2) on 3 channels" in message
    assert "x[:, ::2, ::2]" in message
    assert "TF_ENABLE_ONEDNN_OPTS=0" in message


def test_sequences_have_one_stride(caplog):
    (message,) = warnings_of(keras.layers.Conv1D(4, 1, strides=3), caplog, (9, 3))
    assert "x[:, ::3]" in message


def test_channels_may_come_first(caplog):
    (message,) = warnings_of(strided(data_format="channels_first"), caplog, (3, 8, 8))
    assert "on 3 channels" in message
    assert "x[:, :, ::2, ::2]" in message


def test_layers_of_inner_models_are_found(caplog):
    inner = keras.Sequential([keras.Input((8, 8, 3)), strided()])
    assert len(warnings_of(inner, caplog)) == 1


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (strided(strides=1), (8, 8, 3)),
        (strided(kernel_size=3), (8, 8, 3)),
        (strided(kernel_size=(1, 3)), (8, 8, 3)),
        (strided(trainable=False), (8, 8, 3)),
        (strided(dtype="mixed_bfloat16"), (8, 8, 3)),
        (strided(), (8, 8, 16)),
        (keras.layers.Dense(4), (3,)),
    ],
    ids=["stride 1", "kernel 3", "kernel 1x3", "frozen", "bfloat16", "16 channels", "dense"],
)
def test_others_are_not(layer, shape, caplog):
    assert warnings_of(layer, caplog, shape) == []


def test_nothing_is_said_where_onednn_does_not_compute(caplog, monkeypatch):
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "0")
    assert warnings_of(strided(), caplog) == []
    monkeypatch.delenv("TF_ENABLE_ONEDNN_OPTS")
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert warnings_of(strided(), caplog) == []
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["GPU:0"])
    assert warnings_of(strided(), caplog) == []


def test_fit_looks_at_its_model(tmp_path, monkeypatch):
    looked_at = []
    monkeypatch.setattr("framework.training.trainer.warn_of_faulty_convolutions", looked_at.append)
    run = framework.fit("small_cnn", "digits", epochs=1, run_dir=tmp_path / "run", verbose=0)
    assert looked_at == [run.model]
