"""Data that have moved, or have changed, since a run began."""

import numpy as np
import pytest

import ffcore
from ffcore.errors import UserError
from ffcore.run.evaluate import evaluate
from tests.run.test_resume import cut_short

SMALL = {"network": [{"kind": "dense", "units": 8}], "data.batch_size": 10}


def save(path, seed=0):
    rng = np.random.default_rng(seed)
    np.savez(path, x_train=rng.integers(0, 9, (80, 4, 4)).astype(np.uint8), y_train=np.arange(80) % 2)
    return str(path)


@pytest.fixture
def part(quick, tmp_path):
    data = {"kind": "arrays", "path": save(tmp_path / "a.npz")}
    cut_short(quick, 3, data=data, run_dir=tmp_path / "part", **{"trainer.checkpoint_every": 2}, **SMALL)
    (tmp_path / "a.npz").rename(tmp_path / "b.npz")
    return tmp_path / "part"


def test_a_run_is_resumed_on_the_same_files_in_another_place(part, tmp_path):
    with pytest.raises(UserError, match=r"a\.npz: no such file"):
        ffcore.resume(part)
    assert ffcore.resume(part, data={"path": tmp_path / "b.npz"}).results.epochs == 2


def test_other_files_are_refused(part, tmp_path):
    with pytest.raises(UserError, match="the provenance of the data set has changed"):
        ffcore.resume(part, data={"path": save(tmp_path / "other.npz", 1)})


def test_without_a_checkpoint_files_cannot_be_compared(part, tmp_path):
    for path in (part / "checkpoints").iterdir():
        path.unlink()
    with pytest.raises(UserError, match="has no checkpoint yet"):
        ffcore.resume(part, data={"path": tmp_path / "b.npz"})


def test_an_evaluation_on_changed_files_warns(quick, tmp_path):
    path = save(tmp_path / "a.npz")
    run = quick(data={"kind": "arrays", "path": path}, **SMALL).path
    before = evaluate(run)
    save(path, 1)
    with pytest.warns(UserWarning, match=r"a\.npz: has changed since the run was trained"):
        evaluate(run)
    evaluate(run, overrides=(f"data.path={path}",))  # other files were asked for
    save(path)
    assert evaluate(run) == before
