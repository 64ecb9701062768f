"""One run: from a validated recipe to a folder with results."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.loggers import Logger
from rich.console import Console

from ffcore import files
from ffcore.build.assemble import assemble
from ffcore.build.given import around
from ffcore.data.images import Dataset, ImageSet, Split
from ffcore.engine.bar import Bar
from ffcore.engine.history import History
from ffcore.engine.module import ForwardOnly
from ffcore.errors import TimeUpError, UserError
from ffcore.interfaces import ALONE, Ranks
from ffcore.network import Network
from ffcore.ranks import join, where
from ffcore.ranks.drift import Drift
from ffcore.recipe.load import dump
from ffcore.recipe.schema import Recipe
from ffcore.report.write import write_report
from ffcore.run import arrays, checkpoints, directory, environment, start
from ffcore.run.callbacks import Callbacks
from ffcore.run.checkpoints import Checkpoints, PausedError
from ffcore.run.collect import results_of
from ffcore.run.data import Data, with_given_data
from ffcore.run.finished import Run
from ffcore.run.histograms import Histograms
from ffcore.run.places import absolute
from ffcore.run.results import Results
from ffcore.run.stopping import Stop
from ffcore.run.trainer import apart, make_trainer
from ffcore.trust import trusting


def train(
    recipe: Recipe,
    run_dir: Path | None = None,
    *,
    dataset: Dataset | None = None,
    console: Console | None = None,
    command: str | None = None,
    max_time: float | None = None,
    callbacks: Sequence[L.Callback] = (),
    report: bool = True,
    net: Network | None = None,
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
        net: a network to train in place of what the recipe names; its parts are recorded in the recipe.
        report: write the report; without it `ffcore.report.write_report` can make it later.

    Raises:
        UserError: when the recipe, the data or the folder cannot work.
        RunError: when a loss is no number any more, or a file cannot be written.
        TimeUpError: when the time was up before the run was finished.
        KeyboardInterrupt: Ctrl-C; what was learned so far is in the last checkpoint.
    """
    join.check(recipe)
    first = where.rank(recipe.trainer) == 0
    if first and not where.started_by_others():  # who would wait for this one
        directory.check(run_dir)
    job = Job.prepare(recipe, dataset, command, callbacks, net)
    started = start.load(job.module, job.recipe)
    with apart(join.threads(recipe)), join.joined(recipe) as group, ExitStack() as stack:
        job.refuse_other_ranks(group)
        path, loggers = Path(), []
        if first:
            there = directory.nearest(run_dir)
            path = directory.create(run_dir, recipe.name)
            stack.enter_context(directory.locked(path))
            with directory.undone(path, there):
                directory.write_text(path / files.CONFIG, dump(job.recipe))
                loggers = job.callbacks.loggers(path)
        path = group.objects(path)[0]
        return job.run(path, group, loggers, console, max_time, started, report=report)


def checker() -> Callable[[Recipe], None]:
    """A function that finds out whether `train` would refuse a recipe; it reads each data set once."""
    read: dict[str, Dataset] = {}

    def check(recipe: Recipe) -> None:
        join.check(recipe)
        name = repr(recipe.data.dataset.dump())
        job = Job.prepare(recipe, read.get(name), None, ())
        read[name] = _Read(job.data.images)
        start.load(job.module, recipe)
        with tempfile.TemporaryDirectory() as folder:
            job.callbacks.loggers(Path(folder))

    return check


@dataclass(frozen=True)
class _Read(Dataset):
    """A data set that is in memory already."""

    images: ImageSet

    def load(self) -> ImageSet:
        return self.images


