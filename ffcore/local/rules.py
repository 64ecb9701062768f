"""The default learning rule: a gradient step on the local loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ffcore.interfaces import Block, ClosedForm, Input, LearningRule, Out, Views


class Gradient(LearningRule):
    """One backward through the window on the sum of its blocks' losses, then one step for each block.

    A block that learns by itself, and whose body is a `ClosedForm`, has a graph from its activity on only:
    backward ends there, and the body adds its own gradients.
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
            total.backward()  # type: ignore[no-untyped-call]
            for block, inputs, out in window:
                _finish_in_closed_form(block, inputs, out)
        for block in dict.fromkeys(block for block, _, _ in window):
            block.update(views.samples)
        return [{name: term.detach() for name, term in of_block.items()} for of_block in losses]


@torch.no_grad()
def _finish_in_closed_form(block: Block, inputs: tuple[Input, ...], out: Out) -> None:
    """Take the gradient on from the leaf where autograd's graph began, if it did not begin at the inputs."""
    activity, goodness = out.activity, out.goodness
    up = activity.grad if activity.is_leaf else None
    if goodness is not None and goodness.is_leaf and goodness.grad is not None:
        assert block.goodness is not None
        up = block.goodness.vjp(activity, goodness.grad)
        if up is None:  # no closed form for this activity after all
            with torch.enable_grad():
                leaf = activity.detach().requires_grad_()
                (up,) = torch.autograd.grad(block.goodness(leaf), leaf, goodness.grad)
    # A caller's own leaf, passed on by a body that does nothing, is no business of ours.
    if up is not None and isinstance(block.body, ClosedForm):
        block.body.add_gradients(inputs[0], activity, up)
