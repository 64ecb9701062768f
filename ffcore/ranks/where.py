"""The rank of this process, from environment variables: does not import torch."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line imports this module before it knows whether a recipe is read
    from ffcore.recipe.trainer import TrainerConfig

PARENT = "FFCORE_FIRST_RANK"
"""Environment variable with the process ID of the rank that started this process."""


def world(trainer: TrainerConfig) -> int:
    """Returns the number of ranks of a run."""
    return trainer.devices * trainer.num_nodes


def rank(trainer: TrainerConfig) -> int:
    """Returns the rank of this process, from variables of torchrun, SLURM or Lightning's launcher; or 0.

    The variables are used in the same cases as in Lightning: in an interactive job SLURM starts no processes.
    """
    if world(trainer) == 1:
        return 0
    if not started_by_first():
        if "TORCHELASTIC_RUN_ID" in os.environ:
            return int(os.environ["RANK"])
        if _under_slurm():
            return int(os.environ["SLURM_PROCID"])
    node = int(os.environ.get("NODE_RANK", os.environ.get("GROUP_RANK", "0")))
    return node * trainer.devices + int(os.environ.get("LOCAL_RANK", "0"))


def started_by_first() -> bool:
    """Whether rank 0 of this machine has started this process."""
    return os.environ.get(PARENT) == str(os.getppid())


def started_by_others() -> bool:
    """Whether torchrun, SLURM or the user starts all processes, not this one."""
    return not started_by_first() and ("LOCAL_RANK" in os.environ or _under_slurm())


def interactive() -> bool:
    """Whether this is an interactive session: there is no program that other processes could run."""
    main = sys.modules.get("__main__")
    return hasattr(sys, "ps1") or not (getattr(main, "__file__", None) or getattr(main, "__spec__", None))


def _under_slurm() -> bool:
    by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_NTASKS" in os.environ and "SLURM_PROCID" in os.environ and not by_hand
