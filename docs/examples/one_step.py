"""One learning step by hand: output, loss and weight changes of every block.

    python docs/examples/one_step.py

The network is that of a recipe, with random weights; no trainer, no run directory.
"""

from __future__ import annotations

import copy

import torch
from sklearn.datasets import load_digits

import ffcore
from ffcore.interfaces import Progress


def main() -> list:
    """Take a step with given negatives, and print its results."""
    data = load_digits()
    x = torch.tensor(data.images[:50], dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target[:50])
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    steps = ffcore.one_step(
        copy.deepcopy(net),  # net itself is not changed
        x,
        y,
        progress=Progress(epoch=3, step=0, epochs=60),
        negatives=(x, (y + 1) % 10),  # the same images with the next class as hypothesis
    )
    print(f"{'block':8} {'G positive':>10} {'G negative':>10} {'loss':>7} {'|gradient|':>10} {'|change|':>9}")
    for step in steps:
        positive, negative = (step.of(step.goodness, role).mean() for role in ("positive", "negative"))
        gradient = torch.cat([g.flatten() for g in step.gradients.values()]).norm()
        change = torch.cat([(step.after[n] - step.before[n]).flatten() for n in step.after]).norm()
        loss = sum(step.losses.values())
        print(f"{step.block:8} {positive:10.2f} {negative:10.2f} {loss:7.3f} {gradient:10.4f} {change:9.4f}")
    return steps


if __name__ == "__main__":
    main()
