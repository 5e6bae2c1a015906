"""Ten kills of the hundreds that `scripts/crash_campaign.py` is made for."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_ten_kills_change_nothing(tmp_path):
    campaign = subprocess.run(
        [sys.executable, ROOT / "scripts/crash_campaign.py", "--kills=10", "--cases=cnn,table", f"--dir={tmp_path}"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr[-3000:]
    last = campaign.stdout.splitlines()[-1]
    runs = last.split("/")[0]
    assert last == f"{runs}/{runs} identical after 10 kills"
