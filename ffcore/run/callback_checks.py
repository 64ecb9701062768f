"""Which callbacks of Lightning work in a run: those that cannot are refused before a file is written.

`docs/running.md` has a table of all callbacks that ``lightning.pytorch.callbacks`` has.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, get_args, get_type_hints

import lightning as L
from lightning.pytorch import callbacks as shipped
from torch.optim.swa_utils import AveragedModel

from ffcore.blame import written_at
from ffcore.engine.module import ForwardOnly
from ffcore.errors import FOREIGN, UserError, closest
from ffcore.interfaces import Progress
from ffcore.local.rules import Gradient
from ffcore.private import (
    check_at_epoch_end,
    checks_at_epoch_end,
    passed_on,
    prunes_as_vectors,
    pruning_stays,
    reads_cpu,
)
from ffcore.ranks.join import divides
from ffcore.ranks.local import on_gpu
from ffcore.recipe.schema import Recipe


@dataclass(frozen=True)
class Given:
    """What a callback gets from a run.

    Attributes:
        recipe: the recipe of the run.
        module: the untrained module.
        validated: whether the run has a validation split.
        others: all other callbacks of the run.
    """

    recipe: Recipe
    module: ForwardOnly
    validated: bool
    others: Collection[L.Callback]


def refuse_unfit(path: str, callback: Any, given: Given) -> None:
    """Check that a callback can work in a run.

    Args:
        path: where the callback was given, such as ``trainer.callbacks.0``.
        callback: the callback.
        given: the run.

    Raises:
        UserError: it cannot; the message has the reason and what to use instead.
    """
    refuse_kind(path, type(callback))
    _refuse_hooks(path, callback)
    for kind, check in CHECKS.items():
        if isinstance(callback, kind) and (reason := check(callback, given)):
            raise UserError(f"{path}: {type(callback).__name__} {reason}")
    # stochastic weight averaging reads weights between epochs, when all ranks have them
    averages = averages_of(callback) and not isinstance(callback, shipped.StochasticWeightAveraging)
    if averages and divides(given.recipe):
        raise UserError(
            f"{path}: {type(callback).__name__} averages all weights while they learn, but with this "
            "trainer.strategy a rank learns some of them only; use ff_local"
        )


def averages_of(callback: L.Callback) -> str | None:
    """Return what a callback takes in place of the weights of a step; None if it takes no averages.

    A callback of Lightning's takes averages, or one with a text ``averages``.
    """
    if isinstance(callback, shipped.StochasticWeightAveraging | shipped.WeightAveraging):
        return "averages"
    text = getattr(callback, "averages", None)
    return text if isinstance(text, str) else None


def refuse_kind(path: str, kind: type) -> None:
    """Check that a class of callbacks can work in a run, before it is constructed.

    Raises:
        UserError: it cannot, with any options.
    """
    for base, reason in REFUSED.items():
        if issubclass(kind, base):
            raise UserError(f"{path}: {kind.__name__} {reason}")


def refuse_types(path: str, kind: type, options: Mapping[str, Any]) -> None:
    """Check options against the annotations of a constructor, before it runs.

    Many constructors store a value of a wrong type, which fails only when it is first used. Only
    annotations with plain types are read: others, such as paths, accept more than they state.

    Raises:
        UserError: with the option and its value.
    """
    try:
        hints = get_type_hints(kind.__init__)  # type: ignore[misc]
    except FOREIGN:  # a name that exists only for type checkers
        return
    for name, value in options.items():
        hint = hints.get(name)
        allowed = list(get_args(hint)) or [hint]
        if not all(each in _PLAIN for each in allowed):
            continue
        allowed += [int] if float in allowed else []
        if type(value) not in allowed:
            right = " or ".join(dict.fromkeys(each.__name__ for each in allowed)).replace("NoneType", "null")
            raise UserError(f"{path}.{name}: {value!r} should be {right}, for {kind.__name__}")


_PLAIN = (int, float, bool, str, type(None))


def _refuse_hooks(path: str, callback: L.Callback) -> None:
    """Check that the hooks of a callback take the arguments that Lightning passes, all by position.

    Raises:
        UserError: one does not.
    """
    for name, own in vars(L.Callback).items():
        if name not in _HOOKS or getattr(type(callback), name) is own:
            continue
        hook = getattr(callback, name)
        parameters = list(inspect.signature(own).parameters.values())[1:]
        # Lightning leaves out those with a default: dataloader_idx, if there is a single loader
        passed = [each.name for each in parameters if each.default is each.empty]
        try:
            inspect.signature(hook).bind(*passed)
        except ValueError:  # a hook without a signature, such as one in C
            continue
        except TypeError as error:
            what = f"{type(callback).__name__}.{name} does not take Lightning's arguments: {error}"
            optional = [
                f"{each.name}={each.default}" for each in parameters if each.default is not each.empty
            ]
            right = ", ".join(("self", *passed, *optional))
            raise UserError(f"{path}: {what}; write {name}({right}){written_at(hook)}") from error


def refuse_resumed(callbacks: Mapping[str, L.Callback]) -> None:
    """Check that a run with these callbacks can be resumed from a checkpoint.

    Raises:
        UserError: Lightning does not restore one of them completely, so the results would differ.
    """
    for path, callback in callbacks.items():
        if isinstance(callback, shipped.StochasticWeightAveraging | shipped.ModelPruning):
            raise UserError(
                f"{path}: {type(callback).__name__} does not save all of its state: a resumed run would have "
                "other results than an uninterrupted one; start the run again in a new directory"
            )


def _needs_logger(callback: Any, given: Given) -> str | None:
    if not given.recipe.trainer.loggers:
        return "needs a logger: set trainer.loggers, for example to [csv]"
    return None


def _device_stats(callback: Any, given: Given) -> str | None:
    if (reason := _needs_logger(callback, given)) is not None:
        return reason
    if reads_cpu(callback, on_gpu(given.recipe)) and find_spec("psutil") is None:
        return "needs the package psutil (pip install psutil), or the option cpu_stats: false"
    return None


def _monitors(callback: Any, given: Given) -> str | None:
    """Check the metric that `EarlyStopping` or `ModelCheckpoint` monitors, and when it is read."""
    name, config = getattr(callback, "monitor", None), given.recipe.trainer
    if isinstance(callback, shipped.ModelCheckpoint) and name in (None, "epoch", "step"):
        return None
    after_epoch = _after_epoch(given)
    validated = [f"val_{measure}" for measure in given.module.measuring.logged]
    known = [*(validated if given.validated else []), *after_epoch]
    if name not in known:
        logged = any(map(_may_log, given.others)) or getattr(callback, "strict", True) is False
        reason = f"which a run does not log{closest(str(name), known)}"
        if name in validated:
            reason = "but data.validation is 0"
        return None if logged else f"monitors {name!r}, {reason}"
    option, early = ("check_on_train_epoch_end", True)
    if isinstance(callback, shipped.ModelCheckpoint):
        option, early = ("save_on_train_epoch_end", False)
    chosen = checks_at_epoch_end(callback)
    if name in after_epoch:
        if chosen is False:
            return f"monitors {name!r}, which is logged after the validation; remove {option}: false"
        # Its default is to read it after a validation, if not every epoch is validated: one epoch late.
        check_at_epoch_end(callback)
    elif chosen and early and config.validate_every > 1:
        return (
            f"monitors {name!r}, which is measured every {config.validate_every} epochs "
            f"(trainer.validate_every); remove {option}: true"
        )
    return None


def _after_epoch(given: Given) -> list[str]:
    """Returns the names of the metrics that are logged at the end of the first epoch."""
    net = given.module.net
    epochs = given.recipe.trainer.max_epochs
    learning = net.local.learning
    windows = net.schedule.windows(Progress(0, 0, epochs), len(learning))
    first = {net.blocks[learning[i]].name for window in windows for i in window if i < len(learning)}
    names = [
        name
        for name, block in net.local.learners.items()
        if name in net.local.readouts
        # in a window of several blocks, some have no loss of their own
        or (name in first and (block.loss is not None or type(block.rule) is not Gradient))
    ]
    return ["train_loss", *(f"{name}/loss" for name in names)]


def _may_log(callback: L.Callback) -> bool:
    """Returns whether a callback may log metrics of its own: for example as it is not Lightning's."""
    foreign = type(callback).__module__.partition(".")[0] not in ("lightning", "pytorch_lightning", "ffcore")
    return foreign or isinstance(callback, shipped.LearningRateMonitor | shipped.LambdaCallback)


