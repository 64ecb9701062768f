"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Block, ClosedForm, Input, LearningRule, Out, Views


class Gradient(LearningRule):
    """One backward through the window on the sum of its blocks' losses, then one step for each block.

    A block that learns by itself, and whose body is a `ClosedForm`, has a graph from its activity, its
    goodness or nowhere on: backward ends there, and closed forms go on (`ffcore.local.Place`).
    """

    def learn(
        self, window: Sequence[tuple[Block, tuple[Input, ...], Out]], views: Views
    ) -> Sequence[Mapping[str, Tensor]]:
        """See `ffcore.interfaces.LearningRule.learn`."""
        if closed := _in_closed_form(window, views):
            losses, derivative = [closed[0]], closed[1]
        else:
            losses, derivative = [block.losses(out, views) for block, _, out in window], None
        if derivative is None:
            _backward(losses, [block for block, _, _ in window])
        for block, inputs, out in window:
            _finish_in_closed_form(block, inputs, out, derivative)
        for block in dict.fromkeys(block for block, _, _ in window):
            block.update(views.samples)
        return [{name: term.detach() for name, term in of_block.items()} for of_block in losses]


def _in_closed_form(
    window: Sequence[tuple[Block, tuple[Input, ...], Out]], views: Views
) -> tuple[Mapping[str, Tensor], Tensor] | None:
    """The losses and their derivative of a block that has run without a graph, if it has closed forms."""
    block, _, out = window[-1]
    alone = len(window) == 1 and not out.activity.requires_grad and hasattr(block.body, "add_gradients")
    begin = out.activity if out.goodness is None else out.goodness
    if not alone or begin.requires_grad:
        return None
    found = block.losses_with_derivative(out, views)
    if found is None:
        begin.requires_grad_()  # no closed form for these views: autograd's graph begins here
    return found


def _backward(losses: Sequence[Mapping[str, Tensor]], blocks: Sequence[Block]) -> None:
    """Let autograd work out gradients of the sum of all terms.

    Raises:
        UserError: when the sum, or a term that is not zero, has no graph: nothing would learn from it.
    """
    terms = [term for of_block in losses for term in of_block.values()]
    assert terms, "a window without any loss; the network has checked it"
    total = terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])
    if not total.requires_grad:
        raise UserError(
            f"block {_name(blocks[-1])}: no gradient leads from its loss to its parameters: it cannot learn"
        )
    for block, of_block in zip(blocks, losses, strict=True):
        for name, term in of_block.items():
            if not term.requires_grad and term != 0:
                raise UserError(
                    f"block {_name(block)}: no gradient leads from {name!r} to its parameters: it changes "
                    "nothing (a penalty that looks at out.handoff says so by reads_handoff = True)"
                )
    total.backward()  # type: ignore[no-untyped-call]


def _name(block: Block) -> str:
    return block.info.name if block.info is not None else "?"


@torch.no_grad()
def _finish_in_closed_form(
    block: Block, inputs: tuple[Input, ...], out: Out, derivative: Tensor | None
) -> None:
    """Take the gradient on from where autograd's graph began, if it did not begin at the inputs.

    ``derivative`` is the loss's by the goodness, or by the activity where there is none, if it is known.
    """
    activity, goodness = out.activity, out.goodness
    # A caller's own leaf, passed on by a body that does nothing, is no business of ours.
    if not activity.is_leaf or not hasattr(block.body, "add_gradients"):
        return
    begun = derivative is not None or activity.requires_grad or (goodness is not None and goodness.is_leaf)
    if not begun:  # the body is frozen: autograd has gone as far as there is to go
        return
    up = activity.grad
    if goodness is None:
        up = derivative if up is None else up
    elif up is None:
        of_goodness = goodness.grad if derivative is None else derivative
        assert block.goodness is not None
        assert of_goodness is not None
        up = block.goodness.vjp(activity, of_goodness)
        if up is None:  # no closed form for this activity after all
            with torch.enable_grad():
                leaf = activity.detach().requires_grad_()
                (up,) = torch.autograd.grad(block.goodness(leaf), leaf, of_goodness)
    if up is not None:
        others = cast("tuple[Tensor, ...]", inputs[1:])
        cast(ClosedForm, block.body).add_gradients(inputs[0], activity, up, *others)
