import json
import math

import pytest

from framework.export import Record, best_record, list_versions, read_manifest
from framework.export.versions import MANIFEST, prune
from framework.tasks import Objective

ACCURACY = Objective("val_accuracy", "max")
LOSS = Objective("val_loss", "min")


@pytest.fixture
def base(tmp_path):
    return tmp_path / "export"


def publish(base, version, **metrics):
    """A version as far as this module looks at it."""
    directory = base / str(version)
    directory.mkdir(parents=True)
    manifest = {"metrics": metrics, "epoch": version - 1, "step": 10 * version}
    (directory / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")


def test_only_directories_named_by_an_integer_are_versions(base):
    for version in (10, 9, 2):
        publish(base, version)
    for name in ("notes", "3a", "-4", "5.0", ".tmp-6-abc", "\u0667", "007"):
        (base / name).mkdir(exist_ok=True)
    (base / "8").write_text("a file")
    assert list_versions(base) == [2, 9, 10]


def test_no_directory_no_versions(base):
    assert list_versions(base) == []
    assert best_record(base, ACCURACY) is None
    assert prune(base, keep=1, best=None) == []


def test_manifest_of_something_else_is_missed_by_name(base):
    (base / "1").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=r"export/1/manifest\.json doesn't exist: .* isn't an export"):
        read_manifest(base / "1")


@pytest.mark.parametrize(
    ("objective", "values", "best"),
    [
        (ACCURACY, [0.5, 0.9, 0.7], 2),
        (LOSS, [0.5, 0.9, 0.7], 1),
        (ACCURACY, [0.9, 0.5, 0.7], 1),  # the oldest
        (ACCURACY, [0.5, 0.7, 0.9], 3),  # the newest
        (ACCURACY, [0.9, 0.9, 0.9], 1),  # a tie isn't an improvement
        (LOSS, [0.1, 0.1], 1),
        (ACCURACY, [math.nan, 0.1, math.nan], 2),
        (LOSS, [math.nan, 0.1], 2),
        (ACCURACY, [math.nan, math.nan], None),
        (LOSS, [math.inf, 3.0], 2),
        (LOSS, [-math.inf, 3.0], 1),
    ],
)
def test_best_is_told_by_the_manifests(base, objective, values, best):
    for version, value in enumerate(values, 1):
        publish(base, version, **{objective.monitor: value})
    record = best_record(base, objective)
    if best is None:
        assert record is None
    else:
        assert record == Record(best, best - 1, 10 * best, {objective.monitor: values[best - 1]})


def test_versions_without_the_value_or_a_manifest_are_nobodys_rivals(base):
    publish(base, 1, val_loss=0.1)
    publish(base, 2, val_accuracy=0.3)
    (base / "3").mkdir()
    assert best_record(base, ACCURACY).version == 2


@pytest.mark.parametrize(
    ("keep", "best", "stay"),
    [
        (None, 1, [1, 2, 3, 4, 5]),
        (0, 5, [5]),
        (0, 1, [1]),
        (1, 5, [5]),
        (1, 1, [1, 5]),
        (2, 1, [1, 4, 5]),
        (2, 4, [4, 5]),
        (4, 2, [2, 3, 4, 5]),
        (5, 3, [1, 2, 3, 4, 5]),
        (99, 3, [1, 2, 3, 4, 5]),
        (1, None, [5]),
    ],
)
def test_prune_keeps_the_newest_and_always_the_best(base, keep, best, stay):
    for version in range(1, 6):
        publish(base, version)
    (base / "notes").mkdir()
    (base / "0005").mkdir()  # somebody else's way of counting
    gone = prune(base, keep=keep, best=best)
    assert gone == [version for version in range(1, 6) if version not in stay]
    assert sorted(child.name for child in base.iterdir()) == sorted(["notes", "0005", *map(str, stay)])
