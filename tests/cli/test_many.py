"""Sweeps and resumed runs on the command line: files, summary, output."""

import json
from pathlib import Path

import pytest

from ffcore.cli.main import main
from ffcore.errors import TimeUpError
from ffcore.plugin import manager
from ffcore.sweeps.sweep import Sweep

RUN = ["run", "digits/ff", "trainer.max_epochs=1", "trainer.threads=1"]
PLUGIN = """
import os, sys
from ffcore.plugin import hookimpl

@hookimpl
def ffcore_register(registry):
    if any("seed-2" in word for word in sys.argv):
        if not os.path.exists("good mood"):
            raise RuntimeError("not today")
        from ffcore.report import write
        write.SECTIONS.clear()  # the report is not needed
"""


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    manager.use(None)


@pytest.fixture
def asked(monkeypatch):
    """Records the arguments of ``train`` and ``resume``, which run out of time."""
    calls = []

    def time_is_up(*args, **options):
        calls.append((args, options))
        raise TimeUpError(args[-1] or Path("runs/digits-ff-today"))

    for name in ("train", "resume"):
        monkeypatch.setattr(f"ffcore.run.{name}.{name}", time_is_up)
    return calls


REFUSED = {
    "a bad value of a grid": ([*RUN, "optimizer.lr=1e-3,fast"], "optimizer.lr: 'fast'", "valid number"),
    "a grid that does not build": (
        [*RUN[:2], "trainer.max_epochs=3,1", "schedule=greedy"],
        "with trainer.max_epochs=1",
        "3 blocks need 3 epochs",
    ),
    "data of a sweep": (
        ["run", "mnist/ff", "data.root=gone", "--seeds", "1,2"],
        "data.root: gone: there is no such",
    ),
    "the start of a sweep": ([*RUN, "start.run=gone", "--seeds", "1,2"], "error: start.run: ", "'gone'"),
    "callbacks of a sweep": ([*RUN, "trainer.callbacks=[None]", "--seeds", "1,2"], "trainer.callbacks.0"),
    "devices of a sweep": ([*RUN, "trainer.devices=999", "--seeds", "1,2"], "trainer.devices: 999"),
    "patience of a sweep": (
        [*RUN, "trainer.patience=1", "data.validation=0", "optimizer.lr=1,2"],
        "error: trainer.patience",
    ),
    "a short name": ([*RUN, "lr=1e-3,3e-3"], "unknown key 'lr'", "optimizer"),
    "seeds that are none": ([*RUN, "--seeds", "1,x"], "--seeds", "'1,x'", "such as 1,2,3"),
    "a seed twice": ([*RUN, "--seeds", "1,1"], "seed: 1 is given twice"),
    "seeds and a seed": ([*RUN, "seed=1", "--seeds", "1,2"], "seed", "by a second override"),
    "a folder in use": ([*RUN, "--seeds", "1,2", "--run-dir", "full"], "run directory full", "not empty"),
    "jobs of one run": ([*RUN, "--jobs", "2"], "--jobs", "--seeds 1,2"),
    "no jobs": ([*RUN, "--seeds", "1,2", "--jobs", "0"], "--jobs", "0"),
    "no time": ([*RUN, "--max-time", "soon"], "--max-time", "'soon'", "1h30m"),
    "a time of nothing": ([*RUN, "--max-time", "0m"], "--max-time", "'0m'"),
    "a time in no order": ([*RUN, "--max-time", "30m1h"], "--max-time", "'30m1h'"),
    "resume and overrides": (["run", "--resume", "full", *RUN[1:]], "--resume", "overrides"),
    "resume and an override alone": (["run", "--resume", "full", "seed=2"], "--resume", "overrides"),
    "resume and seeds": (["run", "--resume", "full", "--seeds", "1"], "--resume", "--seeds"),
    "resume and a folder": (["run", "--resume", "full", "--run-dir", "new"], "--resume", "--run-dir"),
    "resume of several by name": (["run", "--resume", "several", "digits/ff"], "several", "'digits/ff'"),
    "resume of a broken summary": (["run", "--resume", "several"], "summary.json", "not the summary"),
    "resume of no run": (["run", "--resume", "full"], "full: ", "not a run directory"),
}


