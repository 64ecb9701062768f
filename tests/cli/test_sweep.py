"""``ffcore sweep`` and `ffcore.sweep`: searches and grids in processes of their own, and bad input."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import ffcore
from ffcore.cli.main import main
from ffcore.errors import UserError
from ffcore.sweeps.swept import Swept
from ffcore_ff.goodness import SumSquares

SWEEP = ["sweep", "digits/ff", "trainer.max_epochs=1", "trainer.threads=1", "network.0.repeat=1"]
LR = "optimizer.lr=log:1e-4:1e-2"


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


REFUSED = {
    "a range that is none": ([*SWEEP, "optimizer.lr=log:0:1", "--trials", "2"], "log:0:1", "above 0"),
    "a word that does not exist": ([*SWEEP, "optimizer.lr=lag:1:2", "--trials", "2"], "did you mean 'log'"),
    "a search without trials": ([*SWEEP, LR], "optimizer.lr", "--trials N"),
    "trials without a search": ([*SWEEP, "--trials", "2"], "--trials needs a search"),
    "a range of a run": (["run", *SWEEP[1:], LR], "optimizer.lr", "ffcore sweep"),
    "a path twice": ([*SWEEP, LR, "optimizer.lr=1", "--trials", "2"], "set by a second override"),
    "an unknown path": ([*SWEEP, "optimizer.lrr=log:1:2", "--trials", "2"], "did you mean 'lr'"),
    "an upper end that does not fit": ([*SWEEP, "data.validation=linear:0.1:1.5", "--trials", "2"], "1.5"),
    "no validation": ([*SWEEP, LR, "data.validation=0", "--trials", "2", "--prune"], "data.validation is 0"),
    "a seed of a grid": ([*SWEEP, "optimizer.lr=1,2", "--seed", "0"], "--seed needs a search"),
    "pruning of a grid": ([*SWEEP, "optimizer.lr=1,2", "--prune"], "--prune needs a search"),
    "a storage that is none": ([*SWEEP, LR, "--trials", "2", "--storage", "x"], "--storage x: cannot be"),
    "a sampler": ([*SWEEP, LR, "--trials", "2", "--sampler", "best"], "--sampler", "tpe or random"),
    "no recipe": (["sweep"], "Missing argument 'RECIPE'"),
    "nothing to sweep": (SWEEP, "nothing to sweep"),
    "resume of nothing": (["sweep", "--resume", "gone"], "gone/summary.json", "No such file"),
    "resume and a recipe": (["sweep", "--resume", "gone", "digits/ff"], "--resume gone", "remove digits/ff"),
    "resume and pruning": (["sweep", "--resume", "gone", "--prune"], "--resume gone", "remove --prune"),
}


@pytest.mark.parametrize(
    ("argv", "expected"), [(argv, expected) for argv, *expected in REFUSED.values()], ids=REFUSED
)
def test_bad_input_gives_one_line_and_nothing_is_written(argv, expected, place, capsys):
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    for part in expected:
        assert part in err
    assert not list(place.iterdir())


@pytest.mark.slow
def test_a_search_prints_its_trials_and_the_best_and_is_extended(place, capsys):
    assert main([*SWEEP, LR, "--trials", "1", "--run-dir", "search"]) == 0
    assert main(["sweep", "--resume", "search", "--trials", "2"]) == 0
    out, err = capsys.readouterr()
    assert not err
    assert "trial-0001: started, 2 of 2: optimizer.lr=" in out
    assert "best      trial-000" in out
    assert "run it    ffcore run digits/ff trainer.max_epochs=1 trainer.threads=1 " in out
    for name in ("summary.md", "summary.html", "summary.png", "study.db", "trial-0001/results.json"):
        assert f"search/{name}" in out or (place / "search" / name).is_file()
    assert not (place / "search/trial-0001/report.html").exists()
    content = json.loads((place / "search/summary.json").read_text())
    assert content["format"] == 2
    assert [trial["state"] for trial in content["search"]["found"]] == ["done", "done"]

    assert main(["report", "search"]) == 0
    assert "best      trial-000" in capsys.readouterr().out
    swept = Swept.read("search")
    assert swept.best.keys() == {"optimizer.lr"}
    assert 1e-4 <= swept.best["optimizer.lr"] <= 1e-2
    assert "validation error" in repr(swept)


@pytest.mark.thorough
@pytest.mark.slow
def test_a_grid_from_python_is_that_of_the_command(place, capsys):
    swept = ffcore.sweep(
        "digits/ff",
        {"optimizer.lr": [1e-3, 3e-3]},
        trainer={"max_epochs": 1, "threads": 1},
        run_dir="grid",
        bar=True,
        jobs=2,
    )
    out = capsys.readouterr().out
    assert "optimizer.lr-0.001: started, 1 of 2" in out
    assert out.endswith("summary   grid/summary.md\n")
    assert swept.states == {"optimizer.lr-0.001": "done", "optimizer.lr-0.003": "done"}
    assert swept.runs["optimizer.lr-0.001"] == Path("grid/optimizer.lr-0.001")
    assert swept.best["optimizer.lr"] in (1e-3, 3e-3)
    assert "val. error %" in repr(swept)
    assert main(["sweep", "--resume", "grid"]) == 0  # nothing is left to do


@pytest.mark.parametrize(
    ("search", "options", "expected"),
    [
        ({"optimizer.lr": "log:0:1"}, {"trials": 2}, "above 0"),
        ({"optimizer.lr": 0.1}, {"trials": 2}, r"search: optimizer\.lr: 0\.1 should be"),
        ({"optimizer.lr": "log:1:2"}, {}, "needs trials=N, the number"),
        (
            {},
            {"trainer": {"max_epochs": 1}},
            r"give a list of values in search, seeds=\[1, 2\], or .* trials=N",
        ),
        ({"optimizer.lr": "log:1:2"}, {"trials": 2, "seed": -1}, "seed: -1: .*greater than or equal to 0"),
        ({"optimizer.lr": "log:1:2"}, {"trials": 2, "sampler": "best"}, "^sampler: 'best' should be tpe"),
        ({"optimizer.lr": [1, 2]}, {"sampler": "tpe"}, "^sampler needs a search: give ranges and trials=N"),
        ({"optimizer.lr": [1, 2]}, {"jobs": 0}, "jobs: 0 should be a whole number"),
        ({"optimizer.lr": [1, 2]}, {"trials": 1.5}, r"trials: 1\.5 should be a whole number"),
        ({"optimizer.lr": [1, 2]}, {"seeds": [-1]}, "seeds: -1 should be a whole number"),
        ({"optimizer.lr": [1, 2]}, {"network": [object()]}, "network: .* each run of a sweep is a process"),
    ],
)
def test_bad_arguments_are_refused(place, search, options, expected):
    with pytest.raises(UserError, match=expected):
        ffcore.sweep("digits/ff", search, **options)
    assert not list(place.iterdir())


def test_a_component_of_this_process_alone_is_refused(place, plugins):
    plugins.register("goodness", "of-this-process", SumSquares)
    chosen = {"block.goodness.kind": "of-this-process"}
    with pytest.raises(UserError, match=r"(?s)'of-this-process' is not a goodness.*package\.module:Class"):
        ffcore.sweep("digits/ff", {"optimizer.lr": [1e-3, 3e-3]}, **chosen)
    assert not list(place.iterdir())


def test_the_directory_of_no_sweep_is_refused(place):
    with pytest.raises(UserError, match="is not the directory of a sweep"):
        Swept.read(place)


def test_optuna_is_imported_by_searches_only():
    code = "import sys, ffcore, ffcore.sweeps.create, ffcore.cli.sweep; sys.exit('optuna' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
