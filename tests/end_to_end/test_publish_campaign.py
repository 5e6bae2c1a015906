"""A few kills of those that `scripts/publish_campaign.py` is made for."""

import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_nothing_half_is_ever_seen(tmp_path):
    campaign = subprocess.run(
        [sys.executable, ROOT / "scripts/publish_campaign.py", "--publishes=5", "--kills=2", f"--dir={tmp_path}"],
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert campaign.returncode == 0, campaign.stdout + campaign.stderr[-3000:]
    lines = campaign.stdout.splitlines()
    assert lines[0].startswith("killed 2 times (")
    assert lines[-1] == "5 publishes, never anything half"