@pytest.mark.parametrize(
    ("argv", "expected"), [(argv, expected) for argv, *expected in REFUSED.values()], ids=REFUSED
)
def test_bad_input_gives_one_line_and_nothing_is_written(argv, expected, place, capsys):
    for file in ("full/note.txt", "several/summary.json"):
        (place / file).parent.mkdir()
        (place / file).write_text("{}")
    before = sorted(place.rglob("*"))
    assert main(argv) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    for part in expected:
        assert part in err
    assert sorted(place.rglob("*")) == before


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("30m", 1800), ("2h", 7200), ("1h30m", 5400)]
)
def test_a_run_out_of_time_prints_how_to_resume_it(text, seconds, asked, capsys):
    assert main([*RUN, "--max-time", text, "--run-dir", "a run"]) == 0
    assert asked[0][1]["max_time"] == seconds
    after = "90s" if text == "90" else text
    expected = f"stopped after {after}: resume a run with `ffcore run --resume 'a run'`\n"
    assert capsys.readouterr().out == expected


def test_resume_checks_the_recipe_if_one_is_given(asked, capsys):
    assert main(["run", "--resume", "there", "--max-time", "1m"]) == 0
    assert main(["run", "--resume", "there", "digits/ff"]) == 0
    (_, first), (_, second) = asked
    assert first["recipe"] is None
    assert first["max_time"] == 60
    assert first["command"] == "ffcore run --resume there --max-time 1m"
    assert second["recipe"].name == "digits/ff"
    assert second["max_time"] is None


def test_the_run_directory_is_printed_without_run_dir(asked, capsys):
    assert main([*RUN, "--max-time", "1m"]) == 0
    assert "ffcore run --resume runs/digits-ff-today`" in capsys.readouterr().out


@pytest.mark.thorough
@pytest.mark.slow
def test_resume_runs_the_failed_run_of_a_sweep_again(place, capsys):
    (place / "moody.py").write_text(PLUGIN)
    assert main(["--plugin", "moody.py", *RUN, "--seeds", "1,2", "--run-dir", "both"]) == 1
    out = capsys.readouterr().out
    assert out.startswith("seed-1: started, 1 of 2\nseed-1: done in ")
    assert "seed-2: failed: error: plugin file 'moody.py' is broken: RuntimeError: not today\n" in out
    first = json.loads((place / "both/summary.json").read_text())["members"]
    assert [one["exit_status"] for one in first] == [0, 2]
    assert not (place / "both/seed-1/report.html").exists()
    results = (place / "both/seed-1/results.json").read_bytes()
    assert json.loads(results)["seed"] == 1

    (place / "good mood").touch()
    manager.use(None)
    assert main(["--plugin", "moody.py", "run", "--resume", "both"]) == 0
    out = capsys.readouterr().out
    assert "seed-1: started" not in out
    assert "mean of 2" in out
    assert "±" in (place / "both/summary.md").read_text()
    second = json.loads((place / "both/summary.json").read_text())
    assert [one["state"] for one in second["members"]] == ["done", "done"]
    assert second["members"][0] == first[0]
    assert (place / "both/seed-1/results.json").read_bytes() == results


@pytest.mark.thorough
def test_a_sweep_writes_reports_on_request_also_when_resumed(place, capsys):
    assert main([*RUN, "--seeds", "1", "--run-dir", "one", "--report"]) == 0
    assert (place / "one/seed-1/report.html").is_file()
    assert Sweep.read(place / "one").report
    assert "--report" in (place / "one/seed-1.log").read_text().splitlines()[0]


@pytest.mark.parametrize(("words", "report"), [([], True), (["--no-report"], False)])
def test_a_resumed_sweep_keeps_its_report_option_unless_given(monkeypatch, place, words, report):
    launched = []

    def launch(sweep, *args, **options):
        launched.append(sweep.report)
        return 0

    monkeypatch.setattr("ffcore.sweeps.launcher.launch", launch)
    assert main([*RUN, "--seeds", "1,2", "--run-dir", "both", "--report"]) == 0
    assert main(["run", "--resume", "both", *words]) == 0
    assert launched == [True, report]
