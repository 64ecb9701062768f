"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Block, LearningRule, Views
from ffcore.interfaces.rule import Call


class Gradient(LearningRule):
    """A gradient step on the sum of the local losses of a window.

    For a block that is alone in its window and whose body is a `ClosedForm`, the plan uses
    `ClosedFormGradient` instead. The gradients are the same.
    """

    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """See `ffcore.interfaces.LearningRule.learn`.

        Raises:
            UserError: when the sum, or a term that is not zero, has no graph, and so no gradient.
        """
        losses = [block.losses(out, views) for block, _, out in window]
        backward(losses, [block for block, _, _ in window])
        return detached(losses)


def backward(losses: Sequence[Mapping[str, Tensor]], blocks: Sequence[Block]) -> None:
    """Compute the gradients of the sum of all terms with autograd; raises as `Gradient.learn` does."""
    terms = [term for of_block in losses for term in of_block.values()]
    total = terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])
    if not total.requires_grad:
        raise UserError(
            f"block {blocks[-1].name}: no gradient leads from its loss to its parameters: it cannot learn"
        )
    for block, of_block in zip(blocks, losses, strict=True):
        for name, term in of_block.items():
            if not term.requires_grad and term != 0:
                raise UserError(
                    f"block {block.name}: no gradient leads from {name!r} to its parameters: it has no "
                    "effect (a penalty that reads out.handoff needs reads_handoff = True)"
                )
    total.backward()  # type: ignore[no-untyped-call]


def detached(losses: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Return the terms without a graph."""
    return [
        {name: term.detach() if term.requires_grad else term for name, term in of_block.items()}
        for of_block in losses
    ]
