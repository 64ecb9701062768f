"""Backpropagation, for comparison.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.body("pooled-dense", "ffcore_backprop.head:PooledDense")

    registry.algorithm("backprop", "ffcore_backprop.algorithm:Backprop")
