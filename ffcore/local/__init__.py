"""Local blocks, the passes in which they learn, and networks of them."""

from ffcore.local.block import LocalBlock
from ffcore.local.block_optimizer import BlockOptimizer
from ffcore.local.box import BoxStage
from ffcore.local.closed_form import ClosedFormGradient
from ffcore.local.current import current
from ffcore.local.loss import GoodnessLoss, HeadLoss, PenaltyLoss, ReadoutLoss
from ffcore.local.network import LocalNetwork
from ffcore.local.optimizers import BlockOptimizers, block_optimizers
from ffcore.local.passes import Pass
from ffcore.local.plan import Place
from ffcore.local.residual import Residual
from ffcore.local.rules import Gradient

__all__ = [
    "BlockOptimizer",
    "BlockOptimizers",
    "BoxStage",
    "ClosedFormGradient",
    "GoodnessLoss",
    "Gradient",
    "HeadLoss",
    "LocalBlock",
    "LocalNetwork",
    "Pass",
    "PenaltyLoss",
    "Place",
    "ReadoutLoss",
    "Residual",
    "block_optimizers",
    "current",
]