def _hooks_are_functions(callback: Any, given: Given) -> str | None:
    for name, hook in vars(callback).items():
        if name.startswith("on_") and not callable(hook):
            return f"needs a function for {name}, not {hook!r}; give the callback from Python"
    return None


def _throughput(callback: Any, given: Given) -> str | None:
    for name in ("batch_size_fn", "length_fn"):
        function = getattr(callback, name, None)
        if function is not None and not callable(function):
            return f"needs a function of a batch for {name}, not {function!r}; give the callback from Python"
    return _needs_logger(callback, given)


def _averages_weights(callback: Any, given: Given) -> str | None:
    """Check the options that `WeightAveraging` passes on to torch's `AveragedModel`, in its setup."""
    known = list(inspect.signature(AveragedModel).parameters)
    for name in passed_on(callback):
        if name not in known:
            return f"has no option {name!r}{closest(name, known)}"
    return None


def _averages(callback: Any, given: Given) -> str | None:
    if callback.pl_module_contains_batch_norm(given.module):
        return (
            "trains one more epoch for batch normalisation, in which the blocks would learn; use "
            "EMAWeightAveraging"
        )
    if given.recipe.trainer.select != "last":
        return "averages after the last validation, which selects other weights; set trainer.select: last"
    return None


def _prunes(callback: Any, given: Given) -> str | None:
    if not pruning_stays(callback):
        return (
            "with make_pruning_permanent: false writes checkpoints that only it can load; remove the option"
        )
    kinds = prunes_as_vectors(callback)
    for name, p in given.module.network.named_parameters():
        if name.rpartition(".")[2] in kinds and not p.is_contiguous():
            return (
                f"cannot view the weights of convolutions as vectors: {name} has its channels last in memory"
                "; prune channels (pruning_fn: ln_structured, parameter_names: [weight], "
                "use_global_unstructured: false), or give it parameters_to_prune from Python"
            )
    return None


