"""Refuses a run in whose last epochs nothing would learn."""

from __future__ import annotations

from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError, at_path
from ffcore.interfaces import Progress


def refuse_idle_epochs(module: ForwardOnly, epochs: int) -> None:
    """Check that something learns until a run ends: a block, a readout or a black box.

    A schedule that stops blocks by validation ends the run itself, and a schedule without a window at the
    first step of any epoch is left alone.

    Args:
        module: the module.
        epochs: number of epochs of the run.

    Raises:
        UserError: the schedule has no windows in the last epochs; the message has the number of the others.

    Example:
        With ``schedule: {kind: greedy, epochs: [2, 2, 1]}`` and 7 epochs the message asks for 5.
    """
    network, schedule = module.network, module.schedule
    readouts = any(network.learners[name].trainable for name in network.readouts)
    if schedule.adaptive or readouts or network.boxes or not network.learning:
        return
    busy, count = epochs, len(network.learning)
    with at_path("schedule"):
        while busy and not schedule.windows(Progress(busy - 1, 0, epochs), count):
            busy -= 1
    if 0 < busy < epochs:
        raise UserError(
            f"schedule: no block learns after epoch {busy}, but trainer.max_epochs is {epochs}; "
            f"set it to {busy}, or give blocks more epochs"
        )
