"""The functions of ffcore for scripts and notebooks. torch is imported when one of them is called."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ffcore.errors import UserError, expect, expect_time

if TYPE_CHECKING:
    import torch
    from lightning.pytorch import Callback

    from ffcore.data.images import Dataset
    from ffcore.network import Network
    from ffcore.recipe.schema import Recipe
    from ffcore.run.finished import Run
    from ffcore.run.predictor import Predictor
    from ffcore.sweeps.swept import Swept


def train(
    recipe: str | os.PathLike[str] | Recipe,
    *,
    data: Dataset | Mapping[str, Any] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    bar: bool = False,
    callbacks: Sequence[Callback] = (),
    report: bool = True,
    auto_resume: bool = False,
    max_time: float | None = None,
    **overrides: Any,
) -> Run:
    """Train a recipe and write its run directory.

    >>> import ffcore
    >>> run = ffcore.train("digits/ff", trainer={"max_epochs": 2})  # doctest: +SKIP
    >>> run.results.test.accuracy  # doctest: +SKIP
    0.91

    Args:
        recipe: a recipe's name, the path of a YAML file, or a recipe.
        data: a data set in place of the recipe's, such as ``ffcore.data.arrays.InMemory(…)``; or overrides
            of the recipe's ``data`` part.
        run_dir: an empty or new directory; None for ``runs/<recipe>-<time>``.
        bar: draw a progress bar.
        callbacks: Lightning callbacks for the training.
        report: write ``report.html`` and ``report.md``; ``ffcore report RUN`` makes them later.
        auto_resume: if ``run_dir`` has a run of the recipe, resume it, or return it if it is finished: for
            programs that torchrun, SLURM or Kubernetes starts again.
        max_time: seconds after which the run writes a checkpoint and stops, if it is not finished.
        overrides: parts of the recipe to change, nested as in YAML: ``seed=2, trainer={"max_epochs": 2}``.
            A list replaces the whole list of the recipe; a path names one entry:
            ``**{"network.0.units": 100}``. An object may replace any kind:
            ``network=[nn.Linear(64, 100)], optimizer=torch.optim.SGD``.

    Raises:
        ffcore.errors.UserError: when the recipe, the data or an argument is wrong. Nothing has been written.
        ffcore.errors.TimeUpError: when ``max_time`` has passed; `resume` continues the run.
    """
    from ffcore.engine.bar import console_of
    from ffcore.files import CONFIG
    from ffcore.recipe.load import loaded
    from ffcore.run.again import again
    from ffcore.run.train import train as run_train

    if isinstance(data, Mapping):
        overrides["data"], data = data, None
    resolved = loaded(recipe, overrides)
    if data is not None and not hasattr(data, "load"):
        raise UserError(
            "data: should be a data set, such as ffcore.data.arrays.InMemory(x_train, y_train, …)"
        )
    if run_dir is not None:
        expect("run_dir", run_dir, (str, os.PathLike), "a path")
        expect("run_dir", os.fspath(run_dir) or None, str, "a path, or None for a new directory")
    directory = Path(run_dir) if run_dir is not None else None
    if auto_resume and directory is None:
        raise UserError("auto_resume: needs run_dir, the directory of the run")
    expect_time(max_time)
    options: Any = {
        "dataset": data,
        "console": console_of(bar),
        "callbacks": callbacks,
        "report": report,
        "max_time": max_time,
    }
    if auto_resume and directory is not None and (directory / CONFIG).is_file():
        return again(directory, resolved, **options)
    return run_train(resolved, directory, **options)


def resume(
    run_dir: str | os.PathLike[str],
    *,
    trainer: Mapping[str, Any] | None = None,
    data: Dataset | Mapping[str, Any] | None = None,
    bar: bool = False,
    callbacks: Sequence[Callback] = (),
    report: bool = True,
    trust: bool = False,
    net: Network | None = None,
    max_time: float | None = None,
    **overrides: Any,
) -> Run:
    """Resume a run that was stopped or killed.

    On a CPU the results are the same numbers as without the interruption.

    Args:
        run_dir: the run directory.
        trainer: overrides of the trainer for the rest of the run, such as ``{"devices": 2}``.
        data: the run's data set, if it was given from Python; or a mapping with objects of the recipe's
            ``data`` part, or with the place of files that have moved: ``{"path": "here.npz"}``.
        bar: draw a progress bar.
        callbacks: Lightning callbacks for the training.
        report: write ``report.html`` and ``report.md``; ``ffcore report RUN`` makes them later.
        trust: open pickles in the checkpoint, such as those of scikit-learn's transformers.
        net: for a run of `fit`, a network built in the same way as the first one.
        max_time: as for `train`.
        overrides: the objects that `train` was given, which ``config.yaml`` only describes, by their path in
            the recipe: ``**{"network.0": module}``, or the whole ``network=[…]``.

    Raises:
        ffcore.errors.UserError: when the run has no checkpoint, or the data or the objects differ from those
            of the run.
        ffcore.errors.TimeUpError: when ``max_time`` has passed.
    """
    from ffcore.engine.bar import console_of
    from ffcore.recipe.trainer import WHERE_DATA
    from ffcore.run.resume import resume as run_resume
    from ffcore.trust import trusting

    expect("run_dir", run_dir, (str, os.PathLike), "the path of a run directory")
    expect("trainer", trainer or {}, Mapping, "a mapping of options")
    expect_time(max_time)
    where = {f"trainer.{name}": value for name, value in (trainer or {}).items()}
    if isinstance(data, Mapping):
        where |= {f"data.{name}": os.fspath(data[name]) for name in WHERE_DATA if name in data}
        if others := {name: value for name, value in data.items() if name not in WHERE_DATA}:
            overrides["data"] = others
        data = None
    with trusting(trust):
        return run_resume(
            Path(run_dir),
            overrides=[f"{path}={json.dumps(value)}" for path, value in where.items()],
            objects=overrides,
            dataset=data,
            console=console_of(bar),
            callbacks=callbacks,
            report=report,
            net=net,
            max_time=max_time,
        )


def sweep(
    recipe: str | os.PathLike[str],
    search: Mapping[str, Any] | None = None,
    *,
    seeds: Sequence[int] = (),
    trials: int | None = None,
    jobs: int = 1,
    prune: bool = False,
    sampler: str | None = None,
    seed: int | None = None,
    storage: str | None = None,
    study: str | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    max_time: float | None = None,
    bar: bool = False,
    report: bool = False,
    **overrides: Any,
) -> Swept:
    """Train a recipe at many points, a process for each run, and compare them on validation data.

    With ``trials`` it is a search by Optuna (``pip install ffcore[sweep]``), without it a grid of all values:

    >>> import ffcore
    >>> ranges = {"optimizer.lr": "log:1e-4:1e-1", "network.0.units": "int:50:500"}
    >>> swept = ffcore.sweep("digits/ff", ranges, trials=20, jobs=2)  # doctest: +SKIP
    >>> swept.best  # doctest: +SKIP
    {'optimizer.lr': 0.0042, 'network.0.units': 310}
    >>> swept = ffcore.sweep("digits/ff", {"optimizer.lr": [1e-3, 3e-3]}, seeds=[1, 2])  # doctest: +SKIP

    Args:
        recipe: a recipe's name, or the path of a YAML file.
        search: ranges or lists of values by path: ``"log:1e-4:1e-1"``, ``"linear:0:0.5"``, ``"int:1:8"``,
            ``"choice:adam,sgd"`` or ``["adam", "sgd"]``. A grid has lists only.
        seeds: every point runs once per seed, [1, 2, 3]; empty for the seed of the recipe.
        trials: number of points of a search, by all its workers together.
        jobs: number of runs at the same time.
        prune: stop trials whose validation is worse than the median of earlier trials at the same epoch.
        sampler: "tpe" (the default), which learns from earlier trials, or "random".
        seed: of the sampler (default 0): with one job, the same seed gives the same trials.
        storage: URL of Optuna's storage, for several workers; None for a file in the directory.
        study: name of the study in the storage; None for the name of the recipe.
        run_dir: an empty or new directory; None for ``runs/<recipe>-<time>``.
        max_time: seconds for all runs together; None for no limit.
        bar: print a line when a run starts and when it ends, and where the summary is.
        report: whether each run writes its own report.
        overrides: parts of the recipe to change, nested as in YAML, as for `train`; objects cannot be given.

    Raises:
        ffcore.errors.UserError: when an argument, a range, or a recipe at an end of a range is wrong. Nothing
            has been written.
        ffcore.errors.RunError: when the storage of a search fails.
        KeyboardInterrupt: Ctrl-C was pressed; ``ffcore.sweeps.swept.Swept.read(path).resume()`` continues.
    """
    from ffcore.recipe.overrides import flat
    from ffcore.sweeps import create, ranges
    from ffcore.sweeps.swept import launched, refuse_jobs
    from ffcore.sweeps.wording import in_python

    expect("recipe", recipe, (str, os.PathLike), "a recipe's name, or the path of a YAML file")
    expect("search", search or {}, Mapping, "a mapping of paths to ranges or lists")
    if run_dir is not None:
        expect("run_dir", run_dir, (str, os.PathLike), "a path")
    refuse_jobs(jobs, trials)
    expect("seeds", seeds, Sequence, "a list of whole numbers, such as [1, 2, 3]")
    for each in seeds:
        if isinstance(each, bool) or not isinstance(each, int) or each < 0:
            raise UserError(f"seeds: {each!r} should be a whole number, 0 or more")
    options = {"trials": trials, "prune": prune, "sampler": sampler}
    with in_python():
        begun = create.create(
            os.fspath(recipe),
            [
                *(ranges.as_override(path, value) for path, value in flat(overrides)),
                *ranges.from_python(search or {}),
            ],
            seeds,
            options | {"seed": seed, "storage": storage, "study": study},
            run_dir=Path(run_dir) if run_dir is not None else None,
            report=report,
        )
        return launched(begun, jobs, max_time, bar)


def add_plugin(plugin: Any) -> None:
    """Load a plugin: a Python file, as ``--plugin`` does, or an object with the hook ``ffcore_register``.

    A plugin that was added before is loaded again. To use a new version of a file, edit it and add it again.

    >>> import ffcore
    >>> from ffcore.plugin import hookimpl
    >>> class Mine:
    ...     @hookimpl
    ...     def ffcore_register(registry):
    ...         registry.goodness("my-goodness", "ffcore_ff.goodness:SumSquares")
    >>> ffcore.add_plugin(Mine)

    Args:
        plugin: path of a file, whose stem is the plugin's name; or a module, a class or an object.

    Raises:
        ffcore.errors.UserError: when the plugin cannot be loaded, or another plugin has its name. The loaded
            plugins do not change then.
    """
    from ffcore.plugin import manager

    manager.add(plugin)


def register(noun: str, name: str, target: Any, summary: str = "") -> None:
    """Register one component under a new kind, for this process. A second call replaces the first.

    >>> import ffcore
    >>> from torch import nn
    >>> class Halved(nn.Module):
    ...     def forward(self, x):
    ...         return x / 2
    >>> ffcore.register("handoff", "halved", Halved)

    Other processes do not have the registration. A run on several devices, or one that is resumed later,
    needs a plugin.

    Args:
        noun: the type of component: "goodness", "objective", "handoff", … (``ffcore ls`` lists them).
        name: the component's kind in recipes.
        target: the class, or ``package.module:Class``.
        summary: one line for ``ffcore ls``; the first line of the docstring if empty.

    Raises:
        ffcore.errors.UserError: when the name or the target is invalid, or a plugin has registered the name.
    """
    from ffcore.plugin import manager

    manager.register(noun, name, target, summary)


def load(
    run_dir: str | os.PathLike[str],
    checkpoint: str | None = None,
    *,
    trust: bool = False,
    net: Network | None = None,
    device: str | torch.device = "cpu",
    **overrides: Any,
) -> Predictor:
    """Load a finished run for predictions: ``ffcore.load(run.path).predict(x)``.

    Args:
        run_dir: a run directory.
        checkpoint: "last" or "best"; None for the one that the recipe selects.
        trust: open pickles in the checkpoint, such as those of scikit-learn's transformers.
        net: for a run of `fit`, a network built in the same way; the run's weights are loaded into it.
        device: where to predict: "cpu", "cuda", "cuda:1", or "auto" for a GPU if there is one.
        overrides: the objects that `train` was given, which ``config.yaml`` only describes, as for `resume`.

    Raises:
        ffcore.errors.UserError: when this machine does not have the device, the directory does not hold a
            run, the checkpoint holds a pickle and ``trust`` is False, or an object that ``config.yaml`` only
            describes is missing in ``overrides``.
    """
    from ffcore.run.predictor import Predictor
    from ffcore.trust import trusting

    expect("run_dir", run_dir, (str, os.PathLike), "the path of a run directory")
    with trusting(trust):
        return Predictor(os.fspath(run_dir), checkpoint, overrides, net, device)
