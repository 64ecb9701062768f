"""`ffcore run` on two ranks: started, stopped and killed from outside."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
import torch

from ffcore.cli.main import main
from ffcore.plugin import manager
from ffcore.run import checkpoints

pytestmark = pytest.mark.slow

RUN = ["run", "digits/ff", "network.0.units=40", "trainer.accelerator=cpu", "trainer.threads=1"]
TWO = [*RUN, "trainer.devices=2"]
LONG = [*TWO, "trainer.max_epochs=500", "lr_schedule.kind=constant"]
STARTED = []
TORCHRUN = [
    *("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=2"),
    *("-m", "ffcore"),
]


def ffcore(*words, program=("-m", "ffcore"), **environment):
    """Start ffcore in a separate process and session, for Ctrl-C."""
    process = subprocess.Popen(
        [sys.executable, *program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )
    STARTED.append(process)
    return process


def ended(process, **more):
    """Wait for the process. Returns its exit code, its output, and the living processes of its session."""
    out, err = process.communicate(timeout=120)
    return SimpleNamespace(code=process.returncode, out=out, err=err, left=left(process), **more)


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


def until(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def session(process, column):
    """Returns a column of ps for each process of its session."""
    words = ["ps", "-o", f"{column}=", "-s", str(process.pid)]
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout.split()


def left(process):
    """Returns the processes that are still alive."""
    return [state for state in session(process, "stat") if not state.startswith("Z")]  # Z: zombie


def begun(folder):
    """Start a long run and wait for its first checkpoint."""
    process = ffcore(*LONG, "--run-dir", folder / "run")
    until((folder / "run/checkpoints/last.ckpt").exists)
    return process


def finish(folder, program):
    return ended(ffcore(*TWO, "trainer.max_epochs=2", "--run-dir", folder / "run", program=program))


ENDS = """
import os, signal
import lightning as L

