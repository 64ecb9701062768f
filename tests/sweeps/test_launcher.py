"""The runs and the summary of a sweep; a small script replaces the process of a run."""

import json
import signal
import sys
import threading
import time

import pytest

from ffcore.errors import UserError
from ffcore.files import SUMMARY
from ffcore.sweeps import grid, launcher
from ffcore.sweeps import sweep as sweeps
from ffcore.sweeps.grid import SweepRun
from ffcore.sweeps.sweep import Sweep
from ffcore.sweeps.swept import Swept

STAND_IN = """
import json, os, pathlib, signal, sys, time
words = sys.argv[1:]
print("GPU", os.environ.get("CUDA_VISIBLE_DEVICES"), "threads", os.environ.get("OMP_NUM_THREADS"))
content = pathlib.Path(words[1]).read_text() if words[1].endswith(".yaml") else "seed: 0"
seed = next(line for line in content.splitlines() if line.startswith("seed:")).removeprefix("seed: ")
folder = pathlib.Path(words[words.index("--run-dir" if "--run-dir" in words else "--resume") + 1])
folder.mkdir(exist_ok=True)
(folder / "config.yaml").touch()
if seed == "13" and "--resume" not in words:
    print("error: diverged: what a pity", file=sys.stderr)
    sys.exit(1)
if seed == "99" and "--resume" not in words:
    signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
    (folder / "here").touch()
    time.sleep(30)
accuracy = 0.9 if "lr-0.001" in folder.name else 0.8
results = {"test": {"error": 10.0 + 2 * int(seed)}, "val": {"accuracy": accuracy}, "epochs": 1, "wall_s": 1.5}
(folder / "results.json").write_text(json.dumps(results))
"""


def names(*overrides, seeds=()):
    return [run.name for run in grid.plan("digits/ff", overrides, seeds)]


