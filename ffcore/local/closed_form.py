"""Gradients of one block without an autograd graph of its body, its goodness or its loss.

R rows; K classes. With activity h = body(x) (R, *shape), goodness G(h) (R,) or (R, K) and objective L(G):

    dL/dG   by `Objective.with_derivative`, else by autograd with a graph that begins at G
    dL/dh   by `Goodness.vjp`, else by autograd with a graph that begins at h
    dL/dθ   by `ClosedForm.add_gradients` of the body, with parameters θ
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.utils.parametrize import is_parametrized

from ffcore.interfaces import Block, ClosedForm, Out, Views
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.rule import Call
from ffcore.local.block import LocalBlock
from ffcore.local.loss import GoodnessLoss
from ffcore.local.own import belongs
from ffcore.local.returned import wrong_derivative, wrong_vjp
from ffcore.local.rules import Gradient, backward, detached

Begins = Literal["activity", "goodness", "loss"]


class ClosedFormGradient(Gradient):
    """`Gradient` for a window of one block whose body is a `ClosedForm`.

    If an input requires grad, or under autocast, autograd computes all gradients.

    Args:
        begins: where the autograd graph begins: at the "activity" (only the body has a closed form), at the
            "goodness" (body and goodness have one), or at the "loss" (the objective has one too, and no graph
            is needed).
    """

    def __init__(self, begins: Begins) -> None:
        super().__init__()
        self.begins = begins

    @classmethod
    def serving(cls, block: LocalBlock) -> ClosedFormGradient | None:
        """Return the rule for a block that is alone in its window; None if autograd is needed."""
        loss, goodness = block.loss, block.goodness
        if type(block.rule) is not Gradient or loss is None or block.per_view or loss.reads_handoff:
            return None
        if not belongs(block.body, "add_gradients"):
            return None
        # The weight of such a layer is computed from its parameters: pruning, weight and spectral norm.
        if block.hooked or any(map(is_parametrized, block.body.modules())):
            return None
        # closed forms give no gradients for parameters of the loss itself
        fixed = not block.couples_samples and next(loss.parameters(), None) is None
        if goodness is None and fixed and belongs(loss, "with_derivative"):
            return cls("loss")
        by_goodness = (
            goodness is not None
            and block.features is None
            and not goodness.reads_views
            and not block.couples_samples
            and belongs(goodness, "vjp")
            and next(goodness.parameters(), None) is None
            and type(loss) is GoodnessLoss
            and not loss.penalties
        )
        if not by_goodness:
            return cls("activity")
        return cls("loss" if cast(GoodnessLoss, loss).closed else "goodness")

    def run(self, block: Block, inputs: tuple[Tensor, ...], views: Views, handoff: Handoff) -> Out:
        """Run the block without a graph for those parts that have a closed form."""
        if _needs_a_graph(inputs):
            return super().run(block, inputs, views, handoff)
        with torch.no_grad():
            out = block.make(inputs, views, handoff=handoff, measured=self.begins != "activity")
        if self.begins == "goodness":
            cast(Tensor, out.goodness).requires_grad_()
        elif self.begins == "activity":
            out.activity.requires_grad_()
            out.goodness = cast(LocalBlock, block).judge(out.activity, views)
        return out

    def learn(self, window: Sequence[Call], views: Views) -> Sequence[Mapping[str, Tensor]]:
        """See `Gradient.learn`."""
        ((block, inputs, out),) = window
        begin = out.activity if out.goodness is None else out.goodness
        if self.begins == "loss" and not begin.requires_grad:
            known = _with_derivative(cast(LocalBlock, block), out, views)
            if known is not None:
                terms, derivative = known
                with torch.no_grad():
                    _finish(block, inputs, out, derivative)
                return detached([terms])
            begin.requires_grad_()  # no closed form for these views: the graph begins here
        terms = block.losses(out, views)
        backward([terms], window)
        with torch.no_grad():
            _finish(block, inputs, out, None)
        return detached([terms])


def _needs_a_graph(inputs: tuple[Tensor, ...]) -> bool:
    """Return whether autograd is needed: an input is a parameter of the caller, or autocast is enabled."""
    return (
        inputs[0].requires_grad
        or (len(inputs) > 1 and any(x.requires_grad for x in inputs))
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
    )


def _with_derivative(block: LocalBlock, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
    """Return the terms of the loss and the derivative of their sum.

    The derivative is with respect to the goodness, or to the activity of a block without a goodness.
    """
    if out.goodness is None:
        return block.loss.with_derivative(out, views) if block.loss is not None else None
    pair: Any = cast(GoodnessLoss, block.loss).objective.with_derivative(out.goodness, views)
    if pair is not None and not _is_pair(pair, out.goodness.shape):
        raise wrong_derivative(block, out.goodness, pair)
    return None if pair is None else ({"objective": pair[0]}, pair[1])


def _is_pair(pair: Any, shape: torch.Size) -> bool:
    """Return whether a closed form is a loss and a derivative of the goodness."""
    return type(pair) is tuple and len(pair) == 2 and getattr(pair[1], "shape", None) == shape


def _finish(block: Block, inputs: tuple[Tensor, ...], out: Out, derivative: Tensor | None) -> None:
    """Compute the parameters' gradients from the tensor at which autograd's graph began.

    ``derivative`` is that of the loss with respect to the goodness (or, without a goodness, the activity), if
    a closed form gave it. Does nothing if the graph began at the inputs.
    """
    activity, goodness = out.activity, out.goodness
    begun = derivative is not None or activity.requires_grad or (goodness is not None and goodness.is_leaf)
    if not activity.is_leaf or not begun:  # the graph began at the inputs: autograd computed all gradients
        return
    up = activity.grad
    if goodness is None:
        up = derivative if up is None else up
    elif up is None:
        of_goodness = goodness.grad if derivative is None else derivative
        assert block.goodness is not None
        assert of_goodness is not None
        up = block.goodness.vjp(activity, of_goodness)
        if up is None:  # vjp returned None for this activity
            with torch.enable_grad():
                leaf = activity.detach().requires_grad_()
                (up,) = torch.autograd.grad(block.goodness(leaf), leaf, of_goodness)
        elif getattr(up, "shape", None) != activity.shape:
            raise wrong_vjp(block, activity, up)
    if up is not None:
        cast(ClosedForm, block.body).add_gradients(inputs[0], activity, up, *inputs[1:])
