"""The rank of this process, from environment variables: does not import torch."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ffcore.errors import UserError

if TYPE_CHECKING:  # the command line imports this module before it knows whether a recipe is read
    from ffcore.recipe.trainer import TrainerConfig

PARENT = "FFCORE_FIRST_RANK"
"""Environment variable with the process ID of the rank that started this process."""

_VARIABLES = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
_RESTARTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")


def world(trainer: TrainerConfig) -> int:
    """Returns the number of ranks of a run."""
    return trainer.devices * trainer.num_nodes


def rank(trainer: TrainerConfig) -> int:
    """Returns the rank of this process, from variables of torchrun, SLURM or another launcher; or 0.

    The variables are used in the same cases as in Lightning: in an interactive job SLURM starts no processes.
    Launchers other than torchrun and SLURM set RANK, or NODE_RANK and LOCAL_RANK; see `by_variables`.
    """
    if world(trainer) == 1:
        return 0
    if not started_by_first():
        if "TORCHELASTIC_RUN_ID" in os.environ:
            return _number("RANK")
        if under_slurm():
            return _number("SLURM_PROCID")
        if by_variables():
            return _number("RANK")
    node = _number("NODE_RANK" if "NODE_RANK" in os.environ else "GROUP_RANK")
    return node * trainer.devices + _number("LOCAL_RANK")


def check(trainer: TrainerConfig) -> None:
    """Check that a launcher has started as many processes as a run has ranks.

    Raises:
        UserError: it has not; a rank would wait for the others until its timeout.
    """
    if started_by_first():
        return
    if "TORCHELASTIC_RUN_ID" in os.environ:  # also of one device: its processes would all do the same
        _compare("torchrun", "--nproc-per-node", "LOCAL_WORLD_SIZE", "trainer.devices", trainer.devices)
        _compare("torchrun", "all processes", "WORLD_SIZE", "trainer.devices × num_nodes", world(trainer))
    elif world(trainer) > 1 and under_slurm():  # a run on one device may be one of many tasks
        if not {"SLURM_STEP_ID", "SLURM_STEPID", "SLURM_STEP_NUM_TASKS"} & set(os.environ):
            raise UserError(
                f"trainer.devices: {trainer.devices}: SLURM starts one process for each device only through "
                "srun: put `srun` before the command"
            )
        if "SLURM_NTASKS_PER_NODE" not in os.environ:
            raise UserError(
                f"trainer.devices: {trainer.devices}: Lightning needs srun's option "
                f"--ntasks-per-node={trainer.devices} in place of --ntasks"
            )
        _compare("SLURM", "--ntasks-per-node", "SLURM_NTASKS_PER_NODE", "trainer.devices", trainer.devices)
        _compare("SLURM", "--nodes", "SLURM_NNODES", "trainer.num_nodes", trainer.num_nodes)
        _compare("SLURM", "all tasks", "SLURM_NTASKS", "trainer.devices × num_nodes", world(trainer))
    elif world(trainer) > 1 and by_variables():
        _compare("the launcher", "WORLD_SIZE", "WORLD_SIZE", "trainer.devices × num_nodes", world(trainer))
        if (own := _number("RANK")) >= world(trainer):
            raise UserError(f"RANK: {own}: should be less than WORLD_SIZE, {world(trainer)}")


def _compare(starter: str, option: str, variable: str, entry: str, expected: int) -> None:
    if variable in os.environ and (started := _number(variable)) != expected:
        raise UserError(
            f"{entry}: {expected}, but {starter} has started {started} ({option}); make them the same"
        )


def _number(variable: str) -> int:
    """Return an environment variable as an integer; 0 if it is not set. SLURM also writes "2(x3)"."""
    text = os.environ.get(variable, "0")
    number = text.partition("(")[0]
    if not (number.isascii() and number.isdigit()):
        raise UserError(f"{variable}: {text!r} should be an integer; it is an environment variable")
    return int(number)


def started_by_first() -> bool:
    """Whether rank 0 of this machine has started this process."""
    return os.environ.get(PARENT) == str(os.getppid())


def started_by_others() -> bool:
    """Whether torchrun, SLURM, another launcher or the user starts all processes, not this one."""
    return not started_by_first() and ("LOCAL_RANK" in os.environ or under_slurm() or by_variables())


def interactive() -> bool:
    """Whether this is an interactive session: there is no program that other processes could run."""
    main = sys.modules.get("__main__")
    return hasattr(sys, "ps1") or not (getattr(main, "__file__", None) or getattr(main, "__spec__", None))


def under_slurm() -> bool:
    """Whether SLURM has started this process as a task."""
    by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_NTASKS" in os.environ and "SLURM_PROCID" in os.environ and not by_hand


def by_variables() -> bool:
    """Whether a launcher has set the variables of torch.distributed, as Kubernetes' PyTorchJob does."""
    return os.environ.keys() >= _VARIABLES and "TORCHELASTIC_RUN_ID" not in os.environ and not under_slurm()


def restarted() -> bool:
    """Whether torchrun or SLURM has started the same command before, and it has ended early."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in _RESTARTS)
