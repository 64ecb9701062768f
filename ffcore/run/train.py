"""Trains one run: from a validated recipe to a run directory with results."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning as L
from lightning.pytorch.loggers import Logger
from rich.console import Console

from ffcore import files
from ffcore.blame import blaming
from ffcore.build.assemble import assembled_for
from ffcore.build.form import Form
from ffcore.build.given import around
from ffcore.build.module_costs import of_module
from ffcore.data.images import Dataset, Split
from ffcore.engine.bar import Bar
from ffcore.engine.history import History
from ffcore.engine.module import ForwardOnly
from ffcore.errors import FOREIGN, RunError, TimeUpError, UserError, typed
from ffcore.interfaces import Ranks
from ffcore.local.box_use import counted_as
from ffcore.local.callers import callers, close
from ffcore.local.cost_sheet import CostSheet
from ffcore.local.costs import BlockCost, costs, large_heads
from ffcore.network import Network
from ffcore.ranks import join, where
from ffcore.ranks.drift import Drift
from ffcore.recipe.load import dump
from ffcore.recipe.schema import Recipe
from ffcore.recipe.trainer import WHERE_DATA
from ffcore.report.write import write_report
from ffcore.run import arrays, box_use, checkpoints, directory, environment, start, stored
from ffcore.run.callbacks import Callbacks
from ffcore.run.checkpoints import Checkpoints, PausedError
from ffcore.run.collect import results_of
from ffcore.run.data import Data, differing, with_given_data
from ffcore.run.finished import Run
from ffcore.run.histograms import Histograms
from ffcore.run.idle import refuse_idle_epochs
from ffcore.run.loggers import closed
from ffcore.run.metering import Metering
from ffcore.run.placement import Placement
from ffcore.run.places import absolute
from ffcore.run.results import Results
from ffcore.run.stopping import Stop, ended_by
from ffcore.run.surroundings import own_settings
from ffcore.run.trainer import apart, make_trainer
from ffcore.trust import trusting


@own_settings()
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
    """Train, select the weights, test, and write all results.

    Checks that the recipe, the data and the network fit together before it writes the first file.

    Args:
        recipe: the validated recipe.
        run_dir: an empty or new directory; None for ``runs/<recipe>-<time>``.
        dataset: a data set that replaces the one in the recipe.
        console: where the progress bar is drawn; None for no bar.
        command: the command line that started the run; None if it was started from Python.
        max_time: seconds after which to stop with a checkpoint that `resume` can load; None for no limit.
        callbacks: Lightning callbacks, in addition to ffcore's own.
        net: a network that replaces the one in the recipe; its parts are recorded in the recipe.
        report: write the report; if False, `ffcore.report.write_report` can make it later.

    Raises:
        UserError: the recipe, the data or the directory is not valid.
        RunError: a loss is non-finite, or a file cannot be written.
        TimeUpError: ``max_time`` has passed before the run was finished.
        KeyboardInterrupt: Ctrl-C was pressed; the last checkpoint has the weights learned so far.
    """
    join.check(recipe)
    first = where.rank(recipe.trainer) == 0
    # Under torchrun or SLURM the other ranks already wait in the rendezvous: an error before it would leave
    # them waiting, so the directory is checked after it, by `directory.create`.
    if first and not where.started_by_others():
        directory.check(run_dir)
    with blaming(UserError):
        job = Job.prepare(recipe, dataset, command, callbacks, net)
        if recipe.trainer.max_steps is None:
            refuse_idle_epochs(job.module, recipe.trainer.max_epochs)
        started = start.load(job.module, job.recipe)
    with apart(join.threads(recipe)), join.joined(recipe) as group, ExitStack() as stack:
        job.refuse_other_ranks(group)
        path, loggers = Path(), []
        if first:
            existing = directory.nearest(run_dir)
            path = directory.create(run_dir, recipe.name)
            stack.enter_context(directory.locked(path))
            files.remove_drafts(path)  # of a run that was killed before it had written its recipe
            with directory.undone(path, existing), blaming(UserError):
                directory.write_text(path / files.CONFIG, dump(job.recipe))
                loggers = job.callbacks.loggers(path, reporter(console))
        path = group.objects(path)[0]  # the other ranks have not made a directory: they take that of rank 0
        return job.run(path, group, loggers, console, max_time, started, report=report)


@dataclass(frozen=True)
class Job:
    """A recipe with its data and its module.

    Attributes:
        recipe: the recipe, with absolute paths.
        data: the data set, with its validation split.
        module: the untrained module.
        callbacks: loggers and callbacks of the recipe.
        command: the command line that started the run; None if it was started from Python.
        commit: the commit of ffcore's checkout when the run was prepared; None outside a checkout.
        began: start of the preparation, by `time.perf_counter`.
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
            UserError: they do not fit, the recipe needs a validation split that it does not have, or nothing
                would learn in its last epochs.
        """
        began = time.perf_counter()
        commit = environment.git_commit()  # now: the checkout may change while the imported code runs
        made_callbacks = Callbacks(recipe, callbacks)
        data = Data.open(recipe, dataset, learning=True)
        if recipe.trainer.select == "best" and data.val is None:
            raise UserError("trainer.select: 'best' needs a validation split, but data.validation is 0")
        if recipe.trainer.patience is not None and data.val is None:
            raise UserError("trainer.patience: needs a validation split, but data.validation is 0")
        images = data.images
        if net is None:
            module = assembled_for(recipe, Form.of(images), data.statistics())
        else:
            module = around(net, recipe, Form.of(images), data.statistics())
        if module.schedule.adaptive and data.val is None:
            raise UserError("schedule: it stops blocks by validation, but data.validation is 0")
        join.refuse_network(recipe, module)
        made_callbacks.check(module, data.val is not None)
        if recipe.trainer.precision == "64-true":
            module.double()  # Lightning does this only after it has loaded a checkpoint's weights
        recipe = absolute(recipe)
        if dataset is not None or recipe.data.dataset.object is not None:
            recipe = with_given_data(recipe, images.name)
        return cls(recipe, data, module, made_callbacks, command, commit, began)

    def refuse_other_data(self, run_dir: Path, meta: Mapping[str, Any]) -> None:
        """Check that the data are those of the checkpoint.

        Raises:
            UserError: they differ.
        """
        now = self.data.meta()
        for key in ("shape", "dtype", "task", "classes", "provenance"):
            if key not in meta and key in ("dtype", "task"):  # of older runs
                continue
            # files that have moved may have other names: their checksums identify them
            same = (
                differing(meta.get(key) or {}, now[key]) is None
                if key == "provenance"
                else meta.get(key) == now[key]
            )
            if not same:
                raise UserError(
                    f"{run_dir}: data: the {key} of the data set has changed since the run began; "
                    "a run can be resumed only with the same files"
                )

    def refuse_other_ranks(self, group: Ranks, **more: Any) -> None:
        """Raise if the ranks have different recipes, data or versions."""
        recipe = self.recipe.model_dump(mode="json")
        recipe["data"] |= dict.fromkeys(WHERE_DATA)  # paths may differ between machines
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
        """Train, select, test and write; resume from checkpoint ``newest`` with the content ``state``."""
        with (
            directory.resume_hint(path),
            blaming(RunError),
            self._callers_closed(),
            closed(loggers),
            counted_as("measuring"),
            Metering(group) as metering,
        ):
            results = self._results(path, group, loggers, console, max_time, started, newest, state, metering)
            results["costs"] = metering.results(self.module, self.data, results.get("cost_sheet"))
            if used := box_use.total(callers(self.module.network), group):
                results["boxes"] = used
            if group.rank == 0:
                directory.write_json(path / files.RESULTS, results)
            shared = group.objects(results)[0]
            if report and group.rank == 0:
                try:
                    write_report(path, reporter(console))
                except FOREIGN as error:  # the run is finished: a picture must not make it fail
                    reporter(console)(f"{path}: the report is left out: {typed(error, 200)}")
            given = self.recipe.data.transform
            return Run(path, Results(shared), self.module, given if callable(given) else None)

    @contextmanager
    def _callers_closed(self) -> Iterator[None]:
        """Close black boxes and programs at the end, also after an error."""
        try:
            yield
        finally:
            close(self.module.network)

    def _bar(self, console: Console | None) -> list[Bar]:
        """Return the progress bar, unless there is no console, or the recipe wants none or another."""
        if console is None or not self.recipe.trainer.bar or self.callbacks.bar:
            return []
        return [Bar(console, self.recipe.name)]

    def _costs(self) -> tuple[dict[str, BlockCost | None], CostSheet]:
        form = Form.of(self.data.images)
        return costs(self.module.network), of_module(self.module, self.recipe.data.batch_size, form)

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
        metering: Metering,
    ) -> dict[str, Any]:
        recipe, data, module = self.recipe, self.data, self.module
        config = recipe.trainer
        # Time and memory of the run before it was resumed.
        before = state["ffcore"] if state is not None else {}

        def spent() -> dict[str, Any]:
            return {
                "wall_s": before.get("wall_s", 0.0) + time.perf_counter() - self.began,
                "peak_memory": max(
                    before.get("peak_memory", 0), metering.peak() or environment.peak_memory()
                ),
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
        history = History(path / files.METRICS if group.rank == 0 else None)  # only rank 0 writes files
        histograms = Histograms(
            lambda device: data.loader(cast(Split, data.val), device, None), reporter(console)
        )
        # If only the previous checkpoint could be loaded, the last one is damaged and must not replace it.
        intact = newest is not None and newest.name == checkpoints.LAST
        keep = Checkpoints(path / files.CHECKPOINTS, meta, config.checkpoint_every, spent, intact=intact)
        stop = Stop(keep, config.max_steps, max_time, config.patience)
        use, placed = (
            box_use.BoxUse(callers(module.network), group),
            Placement(None if console is None else console.out),
        )
        first = group.rank == 0
        cost_of, sheet = self._costs() if first else ({}, None)  # only rank 0 reports and writes them
        for message in large_heads(cost_of):
            reporter(console)(message)
        bar = self._bar(console if first else None)
        drift = [Drift(config.compare_every)] if config.compare_every else []
        with stop.signals():
            # The order matters: history makes the row that loggers write, and `stop` and `keep` come after
            # the callbacks that may set ``trainer.should_stop``.
            own_callbacks = [
                *(metering, history, *([histograms] if config.arrays else ())),
                *(*self.callbacks.all(history), *bar, *drift, use, placed, stop, keep),
            ]
            trainer = make_trainer(recipe, path, own_callbacks, loggers)
            device = trainer.strategy.root_device
            share = partial(join.measuring_share, recipe, group, trainer, module)  # all ranks call it
            metering.begin(device)
            if state is not None and before.get("learned"):  # all epochs are trained: only select and test
                with stored.restoring(newest):
                    for callback in (history, histograms, use, metering):
                        # Lightning does not store an empty state, so that the key may be missing.
                        callback.load_state_dict(state["callbacks"].get(callback.state_key, {}))
            else:
                learn = data.loader(
                    data.train, device, lambda: trainer.current_epoch, *join.share(recipe, group)
                )
                val = data.loader(data.val, device, None, *share()) if data.val is not None else None
                try:
                    with stored.restoring(newest, lambda: module.restored):
                        trainer.fit(module, learn, val, ckpt_path=newest, weights_only=True)
                except PausedError:
                    module.distribution.end()
                    if not stop.asked:
                        raise TimeUpError(path) from None
                if any(group.objects(stop.pressed)):
                    raise KeyboardInterrupt(f"{path} has a checkpoint of step {trainer.global_step}")
                if not trainer.should_stop and trainer.current_epoch < (trainer.max_epochs or 0):
                    raise RunError(f"training ended after epoch {trainer.current_epoch}: {ended_by(trainer)}")
                state = checkpoints.read(path / files.CHECKPOINTS / checkpoints.LAST)
            with trusting():  # this process has already written or opened this checkpoint
                epoch, val_metrics = checkpoints.select(recipe, module, path, state)
            trainer.test(module, data.loader(data.images.test, device, None, *share()), verbose=False)
        # Lightning moves the module to the CPU after a test on a GPU
        module.to(home := module.distribution.home(device))
        peak = max(group.objects(spent()["peak_memory"]))
        if not first:
            return {}
        concluded = arrays.conclude(module, data, home, reporter(console))
        results = results_of(
            *(recipe, data, module, history, device),
            cost_of=cost_of,
            sheet=sheet,
            command=meta["command"],
            commits=[commit for commit in meta["commits"] if commit is not None],
            state=state,
            epoch=epoch,
            val=None if self.callbacks.averages_last else val_metrics,
            spent={**spent(), "peak_memory": peak},
            concluded={name: float(value) for name, value in concluded.items() if not value.shape},
        )
        measured = arrays.measure(module, data, home, reporter(console))
        arrays.save(path / files.ARRAYS, {**measured, **concluded, **histograms.arrays()})
        return {**results, **self.callbacks.averages, **({"placement": placed.rows} if placed.rows else {})}


def reporter(console: Console | None) -> Callable[[str], None]:
    """Returns a function that prints a message on the console, or raises a warning if there is no console."""
    return console.out if console is not None else lambda message: warnings.warn(message, stacklevel=4)
