"""A search: its trials, pruning, several workers, and what happens if something ends early.

A small script replaces the process of a run.
"""

import json
import signal
import sys
import threading
import time

import optuna
import pytest

from ffcore.errors import RunError, UserError
from ffcore.files import SUMMARY
from ffcore.recipe.load import load
from ffcore.sweeps import create, launcher, search_report, study
from ffcore.sweeps.checking import Facts
from ffcore.sweeps.picture import draw
from ffcore.sweeps.search import Search
from ffcore.sweeps.sweep import Sweep

STAND_IN = """
import json, pathlib, signal, sys, time, yaml
words = sys.argv[1:]
again = "--resume" in words
folder = pathlib.Path(words[words.index("--resume" if again else "--run-dir") + 1])
folder.mkdir(exist_ok=True)
if not again:
    (folder / "config.yaml").write_text(pathlib.Path(words[1]).read_text())
recipe = yaml.safe_load((folder / "config.yaml").read_text())
units, seed, mode = recipe["network"][0]["units"], recipe["seed"], recipe["title"]
if mode == "fail" or (mode == "fail above 50" and units > 50):
    sys.exit("error: diverged")
error = units / 1000 + seed / 100
bad = mode == "prune" and int(folder.name[6:10]) >= 5
waits = (bad or mode in ("wait", "deaf")) and not again
if waits:  # before the file that tells the parent of it
    signal.signal(signal.SIGINT, signal.SIG_IGN if mode == "deaf" else lambda *_: sys.exit(130))
(folder / "draft").write_text(f"epoch,val_accuracy\\n1,{0.1 if bad else 1 - error}\\n2,\\n")
(folder / "draft").rename(folder / "metrics.csv")
if waits:
    time.sleep(30)
results = {"test": {"error": 50.0}, "val": {"accuracy": 1 - error}, "epochs": 2, "wall_s": 1.5}
(folder / "draft").write_text(json.dumps(results))
(folder / "draft").rename(folder / "results.json")
"""
RANGE = "network.0.units=int:10:100"


@pytest.fixture(autouse=True)
def apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.setattr("ffcore.sweeps.checking.checker", lambda: lambda recipe: Facts(True, None, False))
    monkeypatch.setattr(study, "_engine_options", lambda url: {"connect_args": {"timeout": 5}})


def begin(name="search", *overrides, trials=4, seeds=(), **options):
    from pathlib import Path

    overrides = overrides or (RANGE,)
    return create.create(
        "digits/ff", overrides, seeds, {"trials": trials, **options}, run_dir=Path(name), command="ffcore …"
    )


def launch(sweep, jobs=1, **options):
    return launcher.launch(sweep, [sys.executable, "stand_in.py"], jobs=jobs, **options)


def points(sweep):
    return [run.point for run in sweep.runs]


def press_when(exists, times=1):
    def press():
        while not exists.exists():
            time.sleep(0.02)
        for _ in range(times):
            time.sleep(0.2)
            signal.raise_signal(signal.SIGINT)

    threading.Thread(target=press).start()


def test_a_trial_is_an_ordinary_run_and_the_best_is_chosen_on_validation(tmp_path):
    sweep = begin("search", RANGE, "seed=0")
    lines = []
    assert launch(sweep, jobs=2, tell=lines.append) == 0
    assert [run.name for run in sweep.runs] == ["trial-0000", "trial-0001", "trial-0002", "trial-0003"]
    for run in sweep.runs:
        assert (tmp_path / "search" / run.name / "results.json").is_file()
        assert f"units: {run.point[0].partition('=')[2]}\n" in sweep.recipe_of(run).read_text()
    units = {number: int(run.point[0].partition("=")[2]) for number, run in enumerate(sweep.runs)}
    best = sweep.search.best
    assert best.number == min(units, key=units.get)
    assert best.value == pytest.approx(units[best.number] / 10)  # percent
    assert any(line.startswith("trial-0000: started, 1 of 4: network.0.units=") for line in lines)
    assert (
        search_report.command(sweep, best)
        == f"ffcore run digits/ff seed=0 {sweep.runs[best.number].point[0]}"
    )
    assert Sweep.read(sweep.folder) == sweep


def test_the_report_has_the_best_point_the_trials_and_a_picture():
    sweep = begin("search", RANGE, "optimizer.lr=log:1e-4:1e-1", trials=9, sampler="random")
    assert launch(sweep, jobs=4) == 0
    shares = sweep.search.importance
    assert sum(shares.values()) == pytest.approx(1)
    assert shares["network.0.units"] > shares["optimizer.lr"]  # the error depends on units alone
    problems = []
    assert draw(sweep, problems.append) == sweep.folder / "summary.png"
    assert not problems
    text = (sweep.folder / "summary.md").read_text()
    for part in ("## Best point", "Its test error is 50.00 %", "summary.png", "PED-ANOVA", "log:0.0001:0.1"):
        assert part in text
    assert "data:image/svg+xml" in (sweep.folder / "summary.html").read_text()


