"""Forward-Forward.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("forward-forward-unsupervised", "ffcore_ff.unsupervised:Unsupervised")
    registry.algorithm("forward-forward", "ffcore_ff.algorithm:ForwardForward")

    registry.algorithm("layer-collaboration", "ffcore_ff.collaboration:LayerCollaboration")

    registry.circuit("recurrent", "ffcore_ff.recurrent:Recurrent")

    registry.goodness("sum-squares", "ffcore_ff.goodness:SumSquares")
    registry.goodness("mean-squares", "ffcore_ff.goodness:MeanSquares")
    registry.goodness("mean-absolute", "ffcore_ff.goodness:MeanAbsolute")
    registry.goodness("max", "ffcore_ff.goodness:Max")
    registry.goodness("negative-sum-squares", "ffcore_ff.goodness:NegativeSumSquares")

    registry.objective("logistic", "ffcore_ff.objectives:Logistic")
    registry.objective("symba", "ffcore_ff.objectives:SymBa")

    registry.objective("collaborative", "ffcore_ff.collaboration:Collaborative")

    registry.body("label-channel", "ffcore_ff.patterns:LabelChannel")

    registry.penalty("peer-normalisation", "ffcore_ff.penalties:PeerNormalisation")

    registry.handoff("rms", "ffcore_ff.handoffs:RMS")
    registry.handoff("l2", "ffcore_ff.handoffs:L2")

    registry.label("channels", "ffcore_ff.labels:Channels")
    registry.label("fourier", "ffcore_ff.labels:Fourier")
    registry.label("prefix", "ffcore_ff.labels:Prefix")
    registry.label("token", "ffcore_ff.labels:Token")
    registry.label("pattern", "ffcore_ff.patterns:Pattern")
    registry.label("overlay", "ffcore_ff.labels:Overlay")

    registry.negative("wrong-label", "ffcore_ff.negatives:WrongLabel")
    registry.negative("hard", "ffcore_ff.negatives:Hard")
    registry.negative("hybrid", "ffcore_ff.images:Hybrid")
    registry.negative("shuffled", "ffcore_ff.images:Shuffled")
    registry.negative("corrupted", "ffcore_ff.sequences:Corrupted")
    registry.negative("reordered", "ffcore_ff.sequences:Reordered")
    registry.negative("turned", "ffcore_ff.images:Turned")
    registry.negative("other-data", "ffcore_ff.images:OtherData")
