import math

import pytest

from framework.export import Candidate, Policy


def candidate(*, slices=None, **metrics):
    return Candidate(3, metrics, slices or {})


def shops(**shops):
    """One slice, `{value: (examples, accuracy)}`."""
    parts = {name: {"examples": count, "metrics": {"accuracy": value}} for name, (count, value) in shops.items()}
    return candidate(slices={"shop": parts})


def test_by_default_nothing_is_refused():
    assert Policy().refusals(candidate(val_loss=9.0), candidate(val_loss=1.0)) == []


@pytest.mark.parametrize(
    ("amount", "value", "refused"),
    [
        *((0.0, 0.81, False), (0.0, 0.80, True), (0.0, math.nan, True)),
        *((0.05, 0.84, True), (0.05, 0.86, False)),
        *((-0.1, 0.71, False), (-0.1, 0.69, True)),
    ],
)
def test_improve(amount, value, refused):
    found = Policy(improve={"val_auc": amount}).refusals(candidate(val_auc=value), candidate(val_auc=0.80))
    assert bool(found) == refused


def test_less_is_better_of_a_loss():
    policy = Policy(improve={"val_loss": 0.1})
    assert policy.refusals(candidate(val_loss=0.5), candidate(val_loss=0.7)) == []
    assert policy.refusals(candidate(val_loss=0.65), candidate(val_loss=0.7)) == [
        "val_loss is 0.65, the best's 0.7: it must be better by more than 0.1."
    ]


def test_no_slice_may_lose_more_than_allowed():
    policy = Policy(max_drop={"accuracy": 0.02}, min_examples=10)
    best = shops(a=(50, 0.9), b=(50, 0.8), c=(50, 0.7))
    assert policy.refusals(shops(a=(50, 0.885), b=(50, 0.95), c=(50, 0.7)), best) == []
    assert policy.refusals(shops(a=(50, 0.95), b=(50, 0.77), c=(50, 0.71)), best) == [
        "accuracy on shop=b (50 examples) is 0.77, the best's 0.8: it may be worse by 0.02 at most."
    ]


def test_small_and_new_slices_arent_held_against_a_candidate():
    policy = Policy(max_drop={"accuracy": 0.0}, min_examples=10)
    assert policy.refusals(shops(a=(9, 0.1), new=(50, 0.1)), shops(a=(9, 0.9))) == []


def test_a_metric_that_isnt_there_is_an_error():
    with pytest.raises(LookupError, match=r"'val_auc' isn't in the logs.*val_loss"):
        Policy(improve={"val_auc": 0.0}).refusals(candidate(val_loss=1.0), candidate(val_loss=1.0))
    with pytest.raises(LookupError, match=r"'f1' isn't in the logs.*accuracy"):
        Policy(max_drop={"f1": 0.0}, min_examples=1).refusals(shops(a=(5, 0.5)), shops(a=(5, 0.5)))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"improve": {"val_score": 0.0}}, "Is more or less of 'val_score' better"),
        ({"max_drop": {"accuracy": -0.1}}, "max_drop says how much worse 'accuracy' may be, at least 0, got -0.1"),
        ({"min_examples": 0}, "min_examples must be at least 1, got 0"),
    ],
)
def test_impossible_settings(arguments, error):
    with pytest.raises(ValueError, match=error):
        Policy(**arguments)


def test_rules_of_ones_own():
    class NotOnMondays(Policy):
        def refusals(self, candidate, best):
            return ["It is Monday."] if candidate.epoch == 3 else super().refusals(candidate, best)

    assert NotOnMondays().refusals(candidate(), candidate()) == ["It is Monday."]
