"""Local blocks: the primitive, what observes it, and the networks made of it."""

from ffcore.local.block import LocalBlock
from ffcore.local.box import BoxStage
from ffcore.local.loss import GoodnessLoss, ReadoutLoss
from ffcore.local.network import LocalNetwork
from ffcore.local.passing import Pass, Place, current
from ffcore.local.residual import Residual
from ffcore.local.rules import Gradient
from ffcore.local.stepper import Stepper
from ffcore.local.updater import Updater

__all__ = [
    "BoxStage",
    "GoodnessLoss",
    "Gradient",
    "LocalBlock",
    "LocalNetwork",
    "Pass",
    "Place",
    "ReadoutLoss",
    "Residual",
    "Stepper",
    "Updater",
    "current",
]
