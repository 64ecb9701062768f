"""Refuses a run in whose last epochs nothing would learn."""

from __future__ import annotations

from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError


def refuse_idle_epochs(module: ForwardOnly, epochs: int) -> None:
    """Check that something learns until a run ends: a block, a readout or a black box.

    Args:
        module: the module; its schedule may know the `Schedule.last_epoch`.
        epochs: number of epochs of the run.

    Raises:
        UserError: no block learns in the last epochs; the message has the number of the others.

    Example:
        With ``schedule: {kind: greedy, epochs: [2, 2, 1]}`` and 7 epochs the message asks for 5.
    """
    network = module.network
    if any(network.learners[name].trainable for name in network.readouts) or network.boxes:
        return
    last = module.schedule.last_epoch(len(network.learning)) if network.learning else None
    if last is not None and last < epochs:
        raise UserError(
            f"schedule: no block learns after epoch {last}, but trainer.max_epochs is {epochs}; "
            f"set it to {last}, or give blocks more epochs"
        )
