"""A short version of `scripts/fuzz_records.py`."""

import os
import pathlib
import subprocess
import sys

SCRIPT = pathlib.Path(__file__).resolve().parents[4] / "scripts" / "fuzz_records.py"


def test_damaged_data_sets_never_make_examples_that_were_not_written(tmp_path):
    # Not the cases that everybody sees when they start the script.
    command = [sys.executable, str(SCRIPT), "--files=150", "--first=100000", "--workers=1"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "XDG_CACHE_HOME": str(tmp_path)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "150 cases in" in result.stdout
    assert "0 failures" in result.stdout
    for what in ("records flip_bits: refused, problems found", "index flip_bits: only originals, no problems found"):
        assert what in result.stdout
