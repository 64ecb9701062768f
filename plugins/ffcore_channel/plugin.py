"""Channel-class learning.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("channel-class", "ffcore_channel.algorithm:ChannelClass")

    registry.goodness("channel-partition", "ffcore_channel.partition:ChannelPartition")
    registry.goodness("channel-assignment", "ffcore_channel.assignment:ChannelAssignment")

    registry.objective("cwc", "ffcore_channel.objectives:CwC")
    registry.objective("pvn", "ffcore_channel.objectives:PvN")
    registry.objective("cwg", "ffcore_channel.objectives:CwG")

    registry.penalty("assignment-entropy", "ffcore_channel.penalties:AssignmentEntropy")
    registry.penalty("assignment-orthogonality", "ffcore_channel.penalties:AssignmentOrthogonality")
    registry.penalty("contrast", "ffcore_channel.contrast:Contrast")

    registry.contribution("loss-weighted", "ffcore_channel.contributions:LossWeighted")
    registry.contribution("best-range", "ffcore_channel.contributions:BestRange")

    registry.report_section("channels", "ffcore_channel.report:channels")
    registry.report_section("layer-weights", "ffcore_channel.report:layer_weights")
