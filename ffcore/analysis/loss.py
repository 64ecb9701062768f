"""The class scores of a network with a graph, and the global losses of them.

    s = contribution of the evidence of all sources             (N, K), the network's own class scores
    L = mean over samples of −ln softmax(s / T)_y               the global loss
    m = ln Σ_{k≠y} exp s_k − s_y                                (N,) its direction for one sample

T is 1 for goodness of form "class". An energy has no unit of its own, so T is then the mean over samples of
the standard deviation of s over classes. For one sample ∂L/∂s = p_wrong ∂m/∂s with the probability p_wrong of
all wrong classes, so that L and m have the same direction at T = 1. m does not saturate: where a sample is
classified well, ∂L is 0 but for rounding.

N samples; K classes; y (N,) classes.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ffcore.errors import UserError
from ffcore.local.attached import Attached
from ffcore.local.block import LocalBlock
from ffcore.network import Network
from ffcore.tasks import Classification


def refuse_other_tasks(net: Network) -> None:
    """Raise if the network does not classify samples.

    Raises:
        UserError: with the reason.
    """
    if type(net.task) is not Classification:
        raise UserError(f"the task {type(net.task).__name__} has no class scores of a sample")
    if not net.sources:
        raise UserError("the network has no evidence of classes")


def attached_scores(net: Network, x: Tensor) -> Tensor:
    """Return the class scores (N, K) with a graph, in float64.

    Args:
        net: the network, in evaluation mode.
        x: (N, *shape) samples.

    Raises:
        UserError: no graph leads through the network.
    """
    evidence = net.algorithm.scores(x, Attached(net.local))
    scores = net.combine(evidence)
    if not scores.requires_grad:
        raise UserError("no gradient leads from the class scores to what they are made of")
    return scores.double()


def temperature(net: Network, scores: Tensor) -> float:
    """Return T for scores (N, K); see the top of the file."""
    energies = any(
        isinstance(block, LocalBlock) and block.goodness is not None and block.goodness.form == "energy"
        for block in net.blocks
    )
    if not energies:
        return 1.0
    spread = float(scores.detach().double().std(1, correction=0).mean())
    return spread if spread > 0 else 1.0


def global_loss(scores: Tensor, y: Tensor, t: float) -> Tensor:
    """Return L.

    >>> round(float(global_loss(torch.zeros(2, 4), torch.tensor([0, 1]), 1.0).exp()), 4)
    4.0
    """
    return cross_entropy(scores / t, y)


def wrongness(scores: Tensor, y: Tensor) -> Tensor:
    """Return m (N,).

    >>> wrongness(torch.tensor([[3.0, 1.0]]), torch.tensor([0])).tolist()
    [-2.0]
    """
    own = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, y.unsqueeze(1), value=True)
    return scores.masked_fill(own, float("-inf")).logsumexp(1) - scores[own]
