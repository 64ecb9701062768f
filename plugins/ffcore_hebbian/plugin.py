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
    registry.algorithm("self-contrastive", "ffcore_hebbian.self_contrastive:SelfContrastive")
    registry.loss("self-contrastive", "ffcore_hebbian.self_contrastive:SelfContrastiveLoss")
    registry.handoff("triangle", "ffcore_hebbian.self_contrastive:Triangle")
    registry.rule("soft-hebb", "ffcore_hebbian.rule:SoftHebb")