def test_the_same_seed_gives_the_same_trials_also_when_resumed():
    whole, halves, other = begin("a", seed=7), begin("b", trials=2, seed=7), begin("c", trials=2, seed=8)
    launch(whole)
    launch(halves)
    launch(create.reopened(halves.folder, trials=4))
    launch(other)
    assert points(Sweep.read(halves.folder)) == points(whole)
    assert len(set(points(whole))) > 1
    assert points(other) != points(whole)[:2]


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/x.db"])
def test_a_storage_that_does_not_open_leaves_the_search_as_it_was(url):
    sweep = begin(trials=1)
    launch(sweep)
    before = (sweep.folder / "summary.json").read_text()
    with pytest.raises(UserError, match=r"cannot be opened|is gone"):
        launch(create.reopened(sweep.folder, storage=url, trials=3))
    assert (sweep.folder / "summary.json").read_text() == before
    assert launch(create.reopened(sweep.folder, trials=2)) == 0


def test_fewer_trials_than_a_search_has_had_are_refused():
    sweep = begin(trials=2)
    launch(sweep)
    with pytest.raises(UserError, match=r"^--trials: 1: the search has had 2 trials; give more"):
        create.reopened(sweep.folder, trials=1)


def test_the_value_of_a_trial_is_the_mean_over_its_seeds():
    sweep = begin(seeds=(1, 3), trials=2)
    launch(sweep)
    assert [run.name for run in sweep.runs][:2] == ["trial-0000+seed-1", "trial-0000+seed-3"]
    units = int(sweep.runs[0].point[0].partition("=")[2])
    assert sweep.search.found[0].value == pytest.approx(units / 10 + 2)
    assert len(search_report.rows(sweep)) == 2
    assert "±" in search_report.rows(sweep)[0][3]
    assert search_report.command(sweep, sweep.search.best).endswith("--seeds 1,3")


def test_a_headline_of_which_more_is_better_is_maximised(monkeypatch):
    monkeypatch.setattr("ffcore.sweeps.checking.checker", lambda: lambda recipe: Facts(True, "r2", False))
    sweep = begin(storage="sqlite:///shared.db")
    with study._quiet():
        made = optuna.load_study(study_name="digits/ff", storage="sqlite:///shared.db")
    assert made.direction == optuna.study.StudyDirection.MAXIMIZE
    trials = [{"number": n, "state": "done", "value": n, "values": {"network.0.units": "9"}} for n in (0, 1)]
    assert Search(**(sweep.search.model_dump() | {"found": trials})).best.number == 1


def test_a_failed_trial_does_not_end_the_search():
    sweep = begin("search", RANGE, "title=fail above 50", trials=8)
    assert launch(sweep) == 0
    states = {trial.state for trial in sweep.search.found}
    assert states == {"done", "failed"}
    assert "failed with exit status 1: error: diverged" in (sweep.folder / "summary.md").read_text()
    assert launch(Sweep.read(sweep.folder)) == 0  # nothing is left: a failed trial is not tried again
    assert launch(begin("none", RANGE, "title=fail", trials=2)) == 1


def test_the_reason_of_a_trial_that_began_no_run_is_in_the_summary(monkeypatch, tmp_path):
    sweep = begin(trials=1)

    def refused(*given):
        raise UserError("units: too many")

    monkeypatch.setattr(Search, "runs", refused)
    assert launch(sweep) == 1
    assert Sweep.read(sweep.folder).search.found[0].error == "units: too many"
    assert "trial-0000 failed: units: too many" in (tmp_path / "search" / "summary.md").read_text()


def test_a_trial_worse_than_the_median_is_pruned():
    sweep = begin("search", RANGE, "title=prune", trials=7, prune=True)
    assert launch(sweep) == 0
    assert [trial.state for trial in sweep.search.found] == ["done"] * 5 + ["pruned"] * 2
    assert sweep.search.found[5].value == pytest.approx(90)  # the last one
    members = json.loads((sweep.folder / SUMMARY).read_text())["members"]
    assert [one["state"] for one in members] == ["done"] * 5 + ["pruned"] * 2
    assert "pruned, 90.00" in (sweep.folder / "summary.md").read_text()
    assert search_report.rows(sweep, best_first=True)[0][0].endswith("(best val.)")


@pytest.mark.parametrize(("mode", "times"), [("wait", 1), ("deaf", 3)])
def test_ctrl_c_leaves_a_study_that_is_resumed(tmp_path, mode, times):
    sweep = begin("search", RANGE, f"title={mode}", trials=1)
    press_when(tmp_path / "search" / "trial-0000" / "metrics.csv", times)
    assert launch(sweep) == 130
    assert sweep.search.found[0].state == "running"
    again = Sweep.read(sweep.folder)
    assert again.state(again.runs[0]) == "interrupted"
    assert launch(again) == 0
    assert [trial.state for trial in again.search.found] == ["done"]
    assert "--resume" in again.log_of(again.runs[0]).read_text()


