"""Killed runs, full disks and damaged files: a resumed run has the same results, or an error of one line.

    nox -s faults

Not part of the usual tests: every case trains in separate processes.
"""

import csv
import json
import runpy
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

HERE = Path(__file__).parent
KILLS = runpy.run_path(str(HERE / "victim.py"))["KILLS"]


def victim(accident, folder):
    return process([str(HERE / "victim.py"), accident, str(folder)])


def resume(folder):
    return victim("none", folder)


def resume_by_hand(folder):
    return process(["-m", "ffcore", "run", "--resume", str(folder)])


def process(words):
    return subprocess.run([sys.executable, *words], check=False, capture_output=True, text=True, timeout=120)


def content(folder):
    """Returns everything that must be the same after any fault."""
    made = {}
    for name in ("last", "best"):
        state = torch.load(folder / f"checkpoints/{name}.ckpt", weights_only=True)
        made |= {f"{name} {key}": value.numpy() for key, value in state["state_dict"].items()}
    with (folder / "metrics.csv").open() as file:
        for number, row in enumerate(csv.DictReader(file)):
            made[f"epoch {number}"] = {k: v for k, v in row.items() if k not in ("seconds", "samples_per_s")}
    results = json.loads((folder / "results.json").read_text())
    made |= {key: results[key] for key in ("val", "test", "epochs", "steps", "epoch_selected")}
    with np.load(folder / "arrays.npz") as arrays:
        made |= {f"arrays {key}": arrays[key] for key in arrays}
    return made


def assert_same(folder, whole):
    own, expected = content(folder), content(whole)
    assert own.keys() == expected.keys()
    for key, value in expected.items():
        assert np.array_equal(own[key], value) if isinstance(value, np.ndarray) else own[key] == value, key
    assert not list(folder.rglob("*.tmp"))


@pytest.fixture(scope="session")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults") / "whole"
    assert victim("none", folder).returncode == 0
    return folder


@pytest.mark.parametrize("accident", [name for name in KILLS if name != "while the report is drawn"])
def test_killed_and_resumed_gives_the_same_results(accident, whole, tmp_path):
    folder = tmp_path / "run"
    assert victim(accident, folder).returncode == -signal.SIGKILL
    done = resume(folder)
    assert done.returncode == 0, done.stderr
    assert_same(folder, whole)


def test_killed_several_times_gives_the_same_results(whole, tmp_path):
    folder = tmp_path / "run"
    for accident in ("within the first epoch", "half way through the first checkpoint", "as an epoch ends"):
        assert victim(accident, folder).returncode == -signal.SIGKILL
    assert resume_by_hand(folder).returncode == 0
    assert (folder / "report.html").is_file()
    assert_same(folder, whole)


def test_killed_during_the_report_the_run_is_finished(whole, tmp_path):
    folder = tmp_path / "run"
    assert victim("while the report is drawn", folder).returncode == -signal.SIGKILL
    assert_same(folder, whole)
    refused = resume_by_hand(folder)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "finished" in refused.stderr
    assert process(["-m", "ffcore", "report", str(folder)]).returncode == 0
    assert (folder / "report.html").is_file()


def test_a_clock_that_jumps_changes_nothing(whole, tmp_path):
    folder = tmp_path / "run"
    assert victim("clock", folder).returncode == 0
    assert_same(folder, whole)


def test_a_full_disk_ends_a_run_in_one_line_and_it_can_be_resumed(whole, tmp_path):
    folder = tmp_path / "run"
    assert victim("within the first epoch", folder).returncode == -signal.SIGKILL
    kept = (folder / "checkpoints/last.ckpt").read_bytes()
    failed = victim("full", folder)
    assert failed.returncode == 1
    assert failed.stderr.strip().splitlines()[-1].startswith("error: ")
    assert "cannot be written" in failed.stderr
    assert kept in [path.read_bytes() for path in (folder / "checkpoints").glob("*.ckpt")]
    assert resume(folder).returncode == 0
    assert_same(folder, whole)


@pytest.mark.parametrize("damage", ["cut short", "empty", "a byte in the middle"])
def test_a_damaged_checkpoint_is_replaced_by_the_one_before(damage, whole, tmp_path):
    folder = tmp_path / "run"
    assert victim("within the last epoch", folder).returncode == -signal.SIGKILL
    last = folder / "checkpoints/last.ckpt"
    data = bytearray(last.read_bytes())
    if damage == "a byte in the middle":
        data[len(data) // 2] ^= 0xFF
    else:
        del data[len(data) // 2 if damage == "cut short" else 0 :]
    last.write_bytes(data)
    done = resume(folder)
    assert done.returncode == 0, done.stderr
    assert "last.ckpt" in done.stderr
    assert_same(folder, whole)


def test_only_damaged_checkpoints_give_one_line(tmp_path):
    folder = tmp_path / "run"
    assert victim("within the last epoch", folder).returncode == -signal.SIGKILL
    for path in (folder / "checkpoints").iterdir():
        path.write_bytes(b"x")
    refused = resume_by_hand(folder)
    assert (refused.returncode, refused.stderr.count("\n")) == (2, 1)
    assert "last.ckpt" in refused.stderr
    assert "previous.ckpt" in refused.stderr
