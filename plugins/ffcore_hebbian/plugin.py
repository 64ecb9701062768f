"""Hebbian learning.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("hebbian", "ffcore_hebbian.algorithm:Hebbian")
    registry.body("triangle-conv", "ffcore_hebbian.bodies:TriangleConv")
    registry.rule("soft-hebb", "ffcore_hebbian.rule:SoftHebb")
