"""`scripts/export.py` on versions: listed, promoted, rolled back, and made otherwise than the run's."""

import pytest

from framework.export import list_versions, read_manifest
from framework.training.run_directory import RunDirectory


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Where two versions are exported to."""
    return tmp_path_factory.mktemp("served") / "models"


@pytest.fixture
def exported(run_script, wine_run, base):
    while len(list_versions(base)) < 2:
        flags = ["--export_warmup=(1,)", "--export_classify_regress", "--answers_top_k=2", "--proof_budget_secs=5"]
        code, out, err = run_script("export", f"--run_dir={wine_run}", f"--to={base}", *flags)
        assert code == 0, err
        assert "classify" in out
    return base


def test_flags_change_what_the_run_had(exported):
    manifest = read_manifest(exported / "1")
    assert manifest["warm_up"] == {"batch_sizes": [1]}
    assert "top_k_class_ids" in manifest["signatures"]["serving_default"]["outputs"]
    metrics = manifest["proof"]["metrics"]
    assert metrics["reported"].keys() >= {"loss", "accuracy"}
    assert metrics["values"]["loss"] == pytest.approx(metrics["reported"]["loss"], rel=1e-4)
    assert manifest["configuration"]["pipeline"]["name"] == "wine"


def test_versions_are_listed_promoted_and_rolled_back(run_script, exported):
    code, out, _ = run_script("export", f"--to={exported}", "--list")
    lines = out.splitlines()
    assert code == 0
    assert lines[0].split() == ["version", "epoch", "created", "MB", "metrics"]
    assert [line.split()[0] for line in lines[1:]] == ["1", "2"]
    assert "served" in lines[2]

    code, out, _ = run_script("export", f"--to={exported}", "--promote=1")
    assert (code, out) == (0, f"{exported}/1000000 is served: it is version 1.\n")
    _, out, _ = run_script("export", f"--to={exported}", "--list")
    assert "served, promoted from 1" in out.splitlines()[3]

    code, out, _ = run_script("export", f"--to={exported}", "--roll_back")
    assert (code, out) == (0, f"{exported}/2 is served.\n")
    assert list_versions(exported) == [1, 2]


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        (["--promote=7"], "has no version 7; it has 1, 2."),
        (["--list", "--roll_back"], "--list, --promote and --roll_back: one at a time."),
        (["--promote=first"], "flag --promote=first: expected int"),
    ],
)
def test_mistakes(run_script, exported, flags, error):
    code, _, err = run_script("export", f"--to={exported}", *flags)
    assert code == 2
    assert error in err


@pytest.mark.parametrize("to", [[], ["--to={run}/export"]], ids=["its own", "by path"])
def test_a_run_that_is_being_trained_keeps_its_exports_for_itself(run_script, wine_run, to):
    before = list_versions(wine_run / "export")
    with RunDirectory(wine_run):
        code, _, err = run_script("export", f"--run_dir={wine_run}", *(flag.format(run=wine_run) for flag in to))
    assert code != 0
    assert f"{wine_run} is being written by process" in err
    assert list_versions(wine_run / "export") == before


def test_nothing_to_list(run_script, tmp_path):
    code, _, err = run_script("export", f"--to={tmp_path}", "--list")
    assert (code, err) == (2, f"error: There are no versions in {tmp_path}.\n")


def test_a_run_or_a_directory_is_needed(run_script):
    code, _, err = run_script("export", "--list")
    assert code == 2
    assert "--run_dir must be given" in err
