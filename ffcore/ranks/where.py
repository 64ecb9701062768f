"""Which of a run's processes this one is, before anything of torch is there."""

from __future__ import annotations

import os
import sys

from ffcore.recipe.trainer import TrainerConfig

PARENT = "FFCORE_FIRST_RANK"
"""Environment variable: process number of the rank that has started this one."""


def world(trainer: TrainerConfig) -> int:
    """How many ranks a run has."""
    return trainer.devices * trainer.num_nodes


def rank(trainer: TrainerConfig) -> int:
    """This process's rank, by the variables of torchrun, SLURM or Lightning's launcher; 0 without any.

    They count where Lightning goes by them: an interactive allocation of SLURM's starts no processes.
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
    """Whether the first rank of a machine has started this process."""
    return os.environ.get(PARENT) == str(os.getppid())


def started_by_others() -> bool:
    """Whether torchrun, SLURM or a person starts all processes, so that none has to wait for this one."""
    return not started_by_first() and ("LOCAL_RANK" in os.environ or _under_slurm())


def interactive() -> bool:
    """Whether there is no program that other processes could run too."""
    main = sys.modules.get("__main__")
    return hasattr(sys, "ps1") or not (getattr(main, "__file__", None) or getattr(main, "__spec__", None))


def _under_slurm() -> bool:
    by_hand = os.environ.get("SLURM_JOB_NAME") in ("bash", "interactive")
    return "SLURM_NTASKS" in os.environ and "SLURM_PROCID" in os.environ and not by_hand
