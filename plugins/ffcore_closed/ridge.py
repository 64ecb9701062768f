"""Ridge regression of a layer's targets, from sums over an epoch.

    A = Σ xᵀx,  B = Σ xᵀz          over the rows of all batches and ranks; x with a 1 for the bias
    [W b]ᵀ = (A + λ I)⁻¹ B

x (n, D) rows of a batch that the weight multiplies, z (n, U) their targets; A (D', D'), B (D', U) in float64,
D' = D + 1 with a bias; λ the strength.

The sums belong to one epoch. In a block's first one batch norm normalises by the batch, and its running
statistics settle. With ``of: goodness``, whose body is fixed, the block is in evaluation mode from the second
on: x is what the head reads when it predicts. A norm of a body that is solved sees other inputs after each
solution, and normalises by the batch throughout.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import Block, Context, LayerRule, Out, Ranks, Views, c99, ranks
from ffcore.interfaces.affine import columns, set_weight
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call, Solution
from ffcore.options import NonNegative


class Ridge(LayerRule):
    """Solves for the weights of a block's affine layer at the end of an epoch.

    The targets are 2y − 1 for one-hot classes and for labels, and y for real numbers. One epoch is enough: a
    second one gives the same weights, unless the block has batch norm or dropout. A head behind these needs
    two epochs: the first settles running statistics, the second solves in evaluation mode. There is no loss,
    no optimiser and no gradient; metrics of an epoch show what has been solved from its validation on.

    Args:
        strength: λ, the same for every number of samples.
        of: the layer that is solved for: that of the "body", or of the "goodness", such as a linear head on
            a body that stays as it is.

    Raises:
        UserError: when the part does not have one affine layer, its units are not the targets, or the sums
            cannot be solved, as with λ = 0 and fewer samples than values.
        ValueError: when every position has a target, or there are none.
    """

    example_units: ClassVar[int | None] = 4

    def __init__(self, strength: NonNegative = 1.0, of: Literal["body", "goodness"] = "body") -> None:
        super().__init__(of)
        self.strength = strength
        self._sums: tuple[Tensor, Tensor, int] | None = None
        self.sort = "class"
        self.settled = False  # whether an epoch has ended: running statistics are known

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.Component.setup`.

        Raises:
            ValueError: when every position has a target, or there are none.
        """
        if context.task is not None:
            self.sort = context.task.target
            if context.task.features is not None or self.sort == "none":
                raise ValueError(f"rule {type(self).__name__}: needs one target a sample, not {context.task}")
        self.classes = context.classes

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run the block; in front of a head, from the second epoch on in evaluation mode; see this module."""
        fixed = [cast(nn.Module, block)] if self.settled and self.of == "goodness" else []
        with evaluating(*fixed):
            return super().run(block, inputs, views, handoff)

    @torch.no_grad()
    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """Add the samples of the batch to the sums; see `ffcore.interfaces.LearningRule.learn`."""
        layer, read = self.noted(window, views)
        x = columns(layer, read[: views.samples]).double()
        z = self.targets(x, layer.weight.shape[0], views).double()
        if layer.bias is not None:
            x = torch.cat([x, x.new_ones(x.shape[0], 1)], dim=1)
        group = ranks()
        # every rank keeps the sums of all: any of them can be stored, and resumed by another number of ranks
        count = sum(group.objects(0 if group.idle else x.shape[0]))
        made = (group.sum(x.T @ x), group.sum(x.T @ z), count)
        if self._sums is not None:
            a, b, before = self._sums
            made = (made[0] + a.to(x.device), made[1] + b.to(x.device), count + before)
        self._sums = made
        return [{}]

    def targets(self, x: Tensor, units: int, views: Views) -> Tensor:
        """Return the targets of rows, (n, D) and the number of units U → (n, U).

        Raises:
            UserError: when the layer does not have a unit for each column of the targets.
        """
        y = views.y
        assert y is not None, "checked in setup"
        if self.sort == "class":
            y = 2 * nn.functional.one_hot(y, self.classes) - 1
        elif self.sort == "labels":
            y = 2 * y - 1
        z = y.reshape(y.shape[0], -1).to(x.dtype)
        if z.shape[1] != units:
            raise UserError(
                f"rule {type(self).__name__}: the layer has {units} units, but there are {z.shape[1]} targets"
            )
        return z.repeat_interleave(x.shape[0] // z.shape[0], dim=0)

    def solution(self, block: Block) -> Solution:
        """See `ffcore.interfaces.LearningRule.solution`."""
        layer = self.layer(block)
        return Solution(("a", "b", "count"), self.strength, layer.weight, layer.bias)

    def finish(self, block: Block, ranks: Ranks) -> None:
        """Solve for the weights of the epoch's samples, and forget them."""
        if self._sums is None:
            return
        (a, b, count), self._sums, layer = self._sums, None, self.layer(block)
        self.settled = True
        if not self.strength and count < len(a):
            raise UserError(
                f"block {block.name}: rule {type(self).__name__}: {count} rows do not determine {len(a)} "
                "weights of a unit; use strength > 0, or more samples"
            )
        a.diagonal().add_(self.strength)
        factor, failed = torch.linalg.cholesky_ex(a)
        if failed:
            raise UserError(
                f"block {block.name}: rule {type(self).__name__}: the sums are singular or non-finite; use a "
                f"larger strength than {self.strength:g}"
            )
        solved = torch.cholesky_solve(b, factor).T.to(layer.weight.dtype)
        if layer.bias is None:
            set_weight(layer, solved, None)
        else:
            set_weight(layer, solved[:, :-1], solved[:, -1])

    def c99(self, inputs: int, units: int) -> c99.RidgeSums:
        """Return the C form of a layer; see `ffcore.interfaces.c99`.

        Raises:
            ValueError: when targets are not classes, the layer is that of the goodness, or its units are not
                the classes.
        """
        self._refuse_c99()
        if units != self.classes:
            raise ValueError(f"the layer has {units} units, but there are {self.classes} classes")
        return c99.RidgeSums(self.strength, None, 2 * torch.eye(units) - 1)

    def _refuse_c99(self) -> None:
        if self.sort != "class":
            raise ValueError(f"targets of the sort {self.sort!r} have no C form; only classes have")
        if self.of != "body":
            raise ValueError("of: goodness has no C form; only the layer of a body has")

    def get_extra_state(self) -> dict[str, Any]:
        """Return the sums of an epoch that has not ended, and whether one has, for checkpoints."""
        sums = {} if self._sums is None else dict(zip(("a", "b", "count"), self._sums, strict=True))
        return {**sums, "settled": self.settled}

    def set_extra_state(self, state: Any) -> None:
        """Set the state; the sums to copies: `finish` changes them in place."""
        self.settled = state.get("settled", self.settled)
        self._sums = (state["a"].clone(), state["b"].clone(), state["count"]) if "a" in state else None