@pytest.fixture
def sweep(tmp_path):
    """Makes a sweep and the command of the script that replaces ffcore."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "sweep").mkdir()

    def make(*overrides, seeds=()):
        runs = grid.plan("digits/ff", overrides, seeds)
        grid.check("digits/ff", runs, lambda recipe: None)
        made = Sweep(tmp_path / "sweep", "digits/ff", runs)
        made.begin()
        return made, [sys.executable, str(tmp_path / "stand_in.py")]

    return make


def test_seeds_vary_fastest_and_names_have_the_values():
    assert names("optimizer.lr=1e-3,3e-3", seeds=(1, 2)) == [
        "optimizer.lr-0.001+seed-1",
        "optimizer.lr-0.001+seed-2",
        "optimizer.lr-0.003+seed-1",
        "optimizer.lr-0.003+seed-2",
    ]
    assert names("seed=3,4", "optimizer.lr=1,2")[:2] == ["optimizer.lr-1+seed-3", "optimizer.lr-1+seed-4"]


def test_a_value_that_is_valid_as_one_value_is_not_split():
    assert names("lr_schedule={kind: step, epochs: [3, 4]}") == []
    assert names("data={kind: arrays, path: 'a,b.npz'}") == []
    assert names("data.kind=arrays", "data.path=a,b.npz") == []
    assert names("data.kind=arrays", "data.path=a,b.npz", "optimizer.lr=1,2") == [
        "optimizer.lr-1",
        "optimizer.lr-2",
    ]


def test_values_may_be_kinds_and_structures():
    assert names("optimizer=adam,sgd") == ["optimizer-adam", "optimizer-sgd"]
    assert names("optimizer.lr=1e30,-2") == ["optimizer.lr-1e30", "optimizer.lr--2"]
    first, second = grid.plan("digits/ff", ["network=[{kind: dense, units: 9}],[{kind: dense, units: 8}]"])
    assert first.overrides == ("network=[{kind: dense, units: 9}]",)
    assert second.name == "network-kind-dense-units-8"


@pytest.mark.parametrize(
    ("overrides", "seeds", "expected"),
    [
        (["optimizer.lr=1e-3,0.001"], (), "optimizer.lr: 0.001 is given twice"),
        (["optimizer.lr=1e-3,"], (), "optimizer.lr: one of its values is empty"),
        (["optimizer.lr=1,2", "optimizer.lr=3"], (), "optimizer.lr: .* set by a second override"),
        (["seed=3"], (1, 2), "seed: .* set by a second override"),
        ([], (1, 1), "seed: 1 is given twice"),
    ],
)
def test_invalid_lists_of_values_raise(overrides, seeds, expected):
    with pytest.raises(UserError, match=expected):
        grid.plan("digits/ff", overrides, seeds)


def test_an_invalid_run_is_named():
    with pytest.raises(UserError, match=r"optimizer\.lr: 'fast'"):
        grid.check("digits/ff", grid.plan("digits/ff", ["optimizer.lr=1e-3,fast"]), lambda recipe: None)

    def build(recipe):
        if recipe.optimizer.options.lr == 2:
            raise UserError("the parts do not fit")

    with pytest.raises(UserError, match=r"^with optimizer\.lr=2: the parts do not fit"):
        grid.check("digits/ff", grid.plan("digits/ff", ["optimizer.lr=1,2"]), build)
    with pytest.raises(UserError, match=r"^with optimizer\.lr=2: the parts do not fit"):
        grid.check("digits/ff", grid.plan("digits/ff", ["data.batch_size=10,20", "optimizer.lr=1,2"]), build)
    with pytest.raises(UserError, match=r"^the parts do not fit"):
        grid.check("digits/ff", grid.plan("digits/ff", ["data.batch_size=10,20", "optimizer.lr=2"]), build)


@pytest.mark.parametrize(("devices", "taken"), [(1, {"4", "7"}), (2, {"4,7"})])
def test_simultaneous_runs_share_cores_and_gpus(sweep, monkeypatch, devices, taken):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    several, program = sweep(f"trainer.devices={devices}", seeds=(1, 2))
    assert launcher.launch(several, program, jobs=2, tell=lambda line: None) == 0
    content = [(several.folder / f"{run.name}.log").read_text() for run in several.runs]
    assert {text.split("GPU ")[1].split()[0] for text in content} == taken
    assert all("threads 3" in text for text in content)


def test_a_failed_run_does_not_lose_the_others(sweep):
    several, program = sweep(seeds=(1, 13, 3))
    lines = []
    assert launcher.launch(several, program, jobs=2, tell=lines.append) == 1
    content = json.loads((several.folder / SUMMARY).read_text())
    assert [one["state"] for one in content["members"]] == ["done", "failed", "done"]
    assert content["members"][1]["error"] == "error: diverged: what a pity"
    assert content["members"][1]["exit_status"] == 1
    assert content["groups"][0]["n"] == 2
    assert content["groups"][0]["test_error"] == {"mean": 14.0, "std": pytest.approx(8**0.5)}
    assert "diverged: what a pity" in (several.folder / "seed-13.log").read_text()
    assert "14.00 ± 2.83" in (several.folder / "summary.md").read_text()
    assert len(lines) == 6

    again = Sweep.read(several.folder)
    assert again == several
    assert launcher.launch(again, program) == 0
    assert [again.state(run) for run in again.runs] == ["done"] * 3
    assert "run --resume" in (several.folder / "seed-13.log").read_text()


def test_the_best_point_is_chosen_on_validation_data(sweep):
    several, program = sweep("optimizer.lr=1e-3,3e-3", seeds=(1,))
    assert launcher.launch(several, program) == 0
    assert sweeps.best_points(several) == [("optimizer.lr=1e-3",)]
    assert [row[0] for row in sweeps.rows(several)] == [
        "optimizer.lr-0.001+seed-1 (best val.)",
        "optimizer.lr-0.003+seed-1",
    ]


def test_seeds_are_not_compared(sweep):
    several, program = sweep(seeds=(1, 2))
    launcher.launch(several, program)
    assert sweeps.best_points(several) == []
    assert sweeps.rows(several)[-1] == ["mean of 2", "13.00 ± 1.41", "20.00 ± 0.00", "", ""]


def test_the_deviation_is_explained(sweep):
    several, program = sweep(seeds=(1, 2))
    assert sweeps.remarks(several) == []  # no run has finished
    launcher.launch(several, program)
    assert sweeps.remarks(several) == ["± is the sample standard deviation over seeds"]
    assert sweeps.DEVIATION in (several.folder / "summary.md").read_text()


def test_points_with_other_data_are_not_compared(sweep):
    noisy, program = sweep("data.label_noise=0,0.2")
    launcher.launch(noisy, program)
    assert sweeps.best_points(noisy) == []
    assert sweeps.remarks(noisy) == [
        "no point is marked as best: data.label_noise changes the labels that are learned, not those of "
        "validation and test, so it is no setting to choose"
    ]
    assert sweeps.remarks(noisy)[0] in (noisy.folder / "summary.md").read_text()
    assert Swept(noisy.folder).best is None


def test_points_are_compared_among_those_with_the_same_data(sweep):
    both, program = sweep("data.split_seed=1,2", "optimizer.lr=1e-3,3e-3", seeds=(1,))
    launcher.launch(both, program, jobs=2)
    assert sweeps.best_points(both) == [(f"data.split_seed={seed}", "optimizer.lr=1e-3") for seed in (1, 2)]
    assert sweeps.remarks(both) == [
        "(best val.) is among points with equal data: points with another data.split_seed are validated on "
        "other data"
    ]
    assert Swept(both.folder).best is None


def test_a_resumed_sweep_has_as_many_jobs_as_before_unless_given(sweep, monkeypatch):
    seen = []
    monkeypatch.setattr(launcher._Work, "until_done", lambda work, *_: seen.append(work.jobs))
    several, program = sweep(seeds=(1, 2))
    launcher.launch(several, program, jobs=2)
    for jobs in (None, 3, None):
        launcher.launch(Sweep.read(several.folder), program, jobs=jobs)
    assert seen == [2, 2, 3, 3]


def test_one_run_has_no_deviation(sweep):
    several, program = sweep(seeds=(5,))
    launcher.launch(several, program)
    assert sweeps.summary(several)["groups"][0]["test_error"] == {"mean": 20.0, "std": None}


def test_ctrl_c_ends_the_runs_and_the_summary_is_written(sweep):
    several, program = sweep(seeds=(1, 99, 2))

    def press():
        while not (several.folder / "seed-99" / "here").exists():
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    assert launcher.launch(several, program) == 130
    thread.join()
    assert signal.getsignal(signal.SIGINT) is handler
    content = json.loads((several.folder / SUMMARY).read_text())
    assert [one["state"] for one in content["members"]] == ["done", "interrupted", "not started"]


def test_after_max_time_no_run_starts(sweep):
    several, program = sweep(seeds=(1, 2))
    assert launcher.launch(several, program, max_time=0) == 0
    assert [several.state(run) for run in several.runs] == ["not started"] * 2


def test_runs_get_the_remaining_time(sweep):
    several, program = sweep(seeds=(1,))
    launcher.launch(several, program, max_time=20)
    assert "--max-time 20s" in (several.folder / "seed-1.log").read_text()


def test_a_killed_run_is_reported(sweep, tmp_path):
    several, _ = sweep(seeds=(1,))
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    assert launcher.launch(several, [sys.executable, str(tmp_path / "killed.py")]) == 1
    assert several.runs == [SweepRun("seed-1", (), ("seed=1",), 1, 137, "killed by SIGKILL")]


def test_a_run_killed_before_it_had_a_recipe_begins_again(sweep):
    several, program = sweep(seeds=(1,))
    folder = several.folder / "seed-1"
    folder.mkdir()
    (folder / ".config-abc.tmp").touch()
    assert launcher.launch(several, program) == 0
    assert not list(folder.glob(".*"))
    assert f"run {several.folder / 'seed-1.yaml'} --run-dir" in (several.folder / "seed-1.log").read_text()


def test_damaged_results_of_a_run_are_named(sweep):
    several, program = sweep(seeds=(1,))
    launcher.launch(several, program)
    (several.folder / "seed-1" / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"seed-1/results.json: damaged: "):
        launcher.launch(several, program)


def test_a_damaged_summary_is_named(tmp_path):
    (tmp_path / SUMMARY).write_text("{}")
    with pytest.raises(UserError, match=r"summary.json: not the summary of a sweep"):
        Sweep.read(tmp_path)
