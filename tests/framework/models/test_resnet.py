import keras
import numpy as np
import pytest

import framework
from framework import tasks
from framework.features import Feature

RESNET = framework.get_model("resnet")
CIFAR = {"image": Feature((32, 32, 3))}


def build(**hparams):
    return framework.build_model(RESNET, CIFAR, tasks.Classification(10), hparams)


def weighted_layers(model):
    """Convolutions and the dense layer; projections of the shortcut don't count."""
    return sum(
        isinstance(layer, keras.layers.Dense)
        or (isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (3, 3))
        for layer in model.layers
    )


def test_depth_20_has_the_paper_s_parameters():
    model = build(depth=20)
    assert weighted_layers(model) == 20
    # Table 6: 0.27 M; projections instead of the paper's padded shortcuts add a hundredth.
    assert model.count_params() == pytest.approx(0.27e6, rel=0.03)


@pytest.mark.parametrize("preactivation", [False, True])
def test_depth_is_counted_in_both_variants(preactivation):
    model = build(depth=8, preactivation=preactivation)
    assert weighted_layers(model) == 8
    # Three stages: 32, 16 and 8 pixels, doubling filters.
    sizes = {layer.output.shape[1:] for layer in model.layers if isinstance(layer, keras.layers.Add)}
    assert sizes == {(32, 32, 16), (16, 16, 32), (8, 8, 64)}


@pytest.mark.parametrize("depth", [2, 0, 7, 18, 21, -4])
def test_other_depths_are_refused(depth):
    with pytest.raises(
        ValueError, match=rf"A CIFAR-style ResNet has depth 6n \+ 2 \(8, 14, 20, 32, \.\.\.\), got {depth}"
    ):
        build(depth=depth)


def test_statistics_are_those_of_all_replicas():
    layers = [layer for layer in build(depth=8).layers if isinstance(layer, keras.layers.BatchNormalization)]
    assert layers
    assert all(layer.synchronized for layer in layers)


@pytest.mark.parametrize("preactivation", [False, True])
def test_projections_have_no_strides_of_their_own(preactivation):
    """With them, and few channels, oneDNN would damage the process' memory: see `framework.training.onednn`."""
    model = build(depth=8, width=8, preactivation=preactivation)
    projections = [
        layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D) and layer.kernel_size == (1, 1)
    ]
    assert [layer.strides for layer in projections] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("size", [5, 8])
def test_a_projection_is_a_strided_convolution(size):
    image = keras.Input((size, size, 8))
    model = keras.Model(image, RESNET.__globals__["_shortcut"](image, 16, 2))
    strided = keras.layers.Conv2D(16, 1, 2, padding="same", use_bias=False)
    images = np.random.default_rng(1).normal(size=(2, size, size, 8)).astype("float32")
    strided.build(images.shape)
    strided.set_weights(model.get_weights())
    np.testing.assert_allclose(model(images), strided(images), rtol=1e-5, atol=1e-6)
