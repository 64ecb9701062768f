"""One run: from a validated recipe to a folder with results."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.profilers import PassThroughProfiler
from rich.console import Console

from ffcore import files
from ffcore.build.assemble import assemble
from ffcore.data.images import Dataset, Split
from ffcore.engine.bar import Bar
from ffcore.engine.history import History
from ffcore.engine.module import ForwardOnly
from ffcore.errors import TimeUpError, UserError
from ffcore.recipe.load import dump
from ffcore.recipe.load import load as load_recipe
from ffcore.recipe.schema import Recipe
from ffcore.report.write import write_report
from ffcore.run import checkpoints, directory, environment, figures, start
from ffcore.run.checkpoints import Checkpoints
from ffcore.run.data import Data, with_given_data
from ffcore.run.histograms import Histograms
from ffcore.run.results import results_of
from ffcore.run.stopping import Stop
from ffcore.run.watchers import Watchers, needs_checkpointing


@dataclass(frozen=True)
class Run:
    """What a run leaves behind.

    Attributes:
        path: the run's folder.
        results: the content of its ``results.json``.
        module: the trained module.
    """

    path: Path
    results: dict[str, Any] = field(repr=False)
    module: ForwardOnly = field(repr=False)


def train(
    recipe: Recipe,
    run_dir: Path | None = None,
    *,
    dataset: Dataset | None = None,
    console: Console | None = None,
    command: str | None = None,
    max_time: float | None = None,
    callbacks: Sequence[L.Callback] = (),
) -> Run:
    """Train, select, test, and write everything down.

    Nothing is written before the recipe, the data and the network have been found to fit together.

    Args:
        recipe: the validated recipe.
        run_dir: a folder that is empty or not there; None for ``runs/<recipe>-<time>``.
        dataset: data in place of what the recipe names.
        console: where the bar is drawn; None for nowhere.
        command: the command line that made the run, if one did.
        max_time: seconds after which to stop with a checkpoint, so that `resume` can go on; None: no limit.
        callbacks: Lightning callbacks that watch the training beside ffcore's own.

    Raises:
        UserError: when the recipe, the data or the folder cannot work.
        RunError: when a loss is no number any more, or a file cannot be written.
        TimeUpError: when the time was up before the run was finished.
        KeyboardInterrupt: Ctrl-C; what was learned so far is in the last checkpoint.
    """
    _one_device(recipe)
    directory.check(run_dir)
    job = _Job.prepare(recipe, dataset, command)
    started = start.load(job.module, recipe)
    path = directory.create(run_dir, recipe.name)
    with directory.locked(path):
        directory.write_text(path / files.CONFIG, dump(job.recipe))
        return job.run(path, console, max_time, callbacks, started)


def resume(
    run_dir: Path,
    *,
    recipe: Recipe | None = None,
    dataset: Dataset | None = None,
    console: Console | None = None,
    command: str | None = None,
    max_time: float | None = None,
    callbacks: Sequence[L.Callback] = (),
) -> Run:
    """Go on with a run that was stopped or killed; on a CPU it ends with the numbers that it would have had.

    Args:
        run_dir: its folder.
        recipe: refuse to go on if the run's recipe is another; None: whatever it is.
        dataset: the data, for a run that was given its data from Python.
        console: as for `train`.
        command: as for `train`.
        max_time: as for `train`.
        callbacks: as for `train`.

    Raises:
        UserError: when the folder is no run, the run is finished, its checkpoints do not load, or its recipe
            or data have changed; otherwise as for `train`.
    """
    config = run_dir / files.CONFIG
    if not config.is_file():
        raise UserError(f"--resume {run_dir}: no run: there is no {files.CONFIG} in it")
    if (run_dir / files.RESULTS).exists():
        raise UserError(f"--resume {run_dir}: the run is finished; `ffcore report` shows it")
    own = load_recipe(str(config))
    if recipe is not None:
        changed = _difference(own.model_dump(mode="json"), recipe.model_dump(mode="json"))
        if changed is not None:
            raise UserError(
                f"--resume {run_dir}: a run of another recipe: {changed}; a run goes on as it began"
            )
    _one_device(own)
    with directory.locked(run_dir):
        for folder in (run_dir, run_dir / files.CHECKPOINTS):
            files.sweep(folder)
        newest, state, complaints = checkpoints.newest(run_dir / files.CHECKPOINTS)
        for complaint in complaints:
            _complain(f"{complaint}; going on from the checkpoint before it")
        job = _Job.prepare(own, dataset, command)
        if state is not None:
            job.refuse_other_data(run_dir, state["ffcore"]["data"])
        started = start.load(job.module, own) if state is None else state["ffcore"].get("start")
        return job.run(run_dir, console, max_time, callbacks, started, newest, state)


@dataclass(frozen=True)
class _Job:
    """A recipe with the data and the module that belong to it."""

    recipe: Recipe
    data: Data
    module: ForwardOnly
    watchers: Watchers
    command: str | None
    began: float

    @classmethod
    def prepare(cls, recipe: Recipe, dataset: Dataset | None, command: str | None) -> _Job:
        began = time.perf_counter()
        data = Data.open(recipe, dataset)
        if recipe.trainer.select == "best" and data.val is None:
            raise UserError("trainer.select: 'best' needs a validation split, but data.validation is 0")
        if recipe.trainer.patience is not None and data.val is None:
            raise UserError("trainer.patience: needs a validation split, but data.validation is 0")
        module = assemble(recipe, data.images.shape, data.images.num_classes, data.images.groups)
        data.prepare(module.augmentations)
        if recipe.trainer.precision == "64-true":
            module.double()  # Lightning does so too, but after it has loaded a checkpoint's weights
        if dataset is not None:
            recipe = with_given_data(recipe, data.images.name)
        return cls(recipe, data, module, Watchers(recipe), command, began)

    def refuse_other_data(self, run_dir: Path, meta: Mapping[str, Any]) -> None:
        now = self.data.meta()
        for key in ("name", "shape", "classes", "provenance"):
            if meta.get(key) != now[key]:
                raise UserError(
                    f"--resume {run_dir}: data: the {key} of the set has changed since the run began; "
                    "it goes on with the same files only"
                )

    def run(
        self,
        path: Path,
        console: Console | None,
        max_time: float | None,
        callbacks: Sequence[L.Callback],
        started: Mapping[str, Any] | None,
        newest: Path | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> Run:
        """Learn (from ``newest`` on, whose content is ``state``), select, test, write."""
        recipe, data, module = self.recipe, self.data, self.module
        config = recipe.trainer
        before = state["ffcore"]["wall_s"] if state is not None else 0.0

        def elapsed() -> float:
            return float(before + time.perf_counter() - self.began)

        history = History(path / files.METRICS)
        spread = Histograms(lambda device: data.loader(cast(Split, data.val), device, None))
        meta = {"data": data.meta(), "version": environment.versions()["ffcore"], "start": started}
        keep = Checkpoints(path / files.CHECKPOINTS, meta, config.checkpoint_every, elapsed)
        stop = Stop(keep, config.max_steps, max_time, config.patience)
        bar = [Bar(console, recipe.name)] if console is not None and config.bar else []
        with _apart(config.threads), stop.signals():
            # what has a state comes before what writes it down
            mine = [history, spread, stop, *self.watchers.callbacks(history), *callbacks, keep, *bar]
            trainer = _trainer(recipe, mine, self.watchers.loggers(path))
            device = trainer.strategy.root_device
            if state is not None and state["ffcore"]["learned"]:
                module.load_state_dict(state["state_dict"])
                module.val_figures = state["ffcore"]["val"]
                for callback in (history, spread):
                    callback.load_state_dict(state["callbacks"][callback.state_key])
            else:
                learn = data.loader(data.train, device, lambda: trainer.current_epoch)
                val = data.loader(data.val, device, None) if data.val is not None else None
                trainer.fit(module, learn, val, ckpt_path=newest, weights_only=True)
                if stop.asked:
                    raise KeyboardInterrupt(f"{path} keeps the weights after step {trainer.global_step}")
                if stop.unfinished and not keep.learned:
                    raise TimeUpError(path)
                state = checkpoints.read(path / files.CHECKPOINTS / checkpoints.LAST)
            epoch, val_figures = _select(recipe, module, path, state)
            trainer.test(module, data.loader(data.images.test, device, None), verbose=False)
        module.to(device)
        results = results_of(
            *(recipe, data, module, history, device),
            command=self.command,
            state=state,
            epoch=epoch,
            val=val_figures,
            wall=elapsed(),
        )
        figures.save(path / files.FIGURES, {**figures.measure(module, data, device), **spread.arrays()})
        directory.write_json(path / files.RESULTS, results)
        write_report(path, _complain if console is None else console.out)
        return Run(path, results, module)


def _difference(one: Any, other: Any, path: str = "") -> str | None:
    """The first place where two recipes differ, in words."""
    if isinstance(one, dict) and isinstance(other, dict):
        for key in dict.fromkeys((*one, *other)):
            below = f"{path}.{key}" if path else str(key)
            if found := _difference(one.get(key), other.get(key), below):
                return found
        return None
    return None if one == other else f"its {path} is {one!r}, not {other!r}"


def _one_device(recipe: Recipe) -> None:
    for name in ("devices", "num_nodes"):
        count = getattr(recipe.trainer, name)
        if count != 1:
            raise UserError(f"trainer.{name}: {count}: this version trains on one device; set it to 1")
    if recipe.trainer.strategy != "auto":
        raise UserError(f"trainer.strategy: {recipe.trainer.strategy!r}: this version knows only 'auto'")
    if recipe.trainer.accelerator == "gpu" and not torch.cuda.is_available():
        raise UserError("trainer.accelerator: 'gpu': there is none here; use 'auto' or 'cpu'")


def _trainer(recipe: Recipe, callbacks: list[L.Callback], loggers: list[Logger]) -> L.Trainer:
    config = recipe.trainer
    return L.Trainer(
        accelerator=config.accelerator if config.accelerator != "auto" else _accelerator(),
        devices=1,
        precision=config.precision,
        max_epochs=config.max_epochs,
        check_val_every_n_epoch=config.validate_every,
        callbacks=callbacks,
        logger=loggers or False,
        enable_progress_bar=False,
        enable_checkpointing=needs_checkpointing(callbacks),
        enable_model_summary=False,
        num_sanity_val_steps=0,
        profiler=_Unprofiled(),
        inference_mode=False,  # what components keep of a validation must be ordinary tensors
    )


class _Unprofiled(PassThroughProfiler):
    """Lightning's own makes a generator for each hook of each callback, some fifty a step."""

    _nothing = nullcontext()

    def profile(self, action_name: str) -> AbstractContextManager[None]:  # type: ignore[override]
        return self._nothing


def _accelerator() -> str:
    return "gpu" if torch.cuda.is_available() else "cpu"


def _select(
    recipe: Recipe, module: ForwardOnly, path: Path, state: Mapping[str, Any]
) -> tuple[int, dict[str, Any] | None]:
    """Load the weights that the recipe selects: their epoch, from 1, and their figures on validation data."""
    if recipe.trainer.select == "best":
        state = checkpoints.read(path / files.CHECKPOINTS / checkpoints.BEST)
        module.load_state_dict(state["state_dict"])
    return state["ffcore"]["epochs"], state["ffcore"]["val"]


def _complain(message: str) -> None:
    warnings.warn(message, stacklevel=3)


@contextmanager
def _apart(threads: int | None) -> Iterator[None]:
    """Threads and random state of the run's own, and none of Lightning's advertisements."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    before = torch.get_num_threads()
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    if threads is not None:
        torch.set_num_threads(threads)
    with warnings.catch_warnings(), torch.random.fork_rng():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        warnings.filterwarnings("ignore", message=".*have no `val_dataloader`.*")  # data.validation=0
        warnings.filterwarnings("ignore", message="The number of training batches")  # loggers hear of epochs
        try:
            yield
        finally:
            torch.set_num_threads(before)
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
