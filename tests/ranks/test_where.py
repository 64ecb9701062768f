"""The rank of a process, from environment variables."""

import os
from types import SimpleNamespace

import pytest

from ffcore.errors import UserError
from ffcore.ranks import where
from ffcore.ranks.variables import Variables
from ffcore.run import directory

TWO = SimpleNamespace(devices=2, num_nodes=1)
SLURM = {"SLURM_NTASKS": "2", "SLURM_PROCID": "1", "SLURM_JOB_NAME": "train"}
POD = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "23456"}
CASES = {
    "alone": ({}, 0, False),
    "torchrun": ({"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_RANK": "1"}, 1, True),
    "RANK without torchrun": ({"RANK": "1"}, 0, False),
    "a pod of Kubernetes": (POD, 1, True),
    "variables within SLURM": ({**POD, **SLURM, "SLURM_PROCID": "0"}, 0, True),
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
        *POD,
        "TORCHELASTIC_RUN_ID",
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


STEP = {**SLURM, "SLURM_STEP_ID": "0", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "x", "RANK": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "2"}
MISFITS = {
    "without srun": ({**SLURM, "SLURM_NTASKS_PER_NODE": "2"}, "put `srun` before the command"),
    "without tasks per node": ({**SLURM, "SLURM_STEP_ID": "0"}, "--ntasks-per-node=2"),
    "three tasks": ({**STEP, "SLURM_NTASKS_PER_NODE": "3"}, "trainer.devices: 2, but SLURM has started 3"),
    "two machines": ({**STEP, "SLURM_NNODES": "2"}, "trainer.num_nodes: 1, but SLURM has started 2"),
    "four tasks": ({**STEP, "SLURM_NTASKS": "4"}, "2, but SLURM has started 4"),
    "no number": ({**STEP, "SLURM_NTASKS_PER_NODE": "x"}, "SLURM_NTASKS_PER_NODE: 'x' should be an integer"),
    "torchrun": ({**TORCHRUN, "LOCAL_WORLD_SIZE": "4"}, "2, but torchrun has started 4"),
    "pods": ({**POD, "WORLD_SIZE": "3"}, "2, but the launcher has started 3"),
    "a pod too many": ({**POD, "RANK": "2"}, "RANK: 2: should be less than WORLD_SIZE, 2"),
}


@pytest.fixture
def variables(monkeypatch):
    def use(chosen):
        for name in {*STEP, *TORCHRUN, *POD, "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", where.PARENT}:
            monkeypatch.delenv(name, raising=False)
        for name, value in chosen.items():
            monkeypatch.setenv(name, value)

    return use


@pytest.mark.parametrize(("chosen", "message"), MISFITS.values(), ids=MISFITS)
def test_another_number_of_processes_is_refused(variables, chosen, message):
    variables(chosen)
    with pytest.raises(UserError, match=message):
        where.check(TWO)
    one = SimpleNamespace(devices=1, num_nodes=1)
    if "TORCHELASTIC_RUN_ID" not in chosen:
        where.check(one)  # a single run may be one of many tasks of SLURM
    elif chosen.get("WORLD_SIZE", "1") != "1":
        with pytest.raises(UserError, match="torchrun has started"):
            where.check(one)


@pytest.mark.parametrize("chosen", [{}, STEP, TORCHRUN, POD, {**STEP, "SLURM_NTASKS_PER_NODE": "2(x1)"}])
def test_as_many_processes_as_ranks_are_accepted(variables, chosen):
    variables(chosen)
    where.check(TWO)


def test_a_rank_that_is_no_integer_is_named(variables):
    variables({**TORCHRUN, "RANK": "x"})
    with pytest.raises(UserError, match="RANK: 'x' should be an integer"):
        where.rank(TWO)


def test_pods_are_machines_unless_they_have_several_processes(variables):
    variables({**POD, "RANK": "5"})
    one, four = Variables(1), Variables(4)
    assert (one.global_rank(), one.node_rank(), one.local_rank()) == (5, 5, 0)
    assert (four.global_rank(), four.node_rank(), four.local_rank()) == (5, 1, 1)
    assert (four.main_address, four.main_port) == ("10.0.0.1", 23456)


@pytest.mark.parametrize("name", ["TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"])
def test_a_directory_of_a_run_that_is_started_again_names_the_option(monkeypatch, tmp_path, name):
    (tmp_path / "config.yaml").touch()
    for count, advice in (("0", "name a new directory"), ("1", "resume the run in it with --auto-resume")):
        monkeypatch.setenv(name, count)
        with pytest.raises(UserError, match=f"not empty; runs never overwrite files, {advice}"):
            directory.check(tmp_path)
