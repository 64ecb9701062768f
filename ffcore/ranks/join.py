"""Starts the ranks of a run: checks devices, starts processes, compares recipes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment

from ffcore.engine.module import ForwardOnly
from ffcore.errors import LostError, UserError, everywhere
from ffcore.interfaces import ALONE, Ranks
from ffcore.ranks import where
from ffcore.ranks.device import accelerator
from ffcore.ranks.group import Group, lost_ranks
from ffcore.ranks.launcher import GRACE, Launcher, end_with_first_rank
from ffcore.ranks.local import LocalDDP, on_gpu
from ffcore.ranks.pipeline import PipelineStrategy
from ffcore.ranks.variables import Variables
from ffcore.ranks.where import interactive, started_by_first, started_by_others, world
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Spec, entry_of

_PROCESSES = 8  # processes that may share fewer CPU cores, to try a layout


def check(recipe: Recipe) -> None:
    """Checks that this machine has the devices that a recipe asks for.

    Raises:
        UserError: it says which entry of ``trainer`` is to be another.
    """
    config = recipe.trainer
    accelerator(recipe)
    ranks = world(config)
    where.check(config)
    ours = dist.is_initialized() and (Launcher.started is not None or started_by_first())
    processes = dist.get_world_size() if ours else ranks
    if ranks != processes:
        raise UserError(
            f"trainer.devices: {config.devices}: this program has trained on {processes} devices, and the "
            "processes for that are still there; use as many, or a program of its own"
        )
    if ranks == 1:
        if isinstance(config.strategy, Spec):
            raise UserError(
                f"trainer.strategy: {config.strategy.kind!r} is for several devices; set trainer.devices to "
                "more, or trainer.strategy to auto"
            )
        return
    there, what = (torch.cuda.device_count(), "GPUs") if on_gpu(recipe) else (_cores(), "CPU cores")
    most = there if on_gpu(recipe) else max(there, _PROCESSES)  # processes can share cores, not GPUs
    if config.devices > most:
        raise UserError(
            f"trainer.devices: {config.devices}: this machine has {there} {what}; set it to {most} or less"
        )
    kind(recipe).replicas(recipe)  # raises for ranks that do not divide into replicas
    if recipe.data.batch_size < ranks:
        raise UserError(
            f"data.batch_size: {recipe.data.batch_size}: {ranks} ranks share each batch of the test, or of "
            f"training; it should be at least {ranks}"
        )
    known = "MASTER_ADDR" in os.environ or started_by_others()
    if config.num_nodes > 1 and not known:
        raise UserError(
            f"trainer.num_nodes: {config.num_nodes}: the machines do not know of each other: start it by "
            "torchrun or SLURM, or set MASTER_ADDR, MASTER_PORT and NODE_RANK on each"
        )
    if not (started_by_first() or started_by_others()) and interactive():
        raise UserError(
            f"trainer.devices: {config.devices}: other processes run the same program, and an interactive "
            "session is none; use a script or `ffcore run`"
        )


def kind(recipe: Recipe) -> type[LocalDDP]:
    """The class of the strategy by which a run uses several ranks.

    Raises:
        UserError: it is not one of ffcore's.
    """
    spec = recipe.trainer.strategy
    if not isinstance(spec, Spec):
        return LocalDDP
    if spec.object is not None:
        raise UserError("trainer.strategy: should be a name or package.module:Class, as every rank makes one")
    found = entry_of("strategy", spec.kind).load()
    if not (isinstance(found, type) and issubclass(found, LocalDDP)):
        raise UserError(
            f"trainer.strategy: {spec.kind!r} is not a subclass of ffcore.ranks.local.LocalDDP; Lightning's "
            "own expect one backward pass a step, but every block has one"
        )
    return found


def divides(recipe: Recipe) -> bool:
    """Returns whether each rank of a run learns a part of the blocks."""
    found = kind(recipe)
    return world(recipe.trainer) > 1 and issubclass(found, PipelineStrategy) and found.stages(recipe) > 1


def share(recipe: Recipe, group: Ranks) -> tuple[int, int]:
    """Returns which share of a training batch this rank learns from, and the number of shares."""
    replicas = kind(recipe).replicas(recipe)
    return group.rank * replicas // group.world, replicas


def measuring_share(recipe: Recipe, group: Ranks, trainer: L.Trainer, module: ForwardOnly) -> tuple[int, int]:
    """Returns which share of a validation batch this rank measures, and the number of shares."""
    kept = trainer.strategy
    if isinstance(kept, PipelineStrategy) and kept.holds_own(trainer, module):
        return share(recipe, group)
    return group.rank, group.world


def refuse_network(recipe: Recipe, module: ForwardOnly) -> None:
    """Checks that a network can be used on several ranks.

    Raises:
        UserError: a black box of which there is only one, that observes batches or overlaps, or a network
            that cannot be cut.
    """
    ranks = world(recipe.trainer)
    for box in module.network.boxes if ranks > 1 else ():
        if not box.movable:
            raise UserError(
                f"{box.where}: it cannot be moved: there is only one of it, and each of {ranks} ranks needs "
                "its own; set trainer.devices to 1"
            )
        if box.box.observes:
            raise UserError(
                f"{box.where}: it learns from every batch, of which each of {ranks} ranks has a part; set "
                "trainer.devices to 1"
            )
        if box.overlap:
            raise UserError(
                f"{box.where}: overlap: does not work on {ranks} ranks; set it to false, or trainer.devices "
                "to 1"
            )
    if ranks > 1:
        kind(recipe).refuse(module, recipe)


def threads(recipe: Recipe) -> int | None:
    """Returns the number of torch threads of each rank; None leaves torch's default."""
    config = recipe.trainer
    if config.threads is not None or world(config) == 1:
        return config.threads
    return max(1, _cores() // config.devices)


def strategy(recipe: Recipe) -> LocalDDP | str:
    """Returns the strategy for Lightning's trainer."""
    return "auto" if world(recipe.trainer) == 1 else kind(recipe).of(recipe)


def environments(recipe: Recipe) -> list[Any]:
    """Returns the cluster environment for Lightning's trainer; an empty list if Lightning is to find it.

    A single process does not depend on a cluster: Lightning would compare its devices with SLURM's tasks.
    Of SLURM it would also requeue a job that gets SIGUSR1, with a checkpoint of its own; see `Stop`.
    """
    if world(recipe.trainer) == 1:
        return [LightningEnvironment()]
    if started_by_first() or "TORCHELASTIC_RUN_ID" in os.environ:
        return []
    if where.under_slurm():
        return [SLURMEnvironment(auto_requeue=False)]
    return [Variables(recipe.trainer.devices)] if where.by_variables() else []


@contextmanager
def joined(recipe: Recipe) -> Iterator[Ranks]:
    """Starts and connects the ranks of a run, unless they run already.

    They stay so for the rest of the program, as other runs of a script need them; when something fails here,
    the others are ended.

    Raises:
        UserError: when they cannot be connected.
        LostError: in place of whatever follows from the end of another rank, with its reason if it is known.
    """
    if world(recipe.trainer) == 1:
        yield ALONE
        return
    trainer = L.Trainer(
        accelerator=accelerator(recipe),
        devices=recipe.trainer.devices,
        num_nodes=recipe.trainer.num_nodes,
        strategy=strategy(recipe),
        plugins=environments(recipe),
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    launcher = Launcher.started or trainer.strategy.launcher
    assert isinstance(launcher, Launcher)
    launcher.busy = True
    try:
        _connect(trainer)
        yield Group()
    except BaseException as error:
        lost = error if isinstance(error, LostError) else None
        reason = launcher.ended(wait=GRACE) if lost is not None and launcher.procs else None
        _leave(launcher)
        if lost is not None:
            said = reason or str(lost)
            raise LostError(f"{said}; {lost.hint}" if lost.hint else said) from error
        raise
    finally:
        launcher.busy = False


def _connect(trainer: L.Trainer) -> None:
    end_with_first_rank()
    port = os.environ.get("MASTER_PORT", "1")
    if not (port.isdecimal() and 0 < int(port) < 65536):
        raise UserError(f"MASTER_PORT: should be a port, 1 to 65535, not {port!r}")
    launcher = trainer.strategy.launcher
    assert launcher is not None
    try:
        with lost_ranks():
            launcher.launch(trainer.strategy.setup_environment)
    except LostError as error:
        said = str(error.__cause__)
        if "EADDRINUSE" in said or "address already in use" in said:
            port = os.environ.get("MASTER_PORT", "?")
            raise UserError(f"MASTER_PORT: {port} is in use; name another port, or none") from error
        raise


def _leave(launcher: Launcher) -> None:
    """Disconnects from the other ranks, and resets the state of this process."""
    Launcher.started = None
    launcher.busy = False
    for process in launcher.procs:
        process.terminate()
    launcher.end(wait=2.0)
    if launcher.procs:
        Launcher.failed = True
        if dist.is_initialized():
            dist.destroy_process_group()
        for name in os.environ.keys() - set(launcher.before):
            del os.environ[name]


def refuse_differences(group: Ranks, mine: Mapping[str, Any]) -> None:
    """Checks that all ranks train the same recipe on the same data with the same software.

    Args:
        group: all ranks.
        mine: what this one has, as plain values.

    Raises:
        UserError: on all ranks: which one differs, and where.
    """
    every = group.objects((dict(mine), Launcher.failed))
    for number, (theirs, _) in enumerate(every):
        if (found := difference(every[0][0], theirs)) is not None:
            path, first, other = found
            why = (
                "; an earlier training of this program has failed, and the processes that were started since "
                "run the program from its beginning: train again in a program of its own"
                if any(failed for _, failed in every)
                else ""
            )
            raise everywhere(
                UserError(f"rank {number} differs from rank 0: its {path} is {other!r}, not {first!r}{why}")
            )


def difference(one: Any, other: Any, path: str = "") -> tuple[str, Any, Any] | None:
    """Returns the first path at which two trees of plain values differ, and both values."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            below = f"{path}.{key}" if path else str(key)
            if found := difference(one.get(key), other.get(key), below):
                return found
        return None
    return None if one == other else (path, one, other)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