def test_a_killed_worker_continues_with_its_trials():
    sweep = begin(trials=3)
    with pytest.raises(RuntimeError, match="killed"):
        launch(sweep, tell=killed)
    # as if it had been killed between the storage and the summary, too
    mine = study.Study(sweep.search, "digits/ff", sweep.folder, begun=True)
    number, _ = mine.ask()
    again = Sweep.read(sweep.folder)
    assert launch(again) == 0
    names = [run.name for run in again.runs]
    assert "trial-0000" in names
    assert f"trial-{number:04d}" not in names
    assert len(names) == 3


def killed(line):
    raise RuntimeError("killed")


@pytest.mark.thorough
def test_workers_share_the_trials_of_a_study():
    url = "sqlite:///shared.db"
    first, second = begin("a", trials=2, storage=url), begin("b", trials=5, storage=url)
    launch(first)
    lines = []
    launch(second, tell=lines.append)
    assert lines[0] == "study digits/ff: 2 trials of other workers"
    assert [run.name for run in second.runs] == ["trial-0002", "trial-0003", "trial-0004"]
    assert [row[0].split(" (")[0] for row in search_report.rows(second)][:2] == [
        "trial-0000 elsewhere",
        "trial-0001 elsewhere",
    ]
    launch(third := begin("c", trials=5, storage=url))
    assert third.runs == []


def test_a_trial_of_a_lost_worker_is_given_up_and_its_late_result_is_kept(monkeypatch):
    url = "sqlite:///shared.db"
    lost = begin("lost", trials=2, storage=url)
    with pytest.raises(RuntimeError, match="killed"):
        launch(lost, tell=killed)
    other = begin("other", trials=2, storage=url)
    monkeypatch.setattr(study, "STALE_S", -1.0)
    launch(other)
    assert [run.name for run in other.runs] == ["trial-0001", "trial-0002"]
    launch(again := Sweep.read(lost.folder))
    assert [run.name for run in again.runs] == ["trial-0000"]
    done = [trial.number for trial in again.search.found if trial.state == "done"]
    assert done == [0, 1, 2]


@pytest.mark.parametrize(
    ("overrides", "options", "expected"),
    [
        (["network.0.units=int:10:200"], {}, r"the ranges network.0.units=int:10:100, not .*int:10:200"),
        ([RANGE], {"seeds": (1, 2)}, "the seeds of the recipe, not 1,2"),
        ([RANGE, "data.batch_size=50"], {}, "its recipe digits/ff has other values or overrides"),
    ],
)
def test_the_study_of_another_search_is_not_joined(tmp_path, overrides, options, expected):
    begin("a", storage="sqlite:///shared.db")
    with pytest.raises(UserError, match=rf"study 'digits/ff' in .* is another search: .*{expected}.*--study"):
        begin("b", *overrides, storage="sqlite:///shared.db", **options)
    assert not (tmp_path / "b").exists()
    begin("b", *overrides, storage="sqlite:///shared.db", study="mine", **options)


def test_the_devices_of_a_worker_are_its_own():
    begin("a", storage="sqlite:///shared.db")
    begin("b", RANGE, "trainer.threads=2", storage="sqlite:///shared.db")


def test_a_study_that_is_not_ours_is_refused():
    url = "sqlite:///theirs.db"
    with study._quiet():
        optuna.create_study(storage=url, study_name="digits/ff").ask()
    with pytest.raises(UserError, match="was not made by ffcore"):
        begin(storage=url)


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////nowhere/x.db", "mysql://me:secret@host/x"])
def test_a_storage_that_cannot_be_opened_is_named_without_its_password(tmp_path, url):
    with pytest.raises(UserError, match=r"^--storage .*: cannot be opened: ") as caught:
        begin(storage=url)
    assert "secret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["stand_in.py"]


def test_a_storage_that_is_gone_ends_the_runs_and_the_search_is_resumed_with_it(tmp_path):
    sweep = begin("search", RANGE, "title=wait", trials=1)
    database = tmp_path / "search" / "study.db"

    def remove():
        while not (tmp_path / "search" / "trial-0000" / "metrics.csv").exists():
            time.sleep(0.02)
        time.sleep(0.1)
        database.rename(tmp_path / "moved.db")
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=remove).start()
    with pytest.raises(
        RunError, match=r"storage of the search is gone; .*resume with `ffcore sweep --resume"
    ):
        launch(sweep)
    with pytest.raises(UserError, match="gone; if it has moved: --storage URL"):
        launch(Sweep.read(sweep.folder))
    assert launch(create.reopened(sweep.folder, storage="sqlite:///moved.db")) == 0


