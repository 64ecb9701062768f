"""Gradients of one block without autograd's graph below its activity, its goodness or its loss.

R rows. With activity h = body(x), goodness G(h) and objective L(G):

    dL/dG   by `Objective.with_derivative`, else by autograd from G on
    dL/dh   by `Goodness.vjp`, else by autograd from h on
    dL/dθ   by `ClosedForm.add_gradients` of the body, with parameters θ
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized

from ffcore.interfaces import Block, ClosedForm, Out, Views
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call
from ffcore.local.block import LocalBlock
from ffcore.local.loss import GoodnessLoss
from ffcore.local.own import belongs
from ffcore.local.rules import Gradient, backward, detached

Begins = Literal["activity", "goodness", "loss"]


class ClosedFormGradient(Gradient):
    """`Gradient` for a window of one block whose body is a `ClosedForm`.

    Where inputs require grad, or under autocast, autograd does it after all.

    Args:
        begins: where the graph of the loss begins: at the activity (the body has a closed form), the
            goodness (it has one too), or nowhere (so has the objective: "loss").
    """

    def __init__(self, begins: Begins) -> None:
        super().__init__()
        self.begins = begins

    @classmethod
    def serving(cls, block: LocalBlock) -> ClosedFormGradient | None:
        """The rule for a block that learns by itself; None where autograd has to do it."""
        loss, goodness = block.loss, block.goodness
        if type(block.rule) is not Gradient or loss is None or block.per_view or loss.reads_handoff:
            return None
        if not belongs(block.body, "add_gradients") or any(map(is_parametrized, block.body.modules())):
            return None
        fixed = not loss.couples_samples and next(loss.parameters(), None) is None
        if goodness is None and fixed and belongs(loss, "with_derivative"):
            return cls("loss")
        by_goodness = (
            goodness is not None
            and belongs(goodness, "vjp")
            and next(goodness.parameters(), None) is None
            and type(loss) is GoodnessLoss
            and not loss.penalties
        )
        if not by_goodness:
            return cls("activity")
        return cls("loss" if cast(GoodnessLoss, loss).closed else "goodness")

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Without a graph as far as closed forms reach."""
        if _needs_a_graph(inputs):
            return super().run(block, inputs, views, handoff)
        with torch.no_grad():
            out = block.make(inputs, views, handoff=handoff, measured=self.begins != "activity")
        if self.begins == "goodness":
            cast(Tensor, out.goodness).requires_grad_()
        elif self.begins == "activity":
            out.activity.requires_grad_()
            out.goodness = block.goodness(out.activity) if block.goodness is not None else None
        return out

    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """See `Gradient.learn`."""
        ((block, inputs, out),) = window
        begin = out.activity if out.goodness is None else out.goodness
        if self.begins == "loss" and not begin.requires_grad:
            found = _with_derivative(cast(LocalBlock, block), out, views)
            if found is not None:
                terms, derivative = found
                with torch.no_grad():
                    _finish(block, inputs, out, derivative)
                return detached([terms])
            begin.requires_grad_()  # no closed form for these views: the graph begins here
        terms = block.losses(out, views)
        backward([terms], [block])
        with torch.no_grad():
            _finish(block, inputs, out, None)
        return detached([terms])


def _needs_a_graph(inputs: tuple[Tensor, ...]) -> bool:
    """Whether closed forms would be wrong here: a caller's own leaf is to be trained, or numbers are cast."""
    return (
        inputs[0].requires_grad
        or (len(inputs) > 1 and any(x.requires_grad for x in inputs))
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
    )


def _with_derivative(block: LocalBlock, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
    """The terms of the loss, and the derivative of their sum by the goodness, or by the activity."""
    if out.goodness is None:
        return block.loss.with_derivative(out, views) if block.loss is not None else None
    found = cast(GoodnessLoss, block.loss).objective.with_derivative(out.goodness, views)
    return None if found is None else ({"objective": found[0]}, found[1])


def _finish(block: Block, inputs: tuple[Tensor, ...], out: Out, derivative: Tensor | None) -> None:
    """Continue the gradient from where autograd's graph began, if it did not begin at the inputs.

    ``derivative`` is the loss's by the goodness, or by the activity where there is none, if it is known.
    """
    activity, goodness = out.activity, out.goodness
    begun = derivative is not None or activity.requires_grad or (goodness is not None and goodness.is_leaf)
    if not activity.is_leaf or not begun:  # autograd has computed all gradients that there are
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
        cast(ClosedForm, block.body).add_gradients(inputs[0], activity, up, *inputs[1:])
