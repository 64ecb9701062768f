"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Block, LearningRule, Views
from ffcore.interfaces.rule import Call


class Gradient(LearningRule):
    """One backward through the window on the sum of its blocks' losses.

    For a block that learns by itself and whose body is a `ClosedForm`, the plan takes `ClosedFormGradient`
    in its place; the gradients are the same.
    """

    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """See `ffcore.interfaces.LearningRule.learn`.

        Raises:
            UserError: when the sum, or a term that is not zero, has no graph: nothing would learn from it.
        """
        losses = [block.losses(out, views) for block, _, out in window]
        backward(losses, [block for block, _, _ in window])
        return detached(losses)


def backward(losses: Sequence[Mapping[str, Tensor]], blocks: Sequence[Block]) -> None:
    """Let autograd compute gradients of the sum of all terms; errors as in `Gradient.learn`."""
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
                    f"block {block.name}: no gradient leads from {name!r} to its parameters: it changes "
                    "nothing (a penalty that looks at out.handoff says so by reads_handoff = True)"
                )
    total.backward()  # type: ignore[no-untyped-call]


def detached(losses: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """The same terms without a graph."""
    return [
        {name: term.detach() if term.requires_grad else term for name, term in of_block.items()}
        for of_block in losses
    ]
