"""Recurrent layers that learn from losses of their own: classification of sequences.

    python docs/examples/gru.py

Signals of 64 values with one of four frequencies, a random phase and noise. Each GRU learns by a linear layer
on the mean of its outputs over time. The gradient runs through time within a layer, and not from one layer to
another.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

import ffcore
from ffcore_local.heads import LinearHead

LENGTH = 64


class Layer(nn.Module):
    """The outputs of a GRU, (N, T, D) → (N, T, U)."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.gru = nn.GRU(inputs, units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the output at every time, without the last state."""
        return self.gru(x)[0]


def signals(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Signals (N, T, 1) and the class (N,) of their frequency."""
    y = torch.randint(4, (n,), generator=generator)
    phase = 2 * math.pi * torch.rand(n, 1, generator=generator)
    angle = 2 * math.pi * (y.unsqueeze(1) + 3) * torch.arange(LENGTH) / LENGTH
    x = torch.sin(angle + phase) + 0.5 * torch.randn(n, LENGTH, generator=generator)
    return x.unsqueeze(2), y


def main(steps: int = 130) -> float:
    """Train, and return the accuracy on new signals."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    x, y = signals(500, generator)
    net = ffcore.Network(
        [
            ffcore.LocalBlock(layer, LinearHead(dim=-1), objective="cross-entropy")
            for layer in (Layer(1, 32), Layer(32, 32))
        ],
        algorithm="local-errors",
        example=x[:2],
        classes=4,
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-2)
    for step in range(steps):
        losses = net.learn(*signals(50, generator), optimizers)
        if step % 50 == 49:
            print(f"step {step + 1}:", {name: round(float(loss), 3) for name, loss in losses.items()})
    measured = ffcore.evaluate(net, (x, y))
    print(f"accuracy {measured.accuracy:.1%}, of each layer", dict(measured.per_block))
    return measured.accuracy


if __name__ == "__main__":
    main()
