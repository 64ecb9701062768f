"""Finds out whether a run uses the whole network between batches, so that every rank has to hold it."""

from __future__ import annotations

from collections.abc import Iterable
from weakref import getweakrefcount

import lightning as L
from lightning.pytorch import callbacks as known
from torch import nn

from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Algorithm

_KNOWN = (
    known.EarlyStopping,
    known.LearningRateMonitor,
    known.ModelCheckpoint,
    known.ModelSummary,
    known.ProgressBar,
    known.RichProgressBar,
    known.Timer,
    known.TQDMProgressBar,
)


def needs_whole(module: ForwardOnly, callbacks: Iterable[L.Callback]) -> str | None:
    """Return what uses the weights or activities of all blocks on one rank; None if nothing does.

    Args:
        module: the module that is trained.
        callbacks: the trainer's callbacks. Those of others than ffcore may read any weight.
    """
    net, algorithm = module.net, type(module.algorithm)
    foreign = [type(c).__name__ for c in callbacks if not _is_ours(c) and type(c) not in _KNOWN]
    watched = [name for name, p in module.network.named_parameters() if _is_watched(p)]
    of_validation = {"val.loss", "val.scores"} & net.contribution.needs
    reasons = {
        "a circuit calls its blocks to predict": not all(
            each.takes_turns and not each.independent for each in module.network.circuits
        ),
        "a black box is fitted on all blocks before it": any(box.adapts for box in module.network.boxes),
        "the contribution reads losses or scores of the validation split": bool(of_validation),
        "the measures of the task are losses": net.task.target == "none",
        "predictions have positions": net.task.features is not None,
        f"{algorithm.__name__}.measure may run all blocks": algorithm.measure is not Algorithm.measure
        and not algorithm.measures_in_parts,
        f"callbacks may read all weights: {', '.join(foreign)}": bool(foreign),
        f"hooks of {type(module).__name__} may read all weights": type(module) is not ForwardOnly,
        f"parameters have hooks or weak references: {', '.join(watched)}": bool(watched),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _is_watched(parameter: nn.Parameter) -> bool:
    """Whether something else refers to a parameter, which would lose it when it is freed."""
    hooks = parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None)
    return bool(hooks) or getweakrefcount(parameter) > 0


def _is_ours(callback: L.Callback) -> bool:
    return type(callback).__module__.partition(".")[0] == "ffcore"
