"""The soak in small; `python tests/soak.py` is the long one."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.slow
def test_faults_at_random_change_no_weight() -> None:
    soak = [sys.executable, str(ROOT / "tests" / "soak.py"), "--steps", "60", "--kill_every", "25", "--seed", "4"]
    ended = subprocess.run(soak, capture_output=True, text=True, timeout=300, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    lines = dict(line.split(maxsplit=1) for line in ended.stdout.splitlines())
    assert lines["weights"] == "identical"
    assert int(lines["SIGKILL"]) >= 1
