"""Forward-Forward on tabular data with plain torch: your loop, your data, your optimiser.

    python docs/examples/own_loop.py

A network of two blocks learns to classify malignant and benign tumours (scikit-learn's breast cancer data, 30
features). No gradient flows from one block to the other.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn

import ffcore
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.goodness import SumSquares
from ffcore_ff.handoffs import RMS
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from ffcore_ff.objectives import Logistic


def block(inputs: int, units: int = 100) -> ffcore.LocalBlock:
    """A layer that learns from its own loss."""
    body = nn.Sequential(nn.Linear(inputs, units), nn.ReLU())
    return ffcore.LocalBlock(body, SumSquares(), objective=Logistic(threshold=2.0), handoff=RMS())


def table() -> list[torch.Tensor]:
    """Training and test rows with their classes; the first two columns are empty, for the label."""
    x, y = load_breast_cancer(return_X_y=True)
    learn, test, y_learn, y_test = train_test_split(x, y, test_size=0.25, stratify=y, random_state=0)
    scaler = StandardScaler().fit(learn)
    rows = [torch.tensor(scaler.transform(part), dtype=torch.float32) for part in (learn, test)]
    rows = [nn.functional.pad(part, (2, 0)) for part in rows]
    return [*rows, torch.tensor(y_learn), torch.tensor(y_test)]


def main() -> float:
    """Train, and return the accuracy on the test rows."""
    torch.manual_seed(0)
    x, x_test, y, y_test = table()
    net = ffcore.Network(
        [block(32), block(100)],
        algorithm=ForwardForward(Overlay(), WrongLabel()),
        example=x[:2],
        classes=2,
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    for epoch in range(20):
        for rows in torch.randperm(len(x)).split(32):
            losses = net.learn(x[rows], y[rows], optimizers)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}:", {name: round(float(loss), 3) for name, loss in losses.items()})
    accuracy = float((net.predict(x_test) == y_test).float().mean())
    print(f"test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
