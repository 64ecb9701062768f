"""Predicts with early exits: a sample leaves after a block as soon as its evidence is sure enough.

The formulas are those of `ffcore.local.exits`. N samples; K classes.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError
from ffcore.interfaces import Task
from ffcore.local.early import Early
from ffcore.local.given import finite
from ffcore.report.exit_record import ExitRecord
from ffcore.run.estimator import TrainedEstimator, like
from ffcore.run.predictor import Predictor
from ffcore.run.surroundings import own_settings
from ffcore.run.trainer import precision

__all__ = ["Decided", "EarlyPredictor"]


@dataclass(frozen=True, slots=True)
class Decided:
    """Predictions and what they needed.

    Attributes:
        classes: (N,) int64 class indices.
        blocks: (N,) int64 number of blocks that have run for each sample.
        scores: (N, K) scores after these blocks; those of different exits are not comparable.
    """

    classes: Any
    blocks: Any
    scores: Any


class EarlyPredictor(TrainedEstimator):
    """Predicts with a run, and stops after a block as soon as the evidence is sure enough.

    A sample leaves at the first exit e whose margin m_e = largest − second largest score is at least θ_e.
    The blocks after it do not run for this sample. The thresholds θ_e come from the file ``exits.json``.

    ``scores`` are those after the blocks that have run, and ``predict_proba`` is their softmax. They order
    the classes of a sample; those of samples that left at different exits are not comparable.

    Args:
        predictor: the predictor of a run on which ``ffcore eval RUN --exits`` has been called.

    Attributes:
        thresholds: θ_e of all exits but the last; infinity: no sample leaves there.
        blocks: number of blocks that have run after each exit.
        classes: names of the K classes.
        classes_: class indices (K,), the attribute that scikit-learn expects.

    Raises:
        UserError: the run has no exits, or they were chosen for other weights.

    Example:
        ``early = ffcore.load("runs/mnist-ff").early()``; then ``early.predict(x)`` are classes (N,), and
        ``early.decide(x).blocks.mean()`` is the mean number of blocks; ``early.score(x, y)`` is the accuracy.
    """

    def __init__(self, predictor: Predictor) -> None:
        record = ExitRecord.read(predictor.path)
        choose = f"choose them with: ffcore eval {predictor.path} --exits, or from Python ffcore.choose_exits"
        if record is None:
            raise UserError(f"{predictor.path}: has no thresholds of early exits; {choose}")
        if record.weights != checksum(predictor.module):
            raise UserError(f"{predictor.path}: its early exits belong to other weights; {choose}")
        self._predictor = predictor
        self.classes, self.classes_ = predictor.classes, predictor.classes_
        self._early = early_of(predictor.module)
        self.blocks: tuple[int, ...] = self._early.blocks
        if tuple(entry.blocks for entry in record.exits) != self.blocks:
            raise UserError(f"{predictor.path}: its early exits belong to another network; {choose}")
        found = [entry.threshold for entry in record.exits[:-1]]
        self.thresholds: tuple[float, ...] = tuple(math.inf if t is None else t for t in found)

    def decide(self, x: Any) -> Decided:
        """Returns predictions with the number of blocks that each of them needed.

        Args:
            x: samples as for `scores`.

        Returns:
            Tensors on the device of ``x`` if that is a tensor, otherwise arrays.

        Raises:
            UserError: the samples do not fit.
            RunError: a score is NaN, as those of weights that are not finite.
        """
        scores, blocks = self._decided(x)
        return Decided(*(like(x, each) for each in (finite(scores).argmax(1), blocks, scores)))

    @property
    def _task(self) -> Task:
        return self._predictor.module.net.task

    def _scores(self, x: Any) -> Tensor:
        return self._decided(x)[0]

    @own_settings(warn=False)
    def _decided(self, x: Any) -> tuple[Tensor, Tensor]:
        """Returns scores (N, K) and numbers of blocks (N,)."""
        parts = [self._batch(batch.x) for batch in self._predictor.loader(x)]
        empty = torch.zeros(0, len(self.classes)), torch.zeros(0, dtype=torch.int64)
        scores, blocks = (torch.cat(each) for each in zip(*(parts or [empty]), strict=True))
        return scores.float() if scores.dtype is torch.bfloat16 else scores, blocks  # NumPy has no bfloat16

    def _batch(self, x: Tensor) -> tuple[Tensor, Tensor]:
        with precision(self._predictor.recipe, x.device):
            scores, out = self._early.predict(x, self.thresholds)
        return scores, torch.tensor(self.blocks, device=out.device)[out]

    def __repr__(self) -> str:
        return f"{self._predictor!r}.early()"


def early_of(module: ForwardOnly) -> Early:
    """Returns the early predictions of a module.

    Raises:
        UserError: its evidence is not known block by block.
    """
    net = module.net
    return Early(net.algorithm, net.local, net.contribution, net.shape)


def checksum(module: nn.Module) -> str:
    """Returns the SHA-256 of the weights and buffers of a module, with their names, in hexadecimal."""
    made = hashlib.sha256()
    for name, value in module.state_dict().items():
        made.update(name.encode())
        if isinstance(value, Tensor):
            made.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return made.hexdigest()
