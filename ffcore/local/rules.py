"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor

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
        losses = [block.losses(out, views) for block, _, out in window]
        terms = [term for of_block in losses for term in of_block.values()]
        assert terms, "a window without any loss; the network has checked it"
        total = terms[0] if len(terms) == 1 else sum(terms[1:], terms[0])
        if views.samples:  # a rank's share of a small batch may be empty: the mean of nothing is no number
            if total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]
            for block, inputs, out in window:
                _finish_in_closed_form(block, inputs, out, views)
        for block in dict.fromkeys(block for block, _, _ in window):
            block.update(views.samples)
        return [{name: term.detach() for name, term in of_block.items()} for of_block in losses]


@torch.no_grad()
def _finish_in_closed_form(block: Block, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
    """Take the gradient on from where autograd's graph began, if it did not begin at the inputs."""
    activity, goodness = out.activity, out.goodness
    # A caller's own leaf, passed on by a body that does nothing, is no business of ours.
    if not activity.is_leaf or not hasattr(block.body, "add_gradients"):
        return
    up = activity.grad
    if up is None and goodness is not None:
        of_goodness = goodness.grad if goodness.requires_grad else block.derivative(out, views)
        if of_goodness is None:  # no closed form for these views after all
            of_goodness = _derivative(goodness, lambda leaf: _loss(block, replace(out, goodness=leaf), views))
        assert block.goodness is not None
        up = block.goodness.vjp(activity, of_goodness)
        if up is None:  # nor for this activity
            up = _derivative(activity, block.goodness, of_goodness)
    if up is not None:
        cast(ClosedForm, block.body).add_gradients(inputs[0], activity, up)


def _loss(block: Block, out: Out, views: Views) -> Tensor:
    return torch.stack(list(block.losses(out, views).values())).sum()


def _derivative(at: Tensor, of: Callable[[Tensor], Tensor], up: Tensor | None = None) -> Tensor:
    """By autograd, where a closed form was promised and is not given."""
    with torch.enable_grad():
        leaf = at.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(of(leaf), leaf, up)
    return gradient
