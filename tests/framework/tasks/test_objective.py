import math

import numpy as np
import pytest

from framework.tasks import Objective

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("val_accuracy", "max"),
        ("auc", "max"),
        ("val_F1_score", "max"),
        ("val_loss", "min"),
        ("val_rmse", "min"),
        ("digit_loss", "min"),
        ("val_mean_absolute_error", "min"),
        ("sparse_categorical_crossentropy", "min"),
    ],
)
def test_the_direction_goes_without_saying(name, mode):
    assert Objective.of(name) == Objective(name, mode)


def test_an_unknown_direction_is_asked_for():
    with pytest.raises(
        ValueError, match=r"Is more or less of 'val_score' better\? Say Objective\('val_score', 'max'\)"
    ):
        Objective.of("val_score")
    given = Objective("val_score", "min")
    assert Objective.of(given) is given


def test_the_mode_is_checked():
    with pytest.raises(ValueError, match="mode must be 'min' or 'max', got 'up'"):
        Objective("loss", "up")


def test_reading_the_logs():
    assert Objective("val_loss", "min").read({"loss": 1.0, "val_loss": np.float32(0.5)}) == 0.5
    with pytest.raises(
        LookupError, match=r"'val_lost' isn't in the logs\. Did you mean 'val_loss'\? Got loss, val_loss"
    ):
        Objective("val_lost", "min").read({"val_loss": 1.0, "loss": 1.0})
    with pytest.raises(LookupError, match=r"Got nothing\. Names with val_ need validation data"):
        Objective("val_loss", "min").read({})


@pytest.mark.parametrize(
    ("value", "best", "by_max", "by_min"),
    [
        (1.0, None, True, True),
        (1.0, 0.5, True, False),
        (0.5, 1.0, False, True),
        (1.0, 1.0, False, False),
        (NAN, None, False, False),
        (NAN, 1.0, False, False),
        (1.0, NAN, True, True),
        (INF, 1.0, True, False),
        (1.0, INF, False, True),
        (-INF, 1.0, False, True),
    ],
)
def test_improvement_is_strict_and_nan_never_wins(value, best, by_max, by_min):
    assert Objective("x", "max").improved(value, best) is by_max
    assert Objective("x", "min").improved(value, best) is by_min
