"""The primitive that everything rests on: a block that learns from a loss of its own."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ffcore.interfaces import (
    BlockInfo,
    ClosedForm,
    Goodness,
    Input,
    LabelledInput,
    LearningRule,
    LocalLoss,
    Out,
    Views,
)
from ffcore.local.loss import GoodnessLoss
from ffcore.local.passing import Pass, current
from ffcore.local.rules import Gradient
from ffcore.local.stepper import Stepper


class LocalBlock(nn.Module):
    """A body with a goodness and a local loss; no gradient enters or leaves it.

    ``inputs.detach() → body → activity → goodness → local loss → observers``, and beside it
    ``handoff(activity)``, which goes on detached, as it was before this block learned.

    Within a window of several blocks (see `Schedule`) only the window's borders detach. Inputs that are
    leaves and require grad are the caller's own state and stay attached.

    Args:
        body: module from (R, *shape) inputs to an activity, or to a pair (activity, what to hand on).
        goodness: measured on the activity; None for blocks that only pass on what later blocks need.
        loss: the local loss; None for blocks that learn from another block of their window, or never.
        handoff: module from what is handed on to what later blocks receive; identity if None.
        rule: how the block learns; a gradient step if None.
        per_view: run the body on each view by itself, for bodies with batch statistics.
        name: the block's name in tables and messages.
    """

    def __init__(
        self,
        body: nn.Module,
        goodness: Goodness | None = None,
        loss: LocalLoss | None = None,
        handoff: nn.Module | None = None,
        rule: LearningRule | None = None,
        per_view: bool = False,
        name: str = "",
    ) -> None:
        super().__init__()
        self.body = body
        self.goodness = goodness
        self.loss = loss
        self.handoff = handoff if handoff is not None else nn.Identity()
        self.rule = rule if rule is not None else Gradient()
        self.per_view = per_view
        self.name = name
        self.info: BlockInfo | None = None
        self.stepper: Stepper | None = None

    def forward(self, *inputs: Input) -> Tensor:
        """What the next block receives, detached unless a window goes on after this block."""
        here = current()
        place = here.plan.get(self) if here is not None else None
        if place is None or place.first:
            inputs = tuple(_detached(x) for x in inputs)
        if here is not None and place is not None:
            here.window = place.window
        leads_on = place is not None and not place.last
        alone = place is not None and place.first and place.last
        with torch.set_grad_enabled(place is not None):
            closed = alone and self.closed_form and not any(_needs_grad(x) for x in inputs)
            out = self._run(inputs, here, leads_on, closed)
        handed_on = out.handoff if leads_on else out.handoff.detach()
        if here is not None:
            here.show(self, inputs, out)
        return handed_on

    @property
    def closed_form(self) -> bool:
        """Whether the body's gradients need no graph when the block learns in a window of its own."""
        return (
            isinstance(self.body, ClosedForm)
            and isinstance(self.rule, Gradient)
            and self.loss is not None
            and not (self.per_view or self.loss.reads_handoff)
            and not (torch.is_autocast_enabled("cpu") or torch.is_autocast_enabled("cuda"))
        )

    @property
    def _goodness_in_closed_form(self) -> bool:
        return (
            self.goodness is not None
            and type(self.goodness).vjp is not Goodness.vjp
            and isinstance(self.loss, GoodnessLoss)
            and not self.loss.penalties
            and next(self.goodness.parameters(), None) is None
        )

    def _run(self, inputs: tuple[Input, ...], here: Pass | None, leads_on: bool, closed: bool) -> Out:
        with torch.set_grad_enabled(torch.is_grad_enabled() and not closed):
            made = self._run_body(inputs, here)
        activity, to_hand_on = made if isinstance(made, tuple) else (made, made)
        if closed:
            # The graph of the loss begins at the goodness if that has a closed form too, else before it.
            leaf_goodness = self._goodness_in_closed_form
            activity.requires_grad_(not leaf_goodness)
        goodness = None
        if self.goodness is not None and here is not None and (here.wants_goodness or self in here.plan):
            goodness = self.goodness(activity)
            if closed and leaf_goodness:
                goodness.requires_grad_()
        if leads_on or (self.loss is not None and self.loss.reads_handoff):
            handoff = self.handoff(to_hand_on)
        else:
            with torch.no_grad():  # nobody's loss looks at it: keep no graph
                handoff = self.handoff(to_hand_on.detach())
        return Out(activity, handoff, goodness)

    def _run_body(self, inputs: tuple[Input, ...], here: Pass | None) -> Tensor | tuple[Tensor, Tensor]:
        if not getattr(self.body, "takes_labelled_input", False):
            inputs = tuple(x.dense() if isinstance(x, LabelledInput) else x for x in inputs)
        if not (self.per_view and here is not None and len(here.views.sizes) > 1):
            return cast("Tensor | tuple[Tensor, Tensor]", self.body(*inputs))
        sizes = here.views.sizes
        dense = [x.dense() if isinstance(x, LabelledInput) else x for x in inputs]
        made = [self.body(*rows) for rows in zip(*(torch.split(x, list(sizes)) for x in dense), strict=True)]
        if isinstance(made[0], tuple):
            return torch.cat([m[0] for m in made]), torch.cat([m[1] for m in made])
        return torch.cat(made)

    def losses(self, out: Out, views: Views) -> dict[str, Tensor]:
        """The terms of the local loss, by name; empty where there is none."""
        return self.loss(out, self, views) if self.loss is not None else {}

    def scale(self, samples: int) -> float:
        """See `ffcore.interfaces.Block.scale`."""
        return self.stepper.scale(samples) if self.stepper is not None else 1.0

    def update(self, samples: int) -> None:
        """See `ffcore.interfaces.Block.update`; does nothing for a block without an optimiser."""
        if self.stepper is not None:
            self.stepper.update(samples)


def _needs_grad(x: Input) -> bool:
    return isinstance(x, Tensor) and x.requires_grad


def _detached(x: Input) -> Input:
    return x.detach() if isinstance(x, Tensor) and x.requires_grad and not x.is_leaf else x