class Ends(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
        if first and os.environ["RANK"] == "1" and trainer.global_step == 70:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def finish_again(folder):
    """The second rank of a run under torchrun is killed within its second epoch."""
    (folder / "ends_itself.py").write_text(ENDS)
    words = [
        *TWO,
        "trainer.max_epochs=2",
        "trainer.checkpoint_every=20",
        "trainer.callbacks=[ends_itself:Ends]",
    ]
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    run = ["--run-dir", folder / "run", "--auto-resume"]
    return ended(ffcore(*words, *run, program=TORCHRUN, PYTHONPATH=path))


def interrupt(folder):
    process = begun(folder)
    until(lambda: (folder / "run/metrics.csv").exists() and len(rows(folder / "run")) > 1)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends Ctrl-C to the whole group
    return ended(process)


def terminate(folder):
    process = begun(folder)
    os.kill(process.pid, signal.SIGTERM)
    return ended(process)


def kill(folder, which):
    process = begun(folder)
    pids = list(map(int, session(process, "pid")))
    if which == "first":
        os.kill(process.pid, signal.SIGKILL)
    else:
        os.kill(next(pid for pid in pids if pid != process.pid), signal.SIGKILL)
    outcome = ended(process, ranks=len(pids))
    until(lambda: not left(process))
    return outcome


def take_the_port(folder):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = ffcore(*TWO, "--run-dir", folder / "run", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        return ended(process, port=port)


PROGRAM = """
import sys
import lightning as L
import ffcore, ffcore.run.train

ffcore.run.train.write_report = lambda *args: None

class Fails(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.is_global_zero:
            raise ValueError("of its own")

def train(name, devices, *callbacks):
    return ffcore.train(
        "digits/ff", run_dir=sys.argv[1] + "/" + name, callbacks=callbacks,
        network=[{"kind": "dense", "units": 20, "repeat": 2}],
        trainer={"max_epochs": 1, "devices": devices, "accelerator": "cpu", "threads": 1},
    )

try:
    train("a", 2, *[Fails()][: "fails" in sys.argv])
except ValueError as error:
    print("failed", error)
train("b", 1)
print("second run finished")
"""


def call_twice(folder, *words):
    (folder / "program.py").write_text(PROGRAM)
    return ended(ffcore(folder, *words, program=[folder / "program.py"]))


CASES = {
    "alone": lambda folder: finish(folder, ["-m", "ffcore"]),
    "Ctrl-C": interrupt,
    "second killed": lambda folder: kill(folder, "second"),
}
THOROUGH = {
    "under torchrun": finish_again,
    "port in use": take_the_port,
    "a program whose first run does not": call_twice,
    "first killed": lambda folder: kill(folder, "first"),
    "terminated": terminate,
    "a program whose first run fails": lambda folder: call_twice(folder, "fails"),
}


@pytest.fixture(scope="module")
def case(tmp_path_factory, pytestconfig):
    """Returns the outcome and the directory of a case. Two cases run at a time: they mostly wait."""
    cases = CASES | THOROUGH if pytestconfig.getoption("--thorough") else CASES
    folders = {name: tmp_path_factory.mktemp("case") for name in cases}
    with ThreadPoolExecutor(2) as pool:
        found = {name: pool.submit(happen, folders[name]) for name, happen in cases.items()}
        yield lambda name: (found[name].result(), folders[name])
        pool.shutdown(wait=False, cancel_futures=True)
        for process in STARTED:
            if process.poll() is None:  # of a failed case
                os.killpg(process.pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run in this process alone."""
    folder = tmp_path_factory.mktemp("ranks") / "one"
    assert main([*RUN, "trainer.max_epochs=2", "--run-dir", str(folder)]) == 0
    manager.use(None)
    return folder


def same_results(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds", "samples_per_s"}:
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize("started", ["alone", pytest.param("under torchrun", marks=pytest.mark.thorough)])
def test_two_ranks_write_one_directory_with_the_results_of_one_process(case, one, started):
    process, folder = case(started)
    assert process.code == 0, process.err
    two = folder / "run"
    same_results(rows(two), rows(one))
    results = [json.loads((folder / "results.json").read_text()) for folder in (two, one)]
    assert [found["ranks"] for found in results] == [2, 1]
    assert results[0]["test"]["accuracy"] == pytest.approx(results[1]["test"]["accuracy"], abs=0.01)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    assert process.out.count("picture") == 1
    assert process.out.count("epoch 2/2") == 1
    if started == "alone":
        assert "error" not in process.err


@pytest.mark.thorough
def test_a_run_that_torchrun_restarts_has_the_results_of_an_undisturbed_run_to_the_bit(case):
    undisturbed, (process, folder) = case("alone")[1] / "run", case("under torchrun")
    assert process.err.count("(exitcode: -9) local_rank: 1") == 1
    own, others = (
        torch.load(each / "checkpoints/last.ckpt", weights_only=True)["state_dict"]
        for each in (folder / "run", undisturbed)
    )
    assert own.keys() == others.keys()
    assert all(torch.equal(own[name], others[name]) for name in own)
    for row, other in zip(rows(folder / "run"), rows(undisturbed), strict=True):
        assert all(row[name] == other[name] for name in row.keys() - {"seconds", "samples_per_s"})


def test_ctrl_c_stops_all_ranks_after_the_same_step_and_one_process_resumes(case, capsys):
    process, folder = case("Ctrl-C")
    assert process.code == 130, process.err
    assert process.err.count("interrupted") == 1
    assert "--resume" in process.err
    assert not process.left
    before = len(rows(folder / "run"))
    assert main(["run", "--resume", str(folder / "run"), "trainer.devices=1", "--max-time", "3s"]) == 0
    manager.use(None)
    assert "stopped" in capsys.readouterr().out
    assert len(rows(folder / "run")) > before


@pytest.mark.parametrize("which", [pytest.param("first", marks=pytest.mark.thorough), "second"])
def test_when_a_rank_is_killed_the_other_ends_and_the_run_can_be_resumed(case, which):
    process, folder = case(f"{which} killed")
    assert process.ranks == 2
    if which == "first":
        assert process.code == -signal.SIGKILL, process.err
    else:
        assert process.code == 1, process.err
        assert process.err.strip().splitlines()[-1].startswith("error: rank 1 has ended (signal SIGKILL); ")
        assert f"--resume {folder / 'run'}" in process.err
        assert process.err.count("error") == 1
    assert checkpoints.newest(folder / "run/checkpoints")[1] is not None


@pytest.mark.thorough
def test_a_port_in_use_is_named_and_nothing_is_left(case):
    process, folder = case("port in use")
    assert process.code == 2, process.err
    assert process.err == f"error: MASTER_PORT: {process.port} is in use; name another port, or none\n"
    assert not (folder / "run").exists()
    assert not process.left


@pytest.mark.thorough
def test_a_terminated_rank_pauses_the_run_as_ctrl_c_does(case):
    process, _ = case("terminated")
    assert process.code == 130, process.err
    assert process.err.count("interrupted") == 1
    assert "--resume" in process.err
    assert not process.left


@pytest.mark.thorough
def test_a_program_can_run_again_after_a_failed_run(case):
    process, _ = case("a program whose first run fails")
    assert process.code == 0, process.err
    assert process.out.splitlines()[-2:] == ["failed of its own", "second run finished"]


@pytest.mark.thorough
def test_another_number_of_devices_in_one_program_raises(case):
    process, folder = case("a program whose first run does not")
    assert process.code == 1, process.out
    assert "this program has trained on 2 devices" in process.err
    assert not (folder / "b").exists()
