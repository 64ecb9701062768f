"""The same network under Lightning's trainer: any DataLoader, callbacks, loggers, checkpoints.

    python docs/examples/own_lightning.py [DIRECTORY]

Checkpoints include the optimiser states, and ``global_step`` counts batches: a run that is stopped and
resumed has the same final weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import lightning as L
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import ffcore


def loaders() -> list[DataLoader]:
    """Training, validation and test batches (x, y) of scikit-learn's digits."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    y = torch.tensor(data.target)
    parts = [TensorDataset(x[rows], y[rows]) for rows in (slice(1200), slice(1200, 1500), slice(1500, None))]
    return [DataLoader(part, batch_size=50, shuffle=i == 0) for i, part in enumerate(parts)]


def network(example: torch.Tensor) -> ffcore.Network:
    """Three blocks given by kinds; objects are possible too."""
    sizes = [(64, 300), (300, 300), (300, 300)]
    blocks = [
        ffcore.LocalBlock(
            nn.Sequential(nn.Linear(*size), nn.ReLU()),
            goodness="sum-squares",
            objective={"kind": "logistic", "threshold": 2.0},
            handoff="rms",
        )
        for size in sizes
    ]
    algorithm = {"kind": "forward-forward", "labels": "overlay", "negatives": "wrong-label"}
    return ffcore.Network([nn.Flatten(), *blocks], algorithm, example=example, classes=10)


def main(folder: str = "lightning") -> float:
    """Train, select the best epoch on validation data, and return its accuracy on the test data."""
    L.seed_everything(1)
    train, val, test = loaders()
    module = ffcore.ForwardOnly(network(next(iter(train))[0][:2]), torch.optim.Adam, lr=1e-3)
    best = ModelCheckpoint(Path(folder), monitor="val_accuracy", mode="max")
    trainer = L.Trainer(
        max_epochs=8,
        accelerator="cpu",
        callbacks=[best, EarlyStopping("val_accuracy", mode="max", patience=4)],
        logger=CSVLogger(folder),
        enable_progress_bar=False,
        log_every_n_steps=10,
    )
    trainer.fit(module, train, val)
    print(f"{trainer.global_step} batches; best validation accuracy {best.best_model_score:.1%}")
    (metrics,) = trainer.test(module, test, ckpt_path=best.best_model_path, verbose=False, weights_only=True)
    print(f"test accuracy {metrics['test_accuracy']:.1%}")
    return metrics["test_accuracy"]


if __name__ == "__main__":
    main(*sys.argv[1:])
