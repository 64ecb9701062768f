"""Which members words make, what is refused, and what a summary says; processes are stand-ins here."""

import json
import signal
import sys
import threading
import time

import pytest

from ffcore.errors import UserError
from ffcore.files import SUMMARY
from ffcore.run import grid, many
from ffcore.run import sweep as sweeps
from ffcore.run.grid import Member
from ffcore.run.sweep import Sweep

STAND_IN = """
import json, os, pathlib, signal, sys, time
words = sys.argv[1:]
print("GPU", os.environ.get("CUDA_VISIBLE_DEVICES"), "threads", os.environ.get("OMP_NUM_THREADS"))
said = pathlib.Path(words[1]).read_text() if words[1].endswith(".yaml") else "seed: 0"
seed = next(line for line in said.splitlines() if line.startswith("seed:")).removeprefix("seed: ")
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
    return [member.name for member in grid.plan("digits/ff", overrides, seeds)]


@pytest.fixture
def sweep(tmp_path):
    """Makes a sweep of stand-ins: its folder, the words that start a member."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    (tmp_path / "sweep").mkdir()

    def make(*overrides, seeds=()):
        members = grid.plan("digits/ff", overrides, seeds)
        grid.check("digits/ff", members, lambda recipe: None)
        made = Sweep(tmp_path / "sweep", "digits/ff", members)
        made.begin()
        return made, [sys.executable, str(tmp_path / "stand_in.py")]

    return make


def test_seeds_run_fastest_and_names_are_those_of_values():
    assert names("optimizer.lr=1e-3,3e-3", seeds=(1, 2)) == [
        "optimizer.lr-0.001+seed-1",
        "optimizer.lr-0.001+seed-2",
        "optimizer.lr-0.003+seed-1",
        "optimizer.lr-0.003+seed-2",
    ]
    assert names("seed=3,4", "optimizer.lr=1,2")[:2] == ["optimizer.lr-1+seed-3", "optimizer.lr-1+seed-4"]


def test_a_value_that_is_valid_as_it_stands_is_one_value():
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
    ("overrides", "seeds", "said"),
    [
        (["optimizer.lr=1e-3,0.001"], (), "optimizer.lr: 0.001 comes twice"),
        (["optimizer.lr=1e-3,"], (), "optimizer.lr: one of its several values is empty"),
        (["optimizer.lr=1,2", "optimizer.lr=3"], (), "optimizer.lr: .* set a second time"),
        (["seed=3"], (1, 2), "seed: .* set a second time"),
        ([], (1, 1), "seed: 1 comes twice"),
    ],
)
def test_values_that_make_no_grid_are_refused(overrides, seeds, said):
    with pytest.raises(UserError, match=said):
        grid.plan("digits/ff", overrides, seeds)


def test_a_member_that_cannot_work_is_named():
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
def test_members_at_a_time_share_cores_and_gpus(sweep, monkeypatch, devices, taken):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 6)
    several, program = sweep(f"trainer.devices={devices}", seeds=(1, 2))
    assert many.launch(several, program, jobs=2, tell=lambda line: None) == 0
    said = [(several.folder / f"{member.name}.log").read_text() for member in several.members]
    assert {text.split("GPU ")[1].split()[0] for text in said} == taken
    assert all("threads 3" in text for text in said)


def test_a_failed_member_does_not_lose_the_others(sweep):
    several, program = sweep(seeds=(1, 13, 3))
    lines = []
    assert many.launch(several, program, jobs=2, tell=lines.append) == 1
    said = json.loads((several.folder / SUMMARY).read_text())
    assert [one["state"] for one in said["members"]] == ["done", "failed", "done"]
    assert said["members"][1]["error"] == "error: diverged: what a pity"
    assert said["members"][1]["exit_status"] == 1
    assert said["groups"][0]["n"] == 2
    assert said["groups"][0]["test_error"] == {"mean": 14.0, "std": pytest.approx(8**0.5)}
    assert "diverged: what a pity" in (several.folder / "seed-13.log").read_text()
    assert "14.00 ± 2.83" in (several.folder / "summary.md").read_text()
    assert len(lines) == 6

    again = Sweep.read(several.folder)
    assert again == several
    assert many.launch(again, program) == 0
    assert [again.state(member) for member in again.members] == ["done"] * 3
    assert "run --resume" in (several.folder / "seed-13.log").read_text()