@dataclass(frozen=True)
class Job:
    """A recipe with the data and the module that belong to it.

    Attributes:
        recipe: with whole paths.
        data: the data set, cut.
        module: built, before it learns.
        callbacks: loggers and callbacks.
        command: the command line that started this, if one did.
        commit: of ffcore's checkout when it was imported.
        began: when the preparation began, by `time.perf_counter`.
    """

    recipe: Recipe
    data: Data
    module: ForwardOnly
    callbacks: Callbacks
    command: str | None
    commit: str | None
    began: float

    @classmethod
    def prepare(
        cls,
        recipe: Recipe,
        dataset: Dataset | None,
        command: str | None,
        callbacks: Sequence[L.Callback],
        net: Network | None = None,
    ) -> Job:
        """Read the data, build the module, and check that they fit.

        Raises:
            UserError: they do not.
        """
        began = time.perf_counter()
        commit = environment.git_commit()  # of what has been imported, whatever is there at the end
        found = Callbacks(recipe, callbacks)
        data = Data.open(recipe, dataset)
        if recipe.trainer.select == "best" and data.val is None:
            raise UserError("trainer.select: 'best' needs a validation split, but data.validation is 0")
        if recipe.trainer.patience is not None and data.val is None:
            raise UserError("trainer.patience: needs a validation split, but data.validation is 0")
        images = data.images
        if net is None:
            module = assemble(
                recipe, images.shape, images.num_classes, images.superclasses, data.statistics()
            )
        else:
            module = around(net, recipe, images.shape, images.num_classes, data.statistics())
        join.refuse_network(recipe, module)
        if recipe.trainer.precision == "64-true":
            module.double()  # Lightning does so too, but after it has loaded a checkpoint's weights
        recipe = absolute(recipe)
        if dataset is not None or recipe.data.dataset.object is not None:
            recipe = with_given_data(recipe, images.name)
        return cls(recipe, data, module, found, command, commit, began)

    def refuse_other_data(self, run_dir: Path, meta: Mapping[str, Any]) -> None:
        """Refuse to resume with data that differ from those of the checkpoint.

        Raises:
            UserError: they do.
        """
        now = self.data.meta()
        for key in ("name", "shape", "classes", "provenance"):
            if meta.get(key) != now[key]:
                raise UserError(
                    f"--resume {run_dir}: data: the {key} of the set has changed since the run began; "
                    "it goes on with the same files only"
                )

    def refuse_other_ranks(self, group: Ranks, **more: Any) -> None:
        """All ranks are to do the same."""
        recipe = self.recipe.model_dump(mode="json")
        recipe["data"] |= dict.fromkeys(("root", "path", "cache"))  # machines have folders of their own
        data = self.data.meta()
        join.refuse_differences(
            group, {"recipe": recipe, "data": data, "versions": environment.versions(), **more}
        )

    def run(
        self,
        path: Path,
        group: Ranks,
        loggers: list[Logger],
        console: Console | None,
        max_time: float | None,
        started: Mapping[str, Any] | None,
        newest: Path | None = None,
        state: Mapping[str, Any] | None = None,
        *,
        report: bool,
    ) -> Run:
        """Learn (from ``newest`` on, whose content is ``state``), select, test, write."""
        with directory.told_how_to_go_on(path), self._boxes_closed():
            results = self._results(path, group, loggers, console, max_time, started, newest, state)
            if group.rank == 0:
                directory.write_json(path / files.RESULTS, results)
            shared = group.objects(results)[0]
            if report and group.rank == 0:
                write_report(path, teller(console))
            return Run(path, Results(shared), self.module)

    @contextmanager
    def _boxes_closed(self) -> Iterator[None]:
        """Whatever happens, black boxes let go of their processes and files."""
        try:
            yield
        finally:
            for stage in self.module.network.boxes:
                stage.box.close()

    def _results(
        self,
        path: Path,
        group: Ranks,
        loggers: list[Logger],
        console: Console | None,
        max_time: float | None,
        started: Mapping[str, Any] | None,
        newest: Path | None,
        state: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        recipe, data, module = self.recipe, self.data, self.module
        config = recipe.trainer
        before = state["ffcore"] if state is not None else {}

        def spent() -> dict[str, Any]:
            return {
                "wall_s": before.get("wall_s", 0.0) + time.perf_counter() - self.began,
                "peak_memory": max(before.get("peak_memory", 0), environment.peak_memory(device)),
            }

        meta: dict[str, Any] = {
            "data": data.meta(),
            "version": environment.versions()["ffcore"],
            "plugins": environment.plugins(),
            "start": started,
            "recipe": recipe.model_dump(mode="json"),
            "command": before.get("command", self.command),
            "commits": list(dict.fromkeys([*before.get("commits", ()), self.commit])),
        }
        history = History(path / files.METRICS if group.rank == 0 else None)
        histograms = Histograms(lambda device: data.loader(cast(Split, data.val), device, None))
        intact = newest is not None and newest.name == checkpoints.LAST
        keep = Checkpoints(path / files.CHECKPOINTS, meta, config.checkpoint_every, spent, intact=intact)
        stop = Stop(keep, config.max_steps, max_time, config.patience)
        first = group.rank == 0
        bar = [Bar(console, recipe.name)] if console is not None and config.bar and first else []
        drift = [Drift(config.compare_every)] if config.compare_every else []
        with stop.signals():
            mine = [history, histograms, *self.callbacks.all(history), *bar, *drift, stop, keep]
            trainer = make_trainer(recipe, path, mine, loggers)
            device = trainer.strategy.root_device
            environment.forget_peak(device)
            if state is not None and before["learned"]:
                for callback in (history, histograms):
                    callback.load_state_dict(state["callbacks"].get(callback.state_key, {}))  # {} is not kept
            else:
                sharing = group if join.kind(recipe).shares_batches else ALONE
                learn = data.loader(data.train, device, lambda: trainer.current_epoch, sharing)
                val = data.loader(data.val, device, None, group) if data.val is not None else None
                try:
                    trainer.fit(module, learn, val, ckpt_path=newest, weights_only=True)
                except PausedError:
                    module.distribution.end()
                    if not stop.asked:
                        raise TimeUpError(path) from None
                if any(group.objects(stop.pressed)):
                    raise KeyboardInterrupt(f"{path} keeps the weights after step {trainer.global_step}")
                state = checkpoints.read(path / files.CHECKPOINTS / checkpoints.LAST)
            with trusting():  # this process has written or opened it before
                epoch, val_metrics = _select(recipe, module, path, state)
            trainer.test(module, data.loader(data.images.test, device, None, group), verbose=False)
        module.to(device)
        peak = max(group.objects(spent()["peak_memory"]))
        if not first:
            return {}
        concluded = arrays.conclude(module, data, device, teller(console))
        results = results_of(
            *(recipe, data, module, history, device),
            command=meta["command"],
            commits=[commit for commit in meta["commits"] if commit is not None],
            state=state,
            epoch=epoch,
            val=val_metrics,
            spent={**spent(), "peak_memory": peak},
            concluded={name: float(value) for name, value in concluded.items() if not value.shape},
        )
        stored = {
            **arrays.measure(module, data, device, teller(console)),
            **concluded,
            **histograms.arrays(),
        }
        arrays.save(path / files.ARRAYS, stored)
        return results


def _select(
    recipe: Recipe, module: ForwardOnly, path: Path, state: Mapping[str, Any]
) -> tuple[int, dict[str, Any] | None]:
    """Load the weights that the recipe selects: their epoch, from 1, and their figures on validation data."""
    if recipe.trainer.select == "best":
        state = checkpoints.read(path / files.CHECKPOINTS / checkpoints.BEST)
    module.load_state_dict(state["state_dict"])
    return state["ffcore"]["epochs"], state["ffcore"]["val"]


def teller(console: Console | None) -> Callable[[str], None]:
    """A function that reports what is not an error: in one line on a console, else as a warning."""
    return console.out if console is not None else lambda message: warnings.warn(message, stacklevel=4)
