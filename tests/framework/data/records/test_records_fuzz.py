"""A short version of `scripts/fuzz_records.py`."""

import importlib
import pathlib
import sys

SCRIPTS = pathlib.Path(__file__).resolve().parents[4] / "scripts"


def test_damaged_data_sets_never_make_examples_that_were_not_written(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    campaign = importlib.import_module("fuzz_records").Campaign(tmp_path)
    results = [(number, *campaign.run(number)) for number in range(200)]
    assert [result for result in results if result[1].startswith("WRONG")] == []
    verdicts = {verdict for _, verdict, _ in results}
    assert any(verdict.startswith("refused") for verdict in verdicts)
    assert any(verdict.startswith("only originals") for verdict in verdicts)
    assert len({how for _, _, how in results}) > 20
    sys.modules.pop("fuzz_records")