REFUSED: Mapping[type, str] = {
    shipped.BackboneFinetuning: (
        "does not work in a run: the network has no 'backbone', and every block has its own optimiser; "
        "use start.run and start.freeze"
    ),
    shipped.BaseFinetuning: (
        "does not work in a run: it adds parameters to a single optimiser, but every block has its own; "
        "use start.freeze"
    ),
    shipped.BasePredictionWriter: (
        "does not work in a run, which makes no predictions; use ffcore.load(RUN).predict(x)"
    ),
    shipped.BatchSizeFinder: (
        "does not work in a run: the batch size is part of the recipe; set data.batch_size"
    ),
    shipped.LearningRateFinder: (
        "does not work in a run: every block has its own optimiser; compare rates with a sweep: "
        "optimizer.lr=1e-4,1e-3"
    ),
    shipped.GradientAccumulationScheduler: (
        "does not work in a run: the blocks accumulate their own gradients; set trainer.accumulate"
    ),
    shipped.SpikeDetection: (
        "does not work in a run: it reads one loss per step, but every block has its own; remove it: a run "
        "ends with an error if a loss is non-finite"
    ),
    shipped.OnExceptionCheckpoint: (
        "does not work in a run: a new run would begin with the weights of a file that it left; "
        "use trainer.checkpoint_every and --resume"
    ),
}
"""Reasons by class; the first that is a base class of the callback is reported."""

_HOOKS = frozenset(
    name for name in vars(L.Callback) if name.startswith("on_") or name in ("setup", "teardown")
)

CHECKS: Mapping[type, Callable[[Any, Given], str | None]] = {
    shipped.DeviceStatsMonitor: _device_stats,
    shipped.EarlyStopping: _monitors,
    shipped.LambdaCallback: _hooks_are_functions,
    shipped.LearningRateMonitor: _needs_logger,
    shipped.ModelCheckpoint: _monitors,
    shipped.ModelPruning: _prunes,
    shipped.StochasticWeightAveraging: _averages,
    shipped.ThroughputMonitor: _throughput,
    shipped.WeightAveraging: _averages_weights,
}
"""Checks by class; a callback must pass those of all its classes."""
