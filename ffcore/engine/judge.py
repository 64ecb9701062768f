"""Tells the schedule after a validation how good each block is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from ffcore.engine.measures import score
from ffcore.interfaces import Progress

if TYPE_CHECKING:
    from ffcore.engine.module import ForwardOnly


def judge(module: ForwardOnly, epochs: int) -> None:
    """Give the scores of all learning blocks to an adaptive schedule; end the training if it has finished.

    Args:
        module: the module, after a validation.
        epochs: number of epochs of the whole run.
    """
    trainer, schedule, metrics = module.trainer, module.net.schedule, module.val_metrics
    if not schedule.adaptive or trainer.sanity_checking or trainer.state.fn != "fit" or metrics is None:
        return
    network, task = module.network, module.net.task
    of_network = score(task, metrics)
    found = {}
    for source, value in zip(module.sources, metrics["per_source"], strict=True):
        if source.role == "block" and not math.isnan(value):
            found[source.name] = -value if task.lower else value
    learning = [network.blocks[i].name for i in network.learning]
    progress = Progress(trainer.current_epoch, trainer.global_step, epochs)
    schedule.measured([found.get(name, of_network) for name in learning], progress)
    if schedule.finished(progress, len(learning)):
        trainer.should_stop = True
