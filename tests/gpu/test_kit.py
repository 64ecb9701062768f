"""The GPU kit on a CPU: small networks, random data."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from gpu_keep import keep, restore

BENCH = Path(__file__).parents[1] / "bench"


def kit(out, *words):
    command = [sys.executable, BENCH / "gpu.py", out, "--device", "cpu", "--tiny", *words]
    made = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    return made, json.loads((out / "results.json").read_text())


@pytest.mark.skipif("FFCORE_GPU_KIT" not in os.environ, reason="takes half a minute: part of nox -s gpu")
def test_a_training_is_kept_and_restored_and_a_failure_does_not_stop_the_rest(tmp_path):
    out = tmp_path / "out"
    # a file where the run directory of the first piece should be
    (tmp_path / "out-work").mkdir()
    (tmp_path / "out-work" / "vgg8b-predsim").write_text("in the way")
    pieces = ["train-vgg8b-predsim", "train-ff-2000x4"]
    made, found = kit(out, "--only", *pieces, "--seconds", "120")
    assert made.returncode == 1, made.stderr
    failed, done = (found["pieces"][name] for name in pieces)
    assert failed["status"] == "failed"
    assert "Traceback" in failed["traceback"]
    assert done["status"] == "done"
    assert done["result"]["state"] == "finished"
    assert done["result"]["results"]["costs"]
    assert found["kept"] == {"ff-2000x4": "whole"}
    assert restore(out, tmp_path / "again") == ["ff-2000x4"]
    assert (tmp_path / "again/ff-2000x4/checkpoints/last.ckpt").exists()


@pytest.fixture
def run(tmp_path):
    """A run directory with a checkpoint of which weights are a third."""
    folder = tmp_path / "run"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "config.yaml").write_text("name: x\n")
    state = {"state_dict": {"w": torch.rand(100_000)}, "optimizer": torch.rand(200_000)}
    torch.save(state, folder / "checkpoints/last.ckpt")
    return folder


@pytest.mark.parametrize(
    ("total", "how", "file"),
    [
        (2_000_000, "whole", "checkpoints/last.ckpt"),
        (500_000, "weights", "weights.pt"),
        (5_000, "tables", "config.yaml"),
        (10, "left out", None),
    ],
)
def test_what_does_not_fit_is_made_smaller(run, tmp_path, total, how, file, monkeypatch):
    monkeypatch.setattr("gpu_keep.PART", 600_000)
    out = tmp_path / "out"
    out.mkdir()
    assert keep([run, tmp_path / "none"], out, 7, total) == {"run": how}
    parts = sorted(out.iterdir())
    assert sum(part.stat().st_size for part in parts) <= total
    assert all(part.stat().st_size <= 600_000 for part in parts)
    names = restore(out, tmp_path / "again")
    assert names == ([] if file is None else ["run"])
    if file is not None:
        assert (tmp_path / "again/run" / file).exists()
    if how == "whole":
        assert len(parts) > 1
        same = (run / file).read_bytes() == (tmp_path / "again/run" / file).read_bytes()
        assert same


def test_too_many_files_are_not_written(run, tmp_path):
    assert keep([run], tmp_path, 0, 10**9) == {"run": "left out"}
