import keras
import pytest

import framework
from framework import tasks
from framework.features import Feature

MLP = framework.get_model("mlp")


def test_text_is_refused_with_a_way_out():
    interface = {"x": Feature(), "colour": Feature((), "string")}
    with pytest.raises(ValueError, match=r"mlp takes numbers, the features \['colour'\] are text\. Use wide_and_deep"):
        framework.build_model(MLP, interface, tasks.Regression())


def test_all_numbers_are_joined():
    interface = {"x": Feature(), "y": Feature((2, 3)), "z": Feature((), "int64")}
    model = framework.build_model(MLP, interface, tasks.Regression(), {"width": 5, "depth": 2, "dropout": 0.5})
    assert model.count_params() == (8 * 5 + 5) + (5 * 5 + 5) + (5 + 1)
    assert sum(isinstance(layer, keras.layers.Dropout) for layer in model.layers) == 2


def test_depth_zero_is_linear():
    model = framework.build_model(MLP, {"x": Feature((4,))}, tasks.Classification(3), {"depth": 0})
    assert model.count_params() == 4 * 3 + 3
