"""A run that was stopped or killed, resumed from its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console

from ffcore import files
from ffcore.build.given import objects_of
from ffcore.data.images import Dataset
from ffcore.errors import UserError
from ffcore.network import Network
from ffcore.ranks import join, where
from ffcore.recipe.load import load as load_recipe
from ffcore.recipe.schema import Recipe
from ffcore.recipe.trainer import says_where
from ffcore.run import checkpoints, directory, start
from ffcore.run.finished import Run
from ffcore.run.places import absolute
from ffcore.run.same import difference, refuse_edited, tell_other_plugins
from ffcore.run.train import Job, teller
from ffcore.run.trainer import apart


def resume(
    run_dir: Path,
    *,
    recipe: Recipe | None = None,
    overrides: Sequence[str] = (),
    objects: Mapping[str, Any] | None = None,
    dataset: Dataset | None = None,
    console: Console | None = None,
    command: str | None = None,
    max_time: float | None = None,
    callbacks: Sequence[L.Callback] = (),
    report: bool = True,
    net: Network | None = None,
) -> Run:
    """Resume a run that was stopped or killed; on a CPU it ends with the numbers that it would have had.

    Args:
        run_dir: its folder.
        recipe: refuse to resume if the run's recipe is another; None: whatever it is.
        overrides: where to resume, such as ``trainer.devices=2``.
        objects: objects that the run's ``config.yaml`` only describes, by path.
        dataset: the data, for a run that was given its data from Python.
        console: as for `train`.
        command: as for `train`.
        max_time: as for `train`.
        callbacks: as for `train`.
        report: as for `train`.
        net: as for `train`; one made as that of the run was.

    Raises:
        UserError: when the folder is no run, the run is finished, its checkpoints do not load, or its recipe
            or data have changed; otherwise as for `train`.
    """
    config = run_dir / files.CONFIG
    if not config.is_file():
        raise UserError(f"--resume {run_dir}: no run: there is no {files.CONFIG} in it")
    if (run_dir / files.RESULTS).exists():
        raise UserError(f"--resume {run_dir}: the run is finished; `ffcore report` shows it")
    for said in overrides:
        if not says_where(said):
            raise UserError(f"--resume {run_dir}: {said}: a run goes on as it began, but for where it runs")
    if net is not None:
        objects = {**(objects or {}), **objects_of(net)}
    own = load_recipe(str(config), overrides, objects)
    if recipe is not None and (changed := difference(absolute(own), absolute(recipe))):
        raise UserError(f"--resume {run_dir}: a run of another recipe: {changed}; a run goes on as it began")
    if own.data.dataset.kind == "given" and dataset is None:
        raise UserError(
            f"--resume {run_dir}: its data were given from Python; go on with "
            f"ffcore.resume({str(run_dir)!r}, data=…)"
        )
    join.check(own)
    first = where.rank(own.trainer) == 0
    with ExitStack() as stack:
        if first:
            stack.enter_context(directory.locked(run_dir))
            for folder in (run_dir, run_dir / files.CHECKPOINTS):
                directory.refuse_read_only(folder)
                files.remove_drafts(folder)
        newest, state, complaints = checkpoints.newest(run_dir / files.CHECKPOINTS)
        for complaint in complaints:
            teller(console)(f"{complaint}; going on from the checkpoint before it")
        if state is not None:
            refuse_edited(run_dir, state["ffcore"], own, objects)
        job = Job.prepare(own, dataset, command, callbacks, net)
        if state is not None:
            job.refuse_other_data(run_dir, state["ffcore"]["data"])
            tell_other_plugins(state["ffcore"].get("plugins", {}), teller(console))
        started = start.load(job.module, own) if state is None else state["ffcore"].get("start")
        stack.enter_context(apart(join.threads(own)))
        group = stack.enter_context(join.joined(own))
        job.refuse_other_ranks(group, step=state["global_step"] if state is not None else 0)
        loggers = job.callbacks.loggers(run_dir) if first else []
        return job.run(run_dir, group, loggers, console, max_time, started, newest, state, report=report)
