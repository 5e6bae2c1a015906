"""Whatever the README shows is run here, as a person would: from an empty folder, from top to bottom."""

import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_everything_shown_runs(tmp_path):
    (tmp_path / "tour.py").write_text("\n".join(blocks("python")), encoding="utf-8")
    tour = subprocess.run([sys.executable, "tour.py"], cwd=tmp_path, capture_output=True, text=True, timeout=400)
    assert tour.returncode == 0, tour.stderr
    assert "[b'zero']" in tour.stdout  # by the run and by the export

    _, show, scripts = blocks("bash")
    (tmp_path / "scripts").symlink_to(ROOT / "scripts")
    environment = {"PATH": f"{pathlib.Path(sys.executable).parent}:/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "2"}
    for commands, expected in ((show, "signature_def['serialized']"), (scripts, "val_accuracy")):
        shell = subprocess.run(
            ["bash", "-euc", commands], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=600
        )
        assert shell.returncode == 0, shell.stderr
        assert expected in shell.stdout
    assert (tmp_path / "runs/digits.png").stat().st_size > 1000


def test_the_two_commands_exist():
    assert blocks("bash")[0].split()[:2] == ["bash", "scripts/quickstart.sh"]
    assert all((ROOT / script).exists() for script in re.findall(r"scripts/[\w.]+", README))
