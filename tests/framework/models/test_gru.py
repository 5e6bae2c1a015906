import keras
import numpy as np
import pytest

import framework
from framework import tasks
from framework.features import Feature

GRU = framework.get_model("gru")
SEQUENCES = {
    "steps": Feature((None, 3)),
    "level": Feature((None,)),
    "words": Feature((None,), "string"),
    "codes": Feature((None,), "int64"),
    "mask": Feature((None,), "bool"),
    "age": Feature(),
    "place": Feature((2,)),
}


def build(interface, **hparams):
    return framework.build_model(GRU, interface, tasks.Classification(3), hparams, seed=0)


@pytest.mark.parametrize("hparams", [{}, {"bidirectional": True, "num_layers": 2}])
def test_padding_makes_no_difference(hparams):
    model = build(SEQUENCES, units=4, embedding_size=2, num_bins=10, **hparams)
    random = np.random.default_rng(0)
    inputs = {
        "steps": random.normal(size=(2, 5, 3)).astype(np.float32),
        "level": random.normal(size=(2, 5)).astype(np.float32),
        "words": np.full((2, 5), "word", object),
        "codes": random.integers(0, 100, (2, 5)),
        "mask": np.arange(5) < np.array([[5], [2]]),
        "age": random.normal(size=2).astype(np.float32),
        "place": random.normal(size=(2, 2)).astype(np.float32),
    }
    whole = model(inputs).numpy()
    cut = {name: value[1:, :2] if SEQUENCES[name].shape[:1] == (None,) else value[1:] for name, value in inputs.items()}
    np.testing.assert_allclose(model(cut).numpy(), whole[1:], rtol=1e-5, atol=1e-6)
    for name in ("steps", "level", "codes", "age", "place"):
        changed = model({**inputs, name: inputs[name] + 1}).numpy()
        assert np.abs(changed - whole).max() > 1e-4, name


def test_windows_of_fixed_length_need_no_mask():
    model = build({"window": Feature((6, 2))}, units=4)
    assert model.output_shape == (None, 3)
    layers = [layer for layer in model.layers if isinstance(layer, keras.layers.GRU)]
    assert [layer.return_sequences for layer in layers] == [False]


@pytest.mark.parametrize(
    ("interface", "message"),
    [
        ({"x": Feature((4,))}, r"gru needs a sequence .* the inputs are \{'x': \(None, 4\)\}"),
        ({"steps": Feature((None, 2)), "image": Feature((8, 8, 1))}, "'image' is float32 of shape"),
        ({"steps": Feature((None, 2)), "shop": Feature((), "int64")}, "'shop' is int64"),
        ({"codes": Feature((None, 2), "int64")}, r"categories as \[batch, time\], 'codes'"),
    ],
)
def test_what_it_can_not_take_is_said(interface, message):
    with pytest.raises(ValueError, match=message):
        build(interface)
