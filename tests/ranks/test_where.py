"""The rank of a process, from environment variables."""

import os
from types import SimpleNamespace

import pytest

from ffcore.ranks import where

TWO = SimpleNamespace(devices=2, num_nodes=1)
SLURM = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "train"}
CASES = {
    "alone": ({}, 0, False),
    "torchrun": ({"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1"}, 1, True),
    "RANK without torchrun": ({"RANK": "1"}, 0, False),
    "slurm": (SLURM, 1, True),
    "an interactive allocation": ({**SLURM, "SLURM_JOB_NAME": "bash"}, 0, False),
    "a second machine": ({"NODE_RANK": "1", "LOCAL_RANK": "1"}, 3, True),
    "started by the first rank": (
        {**SLURM, "SLURM_PROCID": "0", "LOCAL_RANK": "1", where.PARENT: str(os.getppid())},
        1,
        False,
    ),
}


@pytest.mark.parametrize(("variables", "rank", "by_others"), CASES.values(), ids=CASES)
def test_a_process_knows_its_rank(monkeypatch, variables, rank, by_others):
    for name in (
        *SLURM,
        "TORCHELASTIC_RUN_ID",
        "RANK",
        "LOCAL_RANK",
        "NODE_RANK",
        "GROUP_RANK",
        where.PARENT,
    ):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert (where.rank(TWO), where.started_by_others()) == (rank, by_others)
    assert where.rank(SimpleNamespace(devices=1, num_nodes=1)) == 0
