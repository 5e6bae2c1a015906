import contextlib
import datetime
import json
import os
import shutil

import pytest

from framework.export import best_record, list_versions, promote, roll_back
from framework.export.versions import LATEST, next_version, prune, read_manifest, read_pointer
from framework.tasks import Objective

ACCURACY = Objective("val_accuracy", "max")


@pytest.fixture
def base(tmp_path):
    for version, accuracy in ((3, 0.8), (7, 0.9)):
        directory = tmp_path / str(version)
        (directory / "variables").mkdir(parents=True)
        (directory / "variables" / "variables.index").write_text(f"weights of {version}")
        manifest = {"version": version, "epoch": version, "step": 1, "metrics": {"val_accuracy": accuracy}}
        (directory / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def served(base):
    """What TensorFlow Serving serves: the weights in the highest integer."""
    version = max(list_versions(base))
    assert read_pointer(base, LATEST) in (version, None)
    return (base / str(version) / "variables" / "variables.index").read_text()


def test_a_promoted_version_is_served_under_a_higher_number(base):
    at = datetime.datetime(2026, 11, 25, tzinfo=datetime.UTC)
    assert promote(base, 3, at=at) == 1_000_000
    assert served(base) == "weights of 3"
    assert list_versions(base) == [3, 7, 1_000_000]
    manifest = read_manifest(base / "1000000")
    assert manifest["promotion"] == {"from": 3, "at": "2026-11-25T00:00:00+00:00"}
    assert manifest["version"] == 1_000_000
    assert json.loads((base / LATEST).read_text()) == {"version": 1_000_000, "promoted_from": 3}
    assert "promotion" not in read_manifest(base / "3")


def test_it_takes_no_space(base):
    promote(base, 3)
    paths = [base / version / "variables" / "variables.index" for version in ("3", "1000000")]
    assert os.path.samefile(*paths)


def test_it_is_copied_where_there_are_no_links(base, monkeypatch):
    def no_links(*arguments):
        raise OSError("not supported")

    monkeypatch.setattr(os, "link", no_links)
    promote(base, 3)
    assert served(base) == "weights of 3"


def test_later_exports_neither_demote_nor_delete_it(base):
    promote(base, 3)
    assert next_version(base) == 8
    assert best_record(base, ACCURACY).version == 7
    assert prune(base, keep=0, best=7) == [3]
    assert served(base) == "weights of 3"


def test_the_copy_is_no_rival_of_the_best(base):
    promote(base, 7)
    assert best_record(base, ACCURACY).version == 7


def test_rolling_back_serves_what_was_served_before(base):
    promote(base, 3)
    promote(base, 7)
    assert (served(base), list_versions(base)) == ("weights of 7", [3, 7, 1_000_000, 1_000_001])
    assert roll_back(base) == 1_000_000
    assert served(base) == "weights of 3"
    assert roll_back(base) == 7
    assert (served(base), list_versions(base)) == ("weights of 7", [3, 7])


def test_without_a_promotion_the_version_before_the_newest_is_served(base):
    assert roll_back(base) == 1_000_000
    assert served(base) == "weights of 3"
    assert roll_back(base) == 7  # undone
    assert served(base) == "weights of 7"


def test_promoting_what_is_promoted(base):
    promote(base, 3)
    assert promote(base, 1_000_000) == 1_000_000
    promote(base, 7)
    assert promote(base, 1_000_000) == 1_000_002
    assert read_manifest(base / "1000002")["promotion"]["from"] == 3


def test_promoting_the_same_again_leaves_what_to_go_back_to(base):
    promote(base, 3)
    promote(base, 7)
    (base / LATEST).unlink()  # a process died before it wrote that
    assert promote(base, 7) == 1_000_001
    assert read_pointer(base, LATEST) == 1_000_001
    assert roll_back(base) == 1_000_000
    assert served(base) == "weights of 3"


def test_a_number_isnt_given_again_as_long_as_a_promotion_names_it(base):
    promote(base, 7)
    prune(base, keep=0, best=3)
    assert list_versions(base) == [3, 1_000_000]
    assert next_version(base) == 8


@pytest.mark.parametrize("act", [lambda base: promote(base, 3), roll_back], ids=["promote", "roll_back"])
def test_what_training_deletes_meanwhile_isnt_there(base, monkeypatch, act):
    @contextlib.contextmanager
    def locked(path):
        shutil.rmtree(base / "3")
        yield

    monkeypatch.setattr("framework.export.promotion.locked", locked)
    with pytest.raises(LookupError, match="it has 7"):
        act(base)
    assert list_versions(base) == [7]


def test_nothing_is_written_where_there_are_no_versions(tmp_path):
    for act in (lambda: promote(tmp_path / "typo", 3), lambda: roll_back(tmp_path / "typo")):
        with pytest.raises(LookupError, match=r"typo.* has no version"):
            act()
    assert list(tmp_path.iterdir()) == []


def test_numbers_that_are_times_are_exceeded_too(base):
    (base / "7").rename(base / "1764000000")
    assert promote(base, 3) == 1_765_000_000
    assert next_version(base) == 1_764_000_001


def test_versions_that_arent_there(base):
    with pytest.raises(LookupError, match=r"has no version 4; it has 3, 7"):
        promote(base, 4)
    (base / "9").mkdir()
    with pytest.raises(FileNotFoundError, match=r"9/manifest\.json doesn't exist"):
        promote(base, 9)
    assert list_versions(base) == [3, 7, 9]


def test_nothing_to_go_back_to(tmp_path):
    (tmp_path / "1").mkdir()
    with pytest.raises(LookupError, match=r"nothing to go back to .*: it has 1\. Exports\(keep=3\)"):
        roll_back(tmp_path)


def test_nothing_half_promoted_is_seen(base, monkeypatch):
    def full(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr("framework.files.sync_tree", full)
    with pytest.raises(OSError, match="no space left"):
        promote(base, 3)
    assert sorted(path.name for path in base.iterdir()) == [".lock", "3", "7"]
