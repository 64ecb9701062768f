"""A penalty that asks a solver: scores rise where the target is, and fall where the solver's answer is.

    ŷ_n  = box(g_n)                        1 for what the solver has chosen, else 0
    L    = (w P/T) Σ_np (ŷ_np − y_np) s_np,          ∂L/∂s = (w P/T) (ŷ − y)

Positions without a target are left out; T is the number of the others. If all have one, T = N P, and L is a
mean over samples of sums over positions.

    task                                   p            g            s
    two classes at every position          positions    (N, *P, 2)   ln softmax(g)_1
    one class a sample, or several labels  columns K    (N, K)       g

For a solver that maximises Σ_p ŷ_p s_p among the answers that are allowed, if y is one of them and has all
targets, a sample's term is at least 0, and is 0 where the answer is right. The solver needs no derivative. N
samples; P positions, or 1; y in {0, 1}.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from ffcore.errors import RunError
from ffcore.interfaces import BlackBox, Block, Context, Out, Penalty, Views
from ffcore.interfaces.task import IGNORED
from ffcore.local.box import BoxStage
from ffcore.options import ByName, NonNegative


class StructuredPerceptron(Penalty):
    """Raises the scores of the target and lowers those of a solver's answer; see the formulas of this module.

    The structured perceptron (Collins 2002, "Discriminative training methods for hidden Markov models"). Each
    block with this penalty calls the solver once for each batch.

    Args:
        box: the solver, a black box from goodness to 0 and 1: (R, 2, *P) → (R, 1, *P), or (R, K) → (R, K).
        weight: w.
    """

    example_recipe: ClassVar[Mapping[str, Any]] = {"block": {"goodness": "linear-head"}}
    examples = ({"box": {"kind": "winner-take-all", "group": 4}},)

    def __init__(self, box: BlackBox | ByName, weight: NonNegative = 1.0) -> None:
        super().__init__()
        self.solver = BoxStage(box, "solver")
        self.weight = weight
        self.columns = 0
        if self.solver.adapts or self.solver.box.observes:
            raise ValueError("box: should be a solver, not a box that learns")

    def setup(self, context: Context) -> None:
        """Set the solver up.

        Raises:
            ValueError: when the goodness or the task does not fit.
        """
        task, goodness = context.task, context.goodness
        if goodness is None or goodness.form != "class":
            raise ValueError("structured-perceptron: needs a goodness of classes, such as linear-head")
        shape: tuple[int, ...] = (context.classes,)
        if task is not None and task.features is not None:
            if context.classes != 2 or task.target != "class":
                raise ValueError("structured-perceptron: at every position it needs two classes")
            positions = list(context.shape)
            del positions[task.features]
            shape = (2, *positions)
        elif task is not None and task.target not in ("class", "labels"):
            raise ValueError(f"structured-perceptron: targets are {task.target}, not classes or labels")
        self.columns = context.classes
        self.solver.name = f"{context.name} solver"
        self.solver.place(Context(shape, context.classes, task=task, name=self.solver.name))

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """See `Penalty.forward`."""
        assert out.goodness is not None, "`setup` has checked it"
        assert views.y is not None, "the task has targets"
        goodness, y = out.goodness[: views.samples], views.y
        if goodness.dim() > 2:
            scores, asked = F.log_softmax(goodness, -1)[..., 1], goodness.movedim(-1, 1)
        else:
            scores = asked = goodness
            y = F.one_hot(y, self.columns) if y.dim() == 1 else y
        known = y != IGNORED
        with torch.no_grad():
            wrong = (self._answer(asked.contiguous(), scores.shape) - y.to(scores.dtype)) * known
        targets = known.sum().clamp_min(1) if goodness.dim() > 2 else len(scores)
        positions = scores[0].numel() if goodness.dim() > 2 else 1
        term: Tensor = self.weight * positions / targets * (wrong * scores).sum()
        return term

    def _answer(self, asked: Tensor, shape: torch.Size) -> Tensor:
        """Return ŷ in the shape of the scores.

        Raises:
            RunError: the solver returned another number of values, or other values than 0 and 1.
        """
        answer: Tensor = self.solver(asked)
        if answer.numel() != shape.numel():
            raise RunError(
                f"{self.solver.name}: returned {tuple(answer.shape)} for {tuple(asked.shape)}; a solver "
                f"returns {tuple(shape)}"
            )
        if not ((answer == 0) | (answer == 1)).all():
            raise RunError(f"{self.solver.name}: returned other values than 0 and 1")
        return answer.reshape(shape)