def test_the_best_is_so_on_validation_data(sweep):
    several, program = sweep("optimizer.lr=1e-3,3e-3", seeds=(1,))
    assert many.launch(several, program) == 0
    assert sweeps.best_point(several) == ("optimizer.lr=1e-3",)
    assert [row[0] for row in sweeps.rows(several)] == [
        "optimizer.lr-0.001+seed-1 (best val.)",
        "optimizer.lr-0.003+seed-1",
    ]


def test_no_seed_is_the_best(sweep):
    several, program = sweep(seeds=(1, 2))
    many.launch(several, program)
    assert sweeps.best_point(several) is None
    assert sweeps.rows(several)[-1] == ["mean of 2", "13.00 ± 1.41", "20.00 ± 0.00", "", ""]


def test_one_member_has_no_deviation(sweep):
    several, program = sweep(seeds=(5,))
    many.launch(several, program)
    assert sweeps.summary(several)["groups"][0]["test_error"] == {"mean": 20.0, "std": None}


def test_ctrl_c_ends_members_and_the_summary_is_written(sweep):
    several, program = sweep(seeds=(1, 99, 2))

    def press():
        while not (several.folder / "seed-99" / "here").exists():
            time.sleep(0.02)
        signal.raise_signal(signal.SIGINT)

    handler = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=press)
    thread.start()
    assert many.launch(several, program) == 130
    thread.join()
    assert signal.getsignal(signal.SIGINT) is handler
    said = json.loads((several.folder / SUMMARY).read_text())
    assert [one["state"] for one in said["members"]] == ["done", "interrupted", "not started"]


def test_when_the_time_is_up_no_member_starts(sweep):
    several, program = sweep(seeds=(1, 2))
    assert many.launch(several, program, max_time=0) == 0
    assert [several.state(member) for member in several.members] == ["not started"] * 2


def test_members_get_the_time_that_is_left(sweep):
    several, program = sweep(seeds=(1,))
    many.launch(several, program, max_time=20)
    assert "--max-time 20s" in (several.folder / "seed-1.log").read_text()


def test_a_killed_member_says_so(sweep, tmp_path):
    several, _ = sweep(seeds=(1,))
    (tmp_path / "killed.py").write_text("import os; os.kill(os.getpid(), 9)")
    assert many.launch(several, [sys.executable, str(tmp_path / "killed.py")]) == 1
    assert several.members == [Member("seed-1", (), ("seed=1",), 1, 137, "killed by SIGKILL")]


def test_a_member_killed_before_it_had_a_recipe_begins_again(sweep):
    several, program = sweep(seeds=(1,))
    folder = several.folder / "seed-1"
    folder.mkdir()
    (folder / ".config-abc.tmp").touch()
    assert many.launch(several, program) == 0
    assert not list(folder.glob(".*"))
    assert f"run {several.folder / 'seed-1.yaml'} --run-dir" in (several.folder / "seed-1.log").read_text()


def test_damaged_results_of_a_member_are_named(sweep):
    several, program = sweep(seeds=(1,))
    many.launch(several, program)
    (several.folder / "seed-1" / "results.json").write_text("{")
    with pytest.raises(UserError, match=r"seed-1/results.json: damaged: "):
        many.launch(several, program)


def test_a_damaged_summary_is_named(tmp_path):
    (tmp_path / SUMMARY).write_text("{}")
    with pytest.raises(UserError, match=r"summary.json: not the summary of several runs"):
        Sweep.read(tmp_path)
