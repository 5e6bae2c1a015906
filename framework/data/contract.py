"""Where data differ from what a model was trained on, in words.

The rules, for every feature that both profiles have:

    another dtype or shape                              severe
    values that are missing, where there were none      warning; severe from 5% on
    another share of missing values                     as another balance of labels
    a category never seen in training                   warning; severe from 5% of the values on
    numbers outside of the training range by more       warning; severe from 5% of the values on; a note if it
        than a tenth of its width                       may well be chance
    a mean shifted by half a training deviation         warning; severe from 2 deviations on
    half of the lengths outside of the range that       warning
        98% had in training, by more than a quarter

A feature that isn't there is severe, one that wasn't there before is noted. Of the labels: a class never seen in
training is severe; another balance, measured by the total variation distance (the share of examples that would have to
change their class), is a warning from 10% and severe from 30% on; regression targets are numbers as above. Shifts of
means and balances count only if they are three times what chance would give with so few examples. Of new values from
the same distribution a share of 2 / (n + 1) lies outside of the range of n old ones.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import numpy as np

Severity = Literal["severe", "warning", "note"]
_ORDER = ("severe", "warning", "note")

_SEVERE_SHARE = 0.05
_MARGIN = 0.1  # of the training range
_LENGTHS = 0.25  # of a length
_SHIFT, _SEVERE_SHIFT = 0.5, 2.0  # deviations
_DISTANCE, _SEVERE_DISTANCE = 0.1, 0.3  # total variation
_CHANCE = 3.0
_NAMED = 3


@dataclasses.dataclass(frozen=True)
class Finding:
    """A difference.

    Attributes:
        severity: `"severe"` where the model can't be expected to work, `"warning"` where it may be worse, `"note"`
            where it won't matter.
        subject: The feature's name, `"labels"` or `"labels/<head>"`.
        got: What the new data have, in words.
        expected: What training had.
    """

    severity: Severity
    subject: str
    got: str
    expected: str


def compare_profiles(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Finding]:
    """What is different in the new data, the most severe first.

    Args:
        old: The profile of the training split, as `framework.data.profile.profile_source` made it.
        new: That of other data, which lists the values of the `categories` of the old one.
    """
    counts = (old["profiled"], new["profiled"])
    findings = []
    for kind, what in (("features", "feature"), ("labels", "label")):
        for name in dict.fromkeys([*old[kind], *new[kind]]):
            if name not in new[kind]:
                findings.append(Finding("severe", name, f"no such {what}", _form(old[kind][name])))
            elif name not in old[kind]:
                findings.append(Finding("note", name, f"a new {what}", "nothing by this name"))
            else:
                compare = _compare_feature if kind == "features" else _compare_label
                findings += compare(name, old[kind][name], new[kind][name], counts)
    return sorted(findings, key=lambda finding: _ORDER.index(finding.severity))


def _compare_feature(name: str, old: Mapping[str, Any], new: Mapping[str, Any], counts: tuple) -> Iterator[Finding]:
    if _form(old) != _form(new):
        yield Finding("severe", name, _form(new), _form(old))
        return
    if new.get("missing", 0) > 0 and not old["missing"]:
        yield Finding(_by_share(new["missing"]), name, f"{_percent(new['missing'])} missing", "none missing")
    elif old.get("missing", 0) > 0 and "values" not in old:  # among which it is the empty one
        shares = zip(counts, (old["missing"], new["missing"]), strict=True)
        yield from _balance(
            name, *({"missing": count * share, "there": count * (1 - share)} for count, share in shares)
        )
    if "values" in old and "values" in new:
        yield from _unseen(name, old["values"], new["values"], "values", _by_share)
        yield from _balance(name, old["values"], new["values"])
    elif "values" in old:
        yield Finding("severe", name, "values most of which don't recur", _categories(old["values"]))
    elif "quantiles" in old:
        yield from _compare_numbers(name, old, new, counts)
    if "lengths" in old and _is_known(old["lengths"]) and _is_known(new["lengths"]):
        low, high, middle = old["lengths"]["0.01"], old["lengths"]["0.99"], new["lengths"]["0.5"]
        if not low * (1 - _LENGTHS) <= middle <= high * (1 + _LENGTHS):
            yield Finding("warning", name, f"a median length of {middle:.4g}", f"98% between {low:.4g} and {high:.4g}")


def _compare_label(name: str, old: Mapping[str, Any], new: Mapping[str, Any], counts: tuple) -> Iterator[Finding]:
    if set(old) != set(new):
        yield Finding("severe", name, _form(new), _form(old))
    elif "values" in old:
        yield from _unseen(name, old["values"], new["values"], "classes", lambda share: "severe")
        yield from _balance(name, old["values"], new["values"])
    elif "yes" in old:
        for label in dict.fromkeys([*old["yes"], *new["yes"]]):
            yeses = (old["yes"].get(label, 0), new["yes"].get(label, 0))
            splits = [{"yes": yes, "no": count - yes} for yes, count in zip(yeses, counts, strict=True)]
            yield from _balance(f"{name} {label}", *splits)
    else:
        yield from _compare_numbers(name, old, new, counts)


def _compare_numbers(name: str, old: Mapping[str, Any], new: Mapping[str, Any], counts: tuple) -> Iterator[Finding]:
    if not (_is_known(old["quantiles"]) and _is_known(new["quantiles"])):
        return
    low, high = old["quantiles"]["0"], old["quantiles"]["1"]
    smallest, largest = new["quantiles"]["0"], new["quantiles"]["1"]
    margin = _MARGIN * (high - low)
    if smallest < low - margin or largest > high + margin:
        share = _share_outside(new["quantiles"], low - margin, high + margin)
        by_chance = counts[1] * 2 / (counts[0] + 1)
        is_chance = share * counts[1] <= by_chance + _CHANCE * math.sqrt(by_chance)
        yield Finding(
            "note" if is_chance else _by_share(share),
            name,
            f"values from {smallest:.4g} to {largest:.4g}, about {_percent(share)} outside",
            f"values from {low:.4g} to {high:.4g}",
        )
    if old["deviation"] > 0:
        shift = abs(new["mean"] - old["mean"]) / old["deviation"]
        spread = max(new["deviation"] / old["deviation"], 1.0)
        chance = _CHANCE * spread * math.sqrt(sum(1 / max(count, 1) for count in counts))
        if shift >= max(_SHIFT, chance):
            severity: Severity = "severe" if shift >= _SEVERE_SHIFT else "warning"
            got = f"a mean of {new['mean']:.4g}, {shift:.2g} deviations away"
            yield Finding(severity, name, got, f"a mean of {old['mean']:.4g}, deviation {old['deviation']:.4g}")


def _unseen(name: str, old: Mapping[str, int], new: Mapping[str, int], what: str, severity: Any) -> Iterator[Finding]:
    unseen = {value: count for value, count in new.items() if value not in old}
    if unseen:
        share = sum(unseen.values()) / sum(new.values())
        listed = ", ".join(map(repr, list(unseen)[:_NAMED])) + (", ..." if len(unseen) > _NAMED else "")
        got = f"{what} never seen in training: {listed} ({_percent(share)} of all)"
        yield Finding(severity(share), name, got, _categories(old))


def categories(profile: Mapping[str, Any]) -> list[str]:
    """The features whose values are compared one by one: what a profile to be compared with this one should list."""
    return [name for name, feature in profile["features"].items() if "values" in feature]


def _categories(old: Mapping[str, int]) -> str:
    return f"the {len(old)} of training" if len(old) > _NAMED else " or ".join(map(repr, old))


def _balance(name: str, old: Mapping[str, int], new: Mapping[str, int]) -> Iterator[Finding]:
    """Another balance of the categories that training had."""
    counts = np.asarray([[old[value], new.get(value, 0)] for value in old], np.float64)
    totals = counts.sum(axis=0)
    if not totals.all():
        return
    shares = counts / totals
    differences = shares[:, 1] - shares[:, 0]
    distance = np.abs(differences).sum() / 2
    pooled = counts.sum(axis=1) / totals.sum()
    # Mean absolute deviation of a share in a sample: sqrt(2 / pi) of its standard deviation.
    chance = np.sqrt(2 / np.pi * pooled * (1 - pooled) * (1 / totals).sum()).sum() / 2
    if distance >= max(_DISTANCE, _CHANCE * chance):
        severity: Severity = "severe" if distance >= _SEVERE_DISTANCE else "warning"
        values = list(old)
        most = [values[place] for place in np.argsort(-np.abs(differences), kind="stable")[:_NAMED]]
        got, expected = (
            ", ".join(f"{_percent(shares[values.index(value), side])} {value}" for value in most) for side in (1, 0)
        )
        yield Finding(severity, name, f"another balance: {got}", expected)


def _share_outside(quantiles: Mapping[str, float], low: float, high: float) -> float:
    """Share of the values below `low` or above `high`, between known quantiles by linear interpolation."""
    shares = np.asarray([float(share) for share in quantiles])
    values = np.asarray(list(quantiles.values()))
    # The last of equal quantiles bounds what is below, the first one what is above.
    below = np.interp(low, values, shares) if low > values[0] else 0.0
    above = 1.0 - np.interp(high, values, shares) if high < values[-1] else 0.0
    return float(np.clip(below + above, 0.0, 1.0))


def _by_share(share: float) -> Severity:
    return "severe" if share >= _SEVERE_SHARE else "warning"


def _is_known(quantiles: Mapping[str, float | None]) -> bool:
    return None not in quantiles.values()


def _form(described: Mapping[str, Any]) -> str:
    if "dtype" in described:
        encoded = f"{described['encoded']} of " if "encoded" in described else ""
        return f"{encoded}{described['dtype']} {tuple(described['shape'])}"
    return "classes" if "values" in described else "yes or no" if "yes" in described else "numbers"


def _percent(share: float) -> str:
    return f"{100 * share:.3g}%"
