"""Graph convolutions on one graph.

    h = ReLU(LN(A (W x + b)))

T nodes; D features in, U out; x (1, T, D); A (1, T, T) the mean over neighbours.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class GraphConvolution(nn.Module):
    """Means of the neighbours' features after a linear layer, h = ReLU(LN(A (W x + b))).

    Args:
        inputs: features D of a node.
        units: features U of a node's output.
    """

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, units)
        self.norm = nn.LayerNorm(units)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """(1, T, D) and (1, T, T) → (1, T, U)."""
        return torch.relu(self.norm(neighbours @ self.linear(x)))


class GraphNetwork(nn.Module):
    """Graph convolutions one after another, and a linear layer of every node: a model for the item ``model``.

    Args:
        widths: features of the nodes, of the input first.
        classes: number of classes.
    """

    def __init__(self, widths: list[int], classes: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(GraphConvolution(*pair) for pair in pairwise(widths))
        self.last = nn.Linear(widths[-1], classes)

    def forward(self, x: Tensor, neighbours: Tensor) -> Tensor:
        """(1, T, D) and (1, T, T) → (1, T, K)."""
        for layer in self.layers:
            x = layer(x, neighbours)
        made: Tensor = self.last(x)
        return made
