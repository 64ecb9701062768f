"""Predictive Forward-Forward.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("predictive-forward-forward", "ffcore_pff.algorithm:PredictiveForwardForward")

    registry.circuit("predictive", "ffcore_pff.circuit:Predictive")

    registry.penalty("weight-norm", "ffcore_pff.cells:WeightNorm")

    registry.report_section("generation", "ffcore_pff.pictures:generation")

    registry.command("sample", "ffcore_pff.command:command")
