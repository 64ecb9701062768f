"""Signal propagation.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("signal-propagation", "ffcore_sigprop.algorithm:SignalPropagation")
    registry.body("signal-input", "ffcore_sigprop.entry:SignalInput")
    registry.body("conv-instance-norm", "ffcore_sigprop.bodies:ConvInstanceNorm")
    registry.goodness("signal-similarity", "ffcore_sigprop.similarity:SignalSimilarity")
    registry.loss("signal", "ffcore_sigprop.loss:SignalLoss")
