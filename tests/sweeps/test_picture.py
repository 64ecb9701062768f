"""The picture of a sweep shows the validation error over each searched setting."""

import json

import pytest
from PIL import Image

from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.picture import draw
from ffcore.sweeps.sweep import Sweep


@pytest.fixture
def sweep(tmp_path):
    def make(points, finished=True):
        runs = []
        for i, point in enumerate(points):
            runs.append(SweepRun(f"run-{i}", point, point, 1, 0))
            (tmp_path / f"run-{i}").mkdir()
            if finished:
                found = {
                    "test": {"error": 5.0},
                    "val": {"accuracy": 0.9 - 0.01 * i},
                    "epochs": 1,
                    "wall_s": 1.0,
                }
                (tmp_path / f"run-{i}" / "results.json").write_text(json.dumps(found))
        return Sweep(tmp_path, "digits/ff", runs)

    return make


@pytest.mark.parametrize(
    ("points", "panels"),
    [
        ([(f"optimizer.lr={value}",) for value in ("1e-4", "1e-2", "1e-3")], 1),
        ([(f"block.handoff.kind={kind}",) for kind in ("rms", "identity")], 1),
        ([(f"optimizer.lr={lr}", f"network.0.units={u}") for lr in ("0.1", "0.2") for u in (10, 20)], 2),
    ],
)
def test_a_grid_has_a_panel_for_each_setting(sweep, points, panels):
    made = sweep(points)
    assert draw(made) == made.folder / "summary.png"
    with Image.open(made.folder / "summary.png") as image:
        width, height = image.size
    assert width / height == pytest.approx(3.4 * panels / 3.0, rel=0.1)
    assert "![validation over each setting](summary.png)" in (made.folder / "summary.md").read_text()


@pytest.mark.parametrize("points", [[(), ()], [("optimizer.lr=0.1",)]])
def test_seeds_or_one_point_have_no_picture(sweep, points):
    assert draw(sweep(points)) is None


def test_a_sweep_without_results_has_no_picture(sweep):
    made = sweep([("optimizer.lr=0.1",), ("optimizer.lr=0.2",)], finished=False)
    assert draw(made) is None
    assert not (made.folder / "summary.png").exists()
