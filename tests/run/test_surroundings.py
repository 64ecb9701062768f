"""A run depends on its recipe alone, not on global settings of torch or a scheduler's variables."""

from contextlib import contextmanager, nullcontext

import numpy as np
import pytest
import torch

import ffcore


@contextmanager
def setting(change, restore):
    change()
    try:
        yield
    finally:
        restore()


SETTINGS = {
    "a default dtype": lambda: setting(
        lambda: torch.set_default_dtype(torch.float64), lambda: torch.set_default_dtype(torch.float32)
    ),
    "a default device": lambda: torch.device("meta"),
    "the precision of products": lambda: setting(
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("highest"),
    ),
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
}


@pytest.mark.parametrize("around", SETTINGS.values(), ids=SETTINGS)
def test_a_global_setting_changes_nothing_and_is_named(around, quick):
    def result(context):
        with context:
            run = quick(**{"trainer.max_epochs": 1})
            scores = ffcore.load(run.path).scores(np.full((2, 64), 3.0))
        return torch.cat([p.detach().flatten() for p in run.module.parameters()]), scores

    weights, scores = result(nullcontext())
    with pytest.warns(UserWarning, match="a run depends on its recipe alone; not used in it: "):
        others = result(around())
    assert torch.equal(weights, others[0])
    assert np.array_equal(scores, others[1])


def test_the_setting_is_back_after_the_run(quick):
    with SETTINGS["a default dtype"]():
        with pytest.warns(UserWarning, match="float64"):
            quick(**{"trainer.max_epochs": 1})
        assert torch.get_default_dtype() is torch.float64


def test_a_single_run_in_a_job_with_several_tasks_works(quick, monkeypatch):
    for name, value in {"NTASKS": "4", "PROCID": "2", "NTASKS_PER_NODE": "4", "JOB_ID": "1"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    run = quick(**{"trainer.loggers": ["csv"], "trainer.max_epochs": 1})
    assert list(run.path.rglob("lightning_logs/*/metrics.csv"))
