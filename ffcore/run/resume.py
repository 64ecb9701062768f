"""Resumes a run that was stopped or killed from its last checkpoint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import lightning as L
from rich.console import Console

from ffcore import files
from ffcore.blame import blaming
from ffcore.build.given import objects_of
from ffcore.build.names import of_existing_run
from ffcore.data.images import Dataset
from ffcore.errors import UserError
from ffcore.network import Network
from ffcore.plugin import manager
from ffcore.ranks import join, where
from ffcore.reading import read_json
from ffcore.recipe.schema import Recipe
from ffcore.run import checkpoints, directory, start
from ffcore.run.finished import Run
from ffcore.run.places import absolute
from ffcore.run.recorded import recipe_of, recorded
from ffcore.run.same import difference, refuse_edited, refuse_overrides, report_changed_plugins
from ffcore.run.surroundings import own_settings
from ffcore.run.train import Job, reporter
from ffcore.run.trainer import apart


@own_settings()
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
    """Resume a run that was stopped or killed. On a CPU the results are those of an uninterrupted run.

    Args:
        run_dir: the run directory.
        recipe: the expected recipe: an error if the run has another one; None to skip this check.
        overrides: options of where to run, such as ``trainer.devices=2``, or of where its data are, such as
            ``data.root=DIRECTORY``.
        objects: Python objects of the recipe by path, which ``config.yaml`` only describes.
        dataset: the data set, for a run that was given its data from Python.
        console: as for `train`.
        command: as for `train`.
        max_time: as for `train`.
        callbacks: as for `train`.
        report: as for `train`.
        net: as for `train`, made in the same way as the run's.

    Raises:
        UserError: the directory is not a run directory, the run is finished, its checkpoints do not load, or
            its recipe or data have changed; otherwise as for `train`.
    """
    config = run_dir / files.CONFIG
    if not config.is_file():
        raise UserError(f"{run_dir}: not a run directory: it has no {files.CONFIG}")
    _refuse_finished(run_dir, net)
    refuse_overrides(run_dir, overrides)
    if net is not None:
        objects = {**(objects or {}), **objects_of(net)}
    own = _own(run_dir, recipe, overrides, objects)
    if own.data.dataset.kind == "given" and dataset is None:
        raise UserError(
            f"{run_dir}: its data were given from Python; resume it with "
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
            reporter(console)(f"{complaint}; resuming from the checkpoint before it")
        if state is None and any(override.startswith("data.") for override in overrides):
            raise UserError(
                f"{run_dir}: it has no checkpoint yet, so that other files cannot be compared with "
                "those it began with: start it again"
            )
        if state is not None:
            refuse_edited(run_dir, state["ffcore"], own, objects)
        with blaming(UserError), of_existing_run():
            job = Job.prepare(own, dataset, command, callbacks, net)
        if state is not None:
            job.refuse_other_data(run_dir, state["ffcore"]["data"])
            report_changed_plugins(state["ffcore"].get("plugins", {}), reporter(console))
            job.callbacks.refuse_resumed(run_dir, state)
        # With a checkpoint, Lightning restores all weights; those of ``start`` must not be loaded again.
        started = start.load(job.module, own) if state is None else state["ffcore"].get("start")
        stack.enter_context(apart(join.threads(own)))
        group = stack.enter_context(join.joined(own))
        job.refuse_other_ranks(group, step=state["global_step"] if state is not None else 0)
        loggers = job.callbacks.loggers(run_dir, reporter(console)) if first else []
        if first:  # what belongs to the weights before
            (run_dir / files.EXITS).unlink(missing_ok=True)
            (run_dir / files.ANALYSIS).unlink(missing_ok=True)
        return job.run(run_dir, group, loggers, console, max_time, started, newest, state, report=report)


def _refuse_finished(run_dir: Path, net: Network | None) -> None:
    if not (run_dir / files.RESULTS).exists():
        return
    try:
        read_json(run_dir / files.RESULTS)
    except UserError as error:
        raise UserError(f"{run_dir}: {error}; delete {files.RESULTS} to resume the run") from error
    onwards = f"begin another run with start.run={run_dir}"
    if net is not None:
        onwards = f"ffcore.load({str(run_dir)!r}, net=net), ffcore.fit(net, …) into another directory"
    raise UserError(
        f"{run_dir}: the run is finished; `{manager.command('report', str(run_dir))}` shows it; to train "
        f"on from its weights: {onwards}"
    )


def _own(
    run_dir: Path, recipe: Recipe | None, overrides: Sequence[str], objects: Mapping[str, Any] | None
) -> Recipe:
    if recipe is not None and not overrides:
        refuse_another(run_dir, recorded(run_dir), recipe)
        return absolute(recipe)  # it has the Python objects that config.yaml only describes
    own = recipe_of(run_dir, overrides, objects)
    if recipe is not None:
        refuse_another(run_dir, own, recipe)
    return own


def refuse_another(run_dir: Path, own: Recipe, recipe: Recipe) -> None:
    """Check that a run has the expected recipe.

    Raises:
        UserError: it has another one; the message names the first difference.
    """
    if changed := difference(absolute(own), absolute(recipe)):
        raise UserError(f"{run_dir}: a run of another recipe: {changed}; a resumed run keeps its recipe")
