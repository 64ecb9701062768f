"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.interfaces import LearningRule, Out, Views
from ffcore.interfaces.rule import Call
from ffcore.local.loss import PenaltyLoss


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
        backward(losses, window)
        return detached(losses)


def backward(losses: Sequence[Mapping[str, Tensor]], window: Sequence[Call]) -> None:
    """Compute the gradients of the sum of all terms with autograd; raises as `Gradient.learn` does."""
    terms = [term for of_block in losses for term in of_block.values()]
    total = terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])
    if not total.requires_grad:
        block, _, out = window[-1]
        if not any(p.requires_grad for each, _, _ in window for p in cast(nn.Module, each).parameters()):
            names = ", ".join(each.name for each, _, _ in window)
            raise UserError(
                f"block {names}: requires_grad is False for all parameters, but was True when the optimisers "
                "were made; make new ones with ffcore.optimizers(net, …), or freeze the block with its "
                "method freeze()"
            )
        raise UserError(
            f"block {block.name}: no gradient leads from its loss to its parameters: "
            f"{_without_graph(block, out)} has no graph, as after detach(), no_grad(), a comparison or a "
            "conversion to NumPy"
        )
    for (block, _, _), of_block in zip(window, losses, strict=True):
        for name, term in of_block.items():
            if not term.requires_grad and term != 0:
                raise UserError(
                    f"block {block.name}: no gradient leads from {name!r} to its parameters: it has no "
                    "effect (a penalty that reads out.handoff needs reads_handoff = True)"
                )
    total.backward()  # type: ignore[no-untyped-call]


def _without_graph(block: Any, out: Out) -> str:
    """Return the name of the first result of a block that has no graph."""
    # with a closed form, autograd's graph begins at the goodness, and the activity has none
    begins_later = out.goodness is not None and out.goodness.is_leaf and out.goodness.requires_grad
    for name, made in (("activity", out.activity), ("goodness", out.goodness))[2 * begins_later :]:
        part = block.body if name == "activity" else block.goodness
        if made is not None and not made.requires_grad:
            return f"the {name} that {type(part).__name__} returned"
    parts = block.loss.children() if isinstance(block.loss, PenaltyLoss) else ()
    return f"the loss that {type(next(iter(parts), block.loss)).__name__} returned"


def detached(losses: Sequence[Mapping[str, Tensor]]) -> list[dict[str, Tensor]]:
    """Return the terms without a graph."""
    return [
        {name: term.detach() if term.requires_grad else term for name, term in of_block.items()}
        for of_block in losses
    ]
