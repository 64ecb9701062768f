"""Regression of a table: every block predicts the numbers with a linear layer of its own.

    python docs/examples/regression.py

Friedman's function of five of ten columns, with noise of standard deviation 1 (scikit-learn's
``make_friedman1``). The best possible R² is 0.96.
"""

from __future__ import annotations

import torch
from sklearn.datasets import make_friedman1
from torch import nn

import ffcore

LEARN, TEST = 8000, 1000


def block(inputs: int, units: int = 64) -> ffcore.LocalBlock:
    """A layer that learns from its own squared error."""
    body = nn.Sequential(nn.Linear(inputs, units), nn.SiLU())
    return ffcore.LocalBlock(body, "linear-head", objective="squared-error")


def standardised(values: torch.Tensor) -> torch.Tensor:
    """Columns with mean 0 and standard deviation 1 on the training rows."""
    return (values - values[:LEARN].mean(0)) / values[:LEARN].std(0)


def main(epochs: int = 15) -> float:
    """Train, and return R² on new rows."""
    torch.manual_seed(0)
    table = make_friedman1(LEARN + TEST, noise=1.0, random_state=0)
    x, y = (standardised(torch.tensor(part, dtype=torch.float32)) for part in table)
    net = ffcore.Network([block(10), block(64), block(64)], "local-errors", x[:2], task="regression")
    optimizers = ffcore.optimizers(net, torch.optim.AdamW, lr=5e-3)
    decay = [torch.optim.lr_scheduler.CosineAnnealingLR(each.optimizer, epochs) for each in optimizers]
    for epoch in range(epochs):
        for rows in torch.randperm(LEARN).split(100):
            losses = net.learn(x[rows], y[rows], optimizers)
        for each in decay:
            each.step()
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}:", {name: round(float(loss), 3) for name, loss in losses.items()})
    measured = ffcore.evaluate(net, (x[LEARN:], y[LEARN:]))
    print({name: round(value, 3) for name, value in measured.measures.items()})
    return measured.measures["r2"]


if __name__ == "__main__":
    main()
