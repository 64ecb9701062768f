"""The primitive that everything rests on: a block that learns from a loss of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.interfaces import (
    BlockInfo,
    Goodness,
    Input,
    LabelledInput,
    LearningRule,
    LocalLoss,
    Out,
    Views,
    dense,
    ranks,
)
from ffcore.local.closed import belongs
from ffcore.local.coupled import coupled
from ffcore.local.loss import GoodnessLoss
from ffcore.local.modes import evaluating
from ffcore.local.passing import Begins, Pass, Place, current
from ffcore.local.rules import Gradient
from ffcore.local.stepper import Stepper

_Made = tuple[Tensor, Tensor, Tensor | None]


class LocalBlock(nn.Module):
    """A body with a goodness and a local loss; no gradient enters or leaves it.

    ``inputs.detach() → body → activity → goodness → local loss → observers``, and beside it
    ``handoff(activity)``, which goes on detached, as it was before this block learned.

    Within a window of several blocks (see `Schedule`) only the window's borders detach. Inputs that are
    leaves and require grad are the caller's own state and stay attached. In a pass in which it does not
    learn a block runs in evaluation mode.

    Args:
        body: module from (R, *shape) inputs to an activity, or to a pair (activity, what to hand on).
        goodness: measured on the activity; None for blocks that only pass on what later blocks need.
        loss: the local loss; None for blocks that learn from another block of their window, or never.
        handoff: module from what is handed on to what later blocks receive, not in place, since what it reads
            may be the activity that the block still learns from; identity if None.
        rule: how the block learns; a gradient step if None.
        per_view: run body and handoff on each view by itself, for batch statistics.
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
        self._how_to_compile: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._compiled: Callable[..., _Made] | None = None
        self.info: BlockInfo | None = None
        self.stepper: Stepper | None = None
        self.frozen = False

    def forward(self, *inputs: Input) -> Tensor:
        """What the next block receives, detached unless a window goes on after this block."""
        if self.stepper is not None:
            self.stepper.finish()
        here = current()
        place = here.plan.get(self) if here is not None else None
        if place is None or place.first:
            inputs = tuple(_detached(x) for x in inputs)
        if here is None or place is None:
            out = self._frozen(inputs, here)
        else:
            here.window = place.window
            if self.frozen and self.training:
                self.eval()  # its running statistics stand still too
            out = self._learning(inputs, here, place)
        leads_on = place is not None and not place.last
        handed_on = out.handoff if leads_on else out.handoff.detach()
        if here is not None:
            here.show(self, inputs, out)
        return handed_on

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that learn."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def losses(self, out: Out, views: Views) -> dict[str, Tensor]:
        """The terms of the local loss, by name; empty where there is none."""
        if self.loss is None:
            return {}
        if len(out.upstream) != len(views.upstream):  # later blocks of the window have run since
            views = replace(views, upstream=list(out.upstream))
        if self.loss.couples_samples and (group := ranks()).world > 1:
            return coupled(self.loss, out, self, views, group)
        return cast("dict[str, Tensor]", self.loss(out, self, views))

    def objective(self, out: Out, views: Views) -> Tensor | None:
        """The objective's term alone; None where there is none."""
        alone = self.loss is not None and not self.loss.couples_samples
        if type(self.loss) is GoodnessLoss and alone and out.goodness is not None:
            return cast(Tensor, self.loss.objective(out.goodness, views))
        return self.losses(out, views).get("objective")

    def losses_with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
        """See `ffcore.interfaces.Block.losses_with_derivative`."""
        if out.goodness is None:
            return self.loss.with_derivative(out, views) if self.loss is not None else None
        if type(self.loss) is not GoodnessLoss or not self.loss.closed:
            return None
        found = self.loss.objective.with_derivative(out.goodness, views)
        return None if found is None else ({"objective": found[0]}, found[1])

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile body, goodness and handoff into one, as `torch.compile` does with these arguments.

        What lies at the block's borders, and closed forms of gradients, stay as they are. The numbers change
        by rounding.
        """
        self._how_to_compile = (args, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Without the compiled function, which is bound to this very block."""
        return {**self.__dict__, "_compiled": None}

    def freeze(self) -> None:
        """Learn no more. Schedules do not count the block then; within a window gradients go through it."""
        self.frozen = True
        self.requires_grad_(False)

    def update(self, samples: int) -> None:
        """See `ffcore.interfaces.Block.update`; does nothing for a block without an optimiser."""
        if self.stepper is not None:
            self.stepper.update(0 if ranks().idle else samples)

    def _frozen(self, inputs: tuple[Input, ...], here: Pass | None) -> Out:
        """In evaluation mode and without a graph: running statistics stand still, nothing is dropped."""
        measured = here is not None and here.wants_goodness
        with evaluating(self), torch.no_grad():
            return Out(*self._made(inputs, self._sizes(here), False, measured))

    def _learning(self, inputs: tuple[Input, ...], here: Pass, place: Place) -> Out:
        begins = place.begins
        if begins != "inputs" and _needs_a_graph(inputs):
            begins = "inputs"
        # Where neither a later block nor the loss looks at it through the graph, the handoff needs none.
        attached = not place.last or (self.loss is not None and self.loss.reads_handoff)
        if begins in ("inputs", "loss"):
            with torch.set_grad_enabled(begins == "inputs"):
                return Out(*self._made(inputs, self._sizes(here), attached, True))
        with torch.no_grad():
            activity, handoff, goodness = self._made(inputs, (), attached, begins == "goodness")
        if begins == "goodness":
            cast(Tensor, goodness).requires_grad_()
        else:
            activity.requires_grad_()
            goodness = self.goodness(activity) if self.goodness is not None else None
        return Out(activity, handoff, goodness)

    def graph_begins(self) -> Begins:
        """Where the graph of the block's loss has to begin when it learns by itself; see `Place`."""
        by_body = (
            belongs(self.body, "add_gradients")
            and type(self.rule) is Gradient
            and self.loss is not None
            and not (self.per_view or self.loss.reads_handoff)
        )
        if not by_body:
            return "inputs"
        alone = self.loss is not None and not self.loss.couples_samples
        fixed = self.loss is not None and next(self.loss.parameters(), None) is None
        if self.goodness is None and alone and fixed and belongs(self.loss, "with_derivative"):
            return "loss"
        by_goodness = (
            self.goodness is not None
            and belongs(self.goodness, "vjp")
            and next(self.goodness.parameters(), None) is None
            and type(self.loss) is GoodnessLoss
            and not self.loss.penalties
        )
        if not by_goodness:
            return "activity"
        return "loss" if cast(GoodnessLoss, self.loss).closed else "goodness"

    def _sizes(self, here: Pass | None) -> tuple[int, ...]:
        """Rows of the views that are to run one by one; empty where they run together."""
        return here.views.sizes if here is not None and self.per_view and len(here.views.sizes) > 1 else ()

    def _made(
        self, inputs: tuple[Input, ...], sizes: tuple[int, ...], attached: bool, measured: bool
    ) -> _Made:
        """The activity, the handoff and, if ``measured``, the goodness; compiled if the block is."""
        if self._how_to_compile is None:
            return self._make(inputs, sizes, attached, measured)
        if self._compiled is None:
            args, kwargs = self._how_to_compile
            self._compiled = torch.compile(self._make, *args, **kwargs)
        return self._compiled(inputs, sizes, attached, measured)

    def _make(
        self, inputs: tuple[Input, ...], sizes: tuple[int, ...], attached: bool, measured: bool
    ) -> _Made:
        if sizes or not getattr(self.body, "takes_labelled_input", False):
            inputs = tuple(map(dense, inputs))
        if not sizes:
            made = self.body(*inputs)
            activity, handed = made if isinstance(made, tuple) else (made, made)
            goodness = self.goodness(activity) if measured and self.goodness is not None else None
            return activity, self.handoff(handed if attached else handed.detach()), goodness
        views = zip(*(torch.split(cast(Tensor, x), list(sizes)) for x in inputs), strict=True)
        parts = [self.body(*rows) for rows in views]
        pairs = [part if isinstance(part, tuple) else (part, part) for part in parts]
        activity = torch.cat([activity for activity, _ in pairs])
        goodness = self.goodness(activity) if measured and self.goodness is not None else None
        handoff = torch.cat([self.handoff(h if attached else h.detach()) for _, h in pairs])
        return activity, handoff, goodness


def _needs_a_graph(inputs: tuple[Input, ...]) -> bool:
    """Whether closed forms would be wrong here: a caller's own leaf is to be trained, or numbers are cast."""
    return (
        any(isinstance(x, Tensor) and x.requires_grad for x in inputs)
        or torch.is_autocast_enabled("cpu")
        or torch.is_autocast_enabled("cuda")
    )


def _detached(x: Input) -> Input:
    if isinstance(x, LabelledInput):
        return x.detach()
    return x.detach() if x.requires_grad and not x.is_leaf else x
