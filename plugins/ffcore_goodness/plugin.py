"""Goodness functions of "In Search of Goodness".

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.goodness("huber-norm", "ffcore_goodness.energies:HuberNorm")
    registry.goodness("outlier-trimmed-energy", "ffcore_goodness.energies:OutlierTrimmedEnergy")
    registry.goodness("sparse-l1", "ffcore_goodness.energies:SparseL1")

    registry.goodness("bcm", "ffcore_goodness.plasticity:BCM")
    registry.goodness("oja", "ffcore_goodness.plasticity:Oja")

    registry.goodness("attention-weighted", "ffcore_goodness.competition:AttentionWeighted")
    registry.goodness("fractal-dimension", "ffcore_goodness.competition:FractalDimension")
    registry.goodness("game-theoretic", "ffcore_goodness.competition:GameTheoretic")

    registry.goodness("decorrelation", "ffcore_goodness.contrast:Decorrelation")
    registry.goodness("info-nce", "ffcore_goodness.contrast:InfoNCE")
    registry.goodness("predictive-coding", "ffcore_goodness.contrast:PredictiveCoding")
    registry.goodness("softmax-energy-margin", "ffcore_goodness.contrast:SoftmaxEnergyMargin")
    registry.goodness("triplet-margin", "ffcore_goodness.contrast:TripletMargin")
