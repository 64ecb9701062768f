"""`ffcore run` on two ranks, as a user starts it, stops it and loses it."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from ffcore.run import checkpoints

RUN = ["run", "digits/ff", "network.0.units=40", "trainer.accelerator=cpu", "trainer.threads=1"]
TWO = [*RUN, "trainer.devices=2"]
LONG = [*TWO, "trainer.max_epochs=500", "lr_schedule.kind=constant"]


def ffcore(*words, program=("-m", "ffcore"), **environment):
    """A process of its own, with a session of its own for Ctrl-C."""
    return subprocess.Popen(
        [sys.executable, *program, *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def done(process, code=0):
    out, err = process.communicate(timeout=100)
    assert process.returncode == code, err
    return out, err


def rows(folder):
    with (folder / "metrics.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """A run in one process."""
    folder = tmp_path_factory.mktemp("ranks") / "one"
    done(ffcore(*RUN, "trainer.max_epochs=2", "--run-dir", folder))
    return folder


def until(there):
    end = time.monotonic() + 60
    while not there():
        assert time.monotonic() < end
        time.sleep(0.1)


def session(process, column):
    """Of each process of its session that there is, dead or alive."""
    words = ["ps", "-o", f"{column}=", "-s", str(process.pid)]
    return subprocess.run(words, check=False, capture_output=True, text=True).stdout.split()


def left(process):
    """Those that are alive still."""
    return [state for state in session(process, "stat") if not state.startswith("Z")]


def same_figures(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys()
        for name in one.keys() - {"seconds", "samples_per_s"}:
            assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-4, abs=1e-4), name


@pytest.mark.parametrize(
    "program",
    [
        ["-m", "ffcore"],
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "ffcore"],
    ],
    ids=["alone", "under torchrun"],
)
def test_two_ranks_leave_one_folder_with_the_figures_of_one_process(tmp_path, one, program):
    two = tmp_path / "two"
    out, err = done(ffcore(*TWO, "trainer.max_epochs=2", "--run-dir", two, program=program))
    same_figures(rows(two), rows(one))
    results = [json.loads((folder / "results.json").read_text()) for folder in (two, one)]
    assert [found["ranks"] for found in results] == [2, 1]
    assert results[0]["test"]["accuracy"] == pytest.approx(results[1]["test"]["accuracy"], abs=0.01)
    assert {path.name for path in two.iterdir()} == {path.name for path in one.iterdir()}
    assert out.count("picture") == 1
    assert out.count("epoch 2/2") == 1
    assert "error" not in err


def test_ctrl_c_stops_all_ranks_after_the_same_step_and_one_process_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = ffcore(*LONG, "--run-dir", folder)
    until(lambda: (folder / "metrics.csv").exists() and len(rows(folder)) > 1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = done(process, 130)
    assert err.count("interrupted") == 1
    assert "--resume" in err
    assert not left(process)
    before = len(rows(folder))
    out, _ = done(ffcore("run", "--resume", folder, "trainer.devices=1", "--max-time", "1s"))
    assert "stopped" in out
    assert len(rows(folder)) > before


@pytest.mark.parametrize("which", ["first", "second"])
def test_when_a_rank_is_killed_the_other_ends_and_the_run_can_go_on(tmp_path, which):
    folder = tmp_path / "run"
    process = ffcore(*LONG, "--run-dir", folder)
    until((folder / "checkpoints" / "last.ckpt").exists)
    pids = list(map(int, session(process, "pid")))
    assert len(pids) == 2
    if which == "first":
        os.kill(process.pid, signal.SIGKILL)
        done(process, -signal.SIGKILL)
    else:
        os.kill(next(pid for pid in pids if pid != process.pid), signal.SIGKILL)
        _, err = done(process, 1)
        assert err.strip().splitlines()[-1].startswith("error: rank 1 has ended (signal SIGKILL); ")
        assert f"--resume {folder}" in err
        assert err.count("error") == 1
    until(lambda: not left(process))
    assert checkpoints.newest(folder / "checkpoints")[1] is not None


def test_a_port_in_use_is_named_and_nothing_is_left(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        process = ffcore(*TWO, "--run-dir", tmp_path / "run", MASTER_ADDR="127.0.0.1", MASTER_PORT=port)
        _, err = done(process, 2)
    assert err == f"error: MASTER_PORT: {port} is in use; name another port, or none\n"
    assert not (tmp_path / "run").exists()
    assert not left(process)


def test_a_terminated_rank_pauses_the_run_as_ctrl_c_does(tmp_path):
    folder = tmp_path / "run"
    process = ffcore(*LONG, "--run-dir", folder)
    until((folder / "checkpoints" / "last.ckpt").exists)
    os.kill(process.pid, signal.SIGTERM)
    _, err = done(process, 130)
    assert err.count("interrupted") == 1
    assert "--resume" in err
    assert not left(process)


def test_a_program_goes_on_after_a_failed_run_and_refuses_another_number_of_devices(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        f"""
import lightning as L
import ffcore

class Fails(L.Callback):
    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        if trainer.is_global_zero:
            raise ValueError("of its own")

def train(name, devices, *callbacks):
    return ffcore.train(
        "digits/ff", run_dir={str(tmp_path)!r} + "/" + name, callbacks=callbacks,
        network=[{{"kind": "dense", "units": 20, "repeat": 2}}],
        trainer={{"max_epochs": 1, "devices": devices, "accelerator": "cpu", "threads": 1}},
    )

try:
    train("a", 2, Fails())
except ValueError as error:
    print("failed", error)
train("b", 1)
print("went on")
"""
    )
    out, _ = done(ffcore(program=[program]))
    assert out.splitlines()[-2:] == ["failed of its own", "went on"]
    program.write_text(
        program.read_text().replace(", Fails()", "").replace('"a"', '"c"').replace('"b"', '"d"')
    )
    _, err = done(ffcore(program=[program]), 1)
    assert "this program has trained on 2 devices" in err
    assert not (tmp_path / "d").exists()
