"""A few of the mutated recipes of ``nox -s faults``."""

import runpy
from pathlib import Path

run = runpy.run_path(str(Path(__file__).parents[1] / "faults" / "recipes.py"))["run"]


def test_every_mutated_recipe_is_valid_or_refused():
    lines = []
    counts = run(range(300), 1, lines.append)
    assert lines == []
    assert counts["accepted"] + counts["refused"] == 300
