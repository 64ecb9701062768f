"""A user's program on all levels, checked by `mypy --strict` and run by tests/typing/test_typing.py."""

from __future__ import annotations

from pathlib import Path
from typing import assert_type

import lightning as L
import torch
from sklearn.datasets import load_digits  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context, Goodness, Objective, Progress, Views
from ffcore.run.finished import Run
from ffcore.run.predictor import Predictor
from ffcore.run.results import Results
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.goodness import SumSquares
from ffcore_ff.handoffs import RMS
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from ffcore_ff.objectives import Logistic


class LinearHead(Goodness):
    """Class goodness W·h."""

    form = "class"

    def setup(self, context: Context) -> None:
        """Make the weights."""
        assert_type(context.shape, tuple[int, ...])
        self.linear = nn.Linear(context.shape[0], context.classes)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, U) → (R, K)."""
        found: Tensor = self.linear(activity)
        return found


class Hinge(Objective):
    """max(0, 1 − (G⁺ − G⁻))."""

    def forward(self, goodness: Tensor, views: Views) -> Tensor:
        """(R,) → a scalar."""
        gap = views.of(goodness, "positive") - views.of(goodness, "negative")
        assert_type(gap, Tensor)
        return torch.relu(1 - gap).mean()


def digits() -> tuple[Tensor, Tensor]:
    """Rows (N, 64) and classes (N,)."""
    data = load_digits()
    return torch.tensor(data.data[:200], dtype=torch.float32) / 16, torch.tensor(data.target[:200])


def network(x: Tensor, *, kinds: bool = False) -> ffcore.Network:
    """One block of objects, one of kinds."""
    first = ffcore.LocalBlock(
        nn.Sequential(nn.Linear(64, 20), nn.ReLU()),
        SumSquares(),
        objective=Hinge() if kinds else Logistic(threshold=2.0),
        handoff=RMS(),
    )
    second = ffcore.LocalBlock(
        nn.Sequential(nn.Linear(20, 20), nn.ReLU()),
        "sum-squares",
        objective={"kind": "logistic", "threshold": 2.0},
        handoff="rms",
    )
    return ffcore.Network(
        [nn.Flatten(), first, second], ForwardForward(Overlay(), WrongLabel()), example=x[:2], classes=10
    )


def loop(x: Tensor, y: Tensor) -> Tensor:
    """Level 1."""
    net = network(x, kinds=True)
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    for epoch in range(2):
        for rows in torch.randperm(len(x)).view(-1, 50):
            losses = net.learn(x[rows], y[rows], optimizers, progress=Progress(epoch, 0, 2))
            assert_type(losses, dict[str, Tensor])
        net.end_epoch()
    for call in ffcore.one_step(net, x[:50], y[:50], optimizers):
        assert_type(call.activity, Tensor)
    assert_type(net.predict(x), Tensor)
    assert_type(net.predict_proba(x), Tensor)
    assert_type(ffcore.evaluate(net, (x, y)).accuracy, float)
    return (net.predict(x) == y).float().mean()


def lightning(x: Tensor, y: Tensor) -> int:
    """Level 2."""
    module = ffcore.ForwardOnly(network(x), torch.optim.Adam, lr=1e-3)
    assert_type(module, ffcore.ForwardOnly)
    loader = DataLoader(TensorDataset(x, y), batch_size=50)
    trainer = L.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader, loader)
    return trainer.global_step


def model(x: Tensor, y: Tensor) -> nn.Module:
    """A model from elsewhere."""
    body = nn.Sequential(nn.Linear(64, 20), nn.ReLU(), nn.Linear(20, 20), nn.ReLU(), nn.Linear(20, 10))
    net = ffcore.localize(
        body,
        at=["0", "2"],
        head="4",
        example=x[:2],
        classes=10,
        algorithm="channel-class",
        goodness=LinearHead(),
        objective="cross-entropy",
    )
    assert_type(net, ffcore.Network)
    optimizers = ffcore.optimizers(net, {"*": torch.optim.Adam}, lr=1e-3)
    net.learn(x, y, optimizers)
    back = ffcore.delocalize(net)
    assert_type(back, nn.Module)
    return back


def runs(x: Tensor, y: Tensor, folder: Path) -> float:
    """Level 3."""
    run = ffcore.fit(network(x), (x, y), epochs=1, run_dir=folder / "fit", report=False)
    assert_type(run, Run)
    assert_type(run.results, Results)
    other = ffcore.train(
        "digits/ff", run_dir=folder / "train", report=False, seed=2, trainer={"max_epochs": 1, "threads": 1}
    )
    predictor = ffcore.load(other.path)
    assert_type(predictor, Predictor)
    try:
        ffcore.add_plugin("missing.py")
    except UserError as error:
        print(error)
    test = other.results.test
    assert test is not None
    return test.accuracy


def main(folder: str) -> None:
    """All levels."""
    x, y = digits()
    print(loop(x, y), lightning(x, y), model(x, y), runs(x, y, Path(folder)))


if __name__ == "__main__":
    import sys

    main(sys.argv[1])
