"""Graph convolutions that learn from losses of their own: classification of nodes.

    python docs/examples/graph.py

The images of scikit-learn's digits are the nodes of a graph, with edges to the eight nearest images; the
class of one node in twenty is known. The graph is one sample, its nodes are positions, and those without a
known class have the target −100.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from sklearn.neighbors import kneighbors_graph
from torch import Tensor, nn

import ffcore
from ffcore.tasks import TokenClassification


class GraphConvolution(nn.Module):
    """ReLU(A x W), with the mean over neighbours A, (1, T, D) → (1, T, U).

    Args:
        adjacency: A (T, T), rows sum to 1.
        inputs: D.
        units: U.
    """

    def __init__(self, adjacency: Tensor, inputs: int, units: int) -> None:
        super().__init__()
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.linear = nn.Linear(inputs, units)
        self.norm = nn.LayerNorm(units)

    def forward(self, x: Tensor) -> Tensor:
        """(1, T, D) → (1, T, U)."""
        return torch.relu(self.norm(self.adjacency @ self.linear(x)))


def graph() -> tuple[Tensor, Tensor, Tensor]:
    """Features (1, T, D), classes (1, T) and the mean over neighbours (T, T)."""
    images, classes = load_digits(return_X_y=True)
    edges = torch.tensor(kneighbors_graph(images, 8, include_self=True).toarray(), dtype=torch.float32)
    edges = torch.maximum(edges, edges.T)
    x = torch.tensor(images, dtype=torch.float32) / 16
    return x.unsqueeze(0), torch.tensor(classes).unsqueeze(0), edges / edges.sum(1, keepdim=True)


def main(steps: int = 60) -> float:
    """Train, and return the accuracy on the nodes without a known class."""
    torch.manual_seed(0)
    x, classes, adjacency = graph()
    known = torch.rand(classes.shape, generator=torch.Generator().manual_seed(0)) < 0.05
    y = classes.masked_fill(~known, -100)
    net = ffcore.Network(
        [
            ffcore.LocalBlock(
                GraphConvolution(adjacency, inputs, 64), "linear-head", objective="cross-entropy"
            )
            for inputs in (64, 64)
        ],
        algorithm="local-errors",
        example=x,
        task=TokenClassification(10),
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
    for step in range(steps):
        losses = net.learn(x, y, optimizers)
        if step % 20 == 19:
            print(f"step {step + 1}:", {name: round(float(loss), 3) for name, loss in losses.items()})
    measured = ffcore.evaluate(net, (x, classes.masked_fill(known, -100)))
    print(f"accuracy {measured.accuracy:.1%} with {int(known.sum())} known classes")
    return measured.accuracy


if __name__ == "__main__":
    main()