def test_a_password_is_not_written():
    sweep = begin()
    sweep.search.storage = "postgresql://me:***@host/x"
    sweep.write()
    with pytest.raises(UserError, match=r"password .* is not stored: give --storage URL"):
        create.reopened(sweep.folder)


@pytest.mark.parametrize(
    ("overrides", "options", "expected"),
    [
        (["seed=1"], {}, "--trials needs a search"),
        ([RANGE], {"sampler": "grid"}, "--sampler: 'grid' should be tpe or random"),
        ([RANGE], {"seeds": (1, 1)}, "seed: 1 is given twice"),
        ([RANGE, "seed=3"], {"seeds": (1, 2)}, "seed: --seeds are given"),
        ([RANGE], {"trials": None, "prune": True}, "--prune needs a search"),
        ([RANGE], {"trials": None}, "network.0.units: the range 'int:10:100' needs --trials N"),
        (["seed=3"], {"trials": None}, "nothing to sweep"),
        (["network.0.unit=int:1:2"], {}, "unknown key 'unit'"),
        (["network.0.units=int:0:9"], {}, "network.0.units: 0 should be greater"),
        (["network.0.units=linear:10:80"], {}, "valid integer"),
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(tmp_path, overrides, options, expected):
    with pytest.raises(UserError, match=expected):
        begin("search", *overrides, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["stand_in.py"]


def test_a_value_that_only_a_build_refuses_is_found_before_the_first_run(tmp_path, monkeypatch):
    def build(recipe):
        if recipe.network[0].body.options.units == 100:
            raise UserError("too large")
        return Facts(True, None, False)

    monkeypatch.setattr("ffcore.sweeps.checking.checker", lambda: build)
    with pytest.raises(UserError, match=r"^with network\.0\.units=100: too large"):
        begin()
    assert [path.name for path in tmp_path.iterdir()] == ["stand_in.py"]


def test_runs_without_a_validation_split_cannot_be_compared(monkeypatch):
    monkeypatch.setattr("ffcore.sweeps.checking.checker", lambda: lambda recipe: Facts(False, None, False))
    with pytest.raises(UserError, match=r"by their validation, but data\.validation is 0"):
        begin(prune=True)


def test_relative_paths_of_overrides_are_those_of_the_first_directory(tmp_path):
    (tmp_path / "x.npz").touch()
    sweep = begin("search", RANGE, "data.kind=arrays", "data.path=x.npz")
    assert f'data.path="{tmp_path}/x.npz"' in sweep.search.overrides


def test_a_searched_component_keeps_the_options_that_are_searched_too():
    sweep = begin("search", "optimizer.lr=log:0.1:0.2", "optimizer=choice:sgd,rmsprop", trials=1)
    launch(sweep)
    recipe = load(str(sweep.recipe_of(sweep.runs[0])))
    assert recipe.optimizer.kind in ("sgd", "rmsprop")
    assert 0.1 <= recipe.optimizer.options.lr <= 0.2
    words = search_report.command(sweep, sweep.search.found[0]).split()
    assert words.index(f"optimizer={recipe.optimizer.kind}") < len(words) - 1  # before its option


def test_without_optuna_one_line_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.delitem(sys.modules, "ffcore.sweeps.study")
    monkeypatch.delattr("ffcore.sweeps.study")
    with pytest.raises(UserError, match=r"^a search needs Optuna: pip install 'ffcore\[sweep\]'$"):
        begin()
    assert create.create("digits/ff", ["optimizer.lr=1,2"]).runs  # a grid needs none


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("ranges", {"a": "log:2:1"}, "search.ranges: a: .*below the upper end"),
        ("found", [{"number": 0, "state": "done", "value": 1.0, "values": {}}], "trial 0 has no value of"),
        ("trials", 0, r"search\.trials"),
    ],
)
def test_a_damaged_summary_is_named(key, value, expected):
    sweep = begin()
    file = sweep.folder / SUMMARY
    content = json.loads(file.read_text())
    content["search"][key] = value
    file.write_text(json.dumps(content))
    with pytest.raises(UserError, match=rf"summary\.json: not the summary of a sweep: .*{expected}"):
        Sweep.read(sweep.folder)


def test_a_grid_is_written_in_the_format_of_earlier_versions():
    sweep = create.create("digits/ff", ["optimizer.lr=1,2"])
    content = json.loads((sweep.folder / SUMMARY).read_text())
    assert content["format"] == 1
    assert content.keys() == {"format", "recipe", "command", "report", "jobs", "members", "groups"}
    assert "trial" not in content["members"][0]
    with pytest.raises(UserError, match="is a grid, not a search"):
        create.reopened(sweep.folder, trials=3)
