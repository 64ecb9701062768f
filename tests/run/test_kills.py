"""A few runs killed at random moments; ``nox -s faults`` kills hundreds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = Path(__file__).parents[1] / "faults" / "kills.py"


@pytest.mark.thorough
@pytest.mark.slow
def test_killed_runs_end_with_the_results_of_an_undisturbed_one():
    done = subprocess.run(
        [sys.executable, str(KILLS), "3", "7"], check=False, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"[34] kills of \d+ runs in .*, 0 different, 0 unusable", done.stdout)
