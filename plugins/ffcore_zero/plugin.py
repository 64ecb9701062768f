"""Learning without derivatives.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.rule("directional", "ffcore_zero.rule:Directional")
    registry.goodness("simplex", "ffcore_zero.simplex:Simplex")
    registry.objective("class-hinge", "ffcore_zero.losses:Hinge")
    registry.loss("channel-hinge", "ffcore_zero.losses:ChannelHinge")
    registry.handoff("relu", "ffcore_zero.handoffs:ReLU")
    registry.body("crossbar", "ffcore_zero.crossbar:Crossbar")
    registry.body("program", "ffcore_zero.program:Program")
