"""A block: a module that learns from its own local loss.

R rows = all views of a batch, stacked view by view; K classes. For inputs x (R, *in_shape):

    h = body(x.detach())          activity (R, *shape)
    G = goodness(h)               (R,) an energy, or (R, K) class goodness
    L = objective(G) + penalties  the local loss, a scalar
    z = handoff(h).detach()       input of the next block, computed before the block's update
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ffcore.errors import UserError, expect
from ffcore.interfaces import (
    Context,
    Goodness,
    LearningRule,
    LocalLoss,
    Objective,
    Out,
    Penalty,
    Views,
    dense,
    ranks,
)
from ffcore.interfaces.modes import evaluating
from ffcore.interfaces.network import Handoff
from ffcore.interfaces.task import positioned
from ffcore.local.coupled import coupled, judged
from ffcore.local.current import current
from ffcore.local.loss import GoodnessLoss, PenaltyLoss, goodness_loss
from ffcore.local.returned import (
    can_follow,
    is_term,
    wrong_activity,
    wrong_goodness,
    wrong_handoff,
    wrong_terms,
)
from ffcore.local.rules import Gradient
from ffcore.parts import part, refuse_bare, refuse_uncallable
from ffcore.private import has_hooks

_Made = tuple[Tensor, Tensor, Tensor | None]

Takes = tuple[tuple[tuple[int, ...], torch.dtype], ...]
"""Shape of one sample and dtype of each input of a call."""


class LocalBlock(nn.Module):
    """A body with a goodness and a local loss. No gradient enters or leaves the block.

    In a window of several blocks (see `Schedule`) only the borders of the window detach. An input that is a
    leaf and requires grad is a parameter of the caller and is not detached. In a pass in which it does not
    learn, a block runs in evaluation mode.

    >>> from torch import nn
    >>> block = LocalBlock(nn.Linear(784, 500), goodness="sum-squares", objective="logistic")

    Args:
        body: module from (R, *shape) inputs to an activity, or to a pair (activity, input of the handoff).
        goodness: function of the activity; None for a block without an objective, such as pooling.
        loss: your own local loss, in place of ``objective``. Without a loss and an objective a block learns
            only from a later block of its window.
        handoff: module from the activity to the input of later blocks; identity if None. It must not work in
            place, since the goodness may still need the activity.
        rule: how the block learns; a gradient step if None.
        per_view: run body and handoff separately on each view, so that batch statistics are those of a view.
            Always so for a body with ``reads_role``, which gets the role of the view as a keyword argument.
        name: the block's name in tables and messages; numbered by its network if empty.
        objective: the loss of the goodness. This and the parts above may be given by their kind, such as
            "logistic", or as ``{"kind": "logistic", "threshold": 2.0}``.
        penalties: further terms of the loss, under names that you choose.

    Attributes:
        hooked: whether a layer of the body had hooks when the blocks were planned; see `refresh`.
        takes: shape of one sample, and dtype, of each input; set by the network's dry run.

    Raises:
        UserError: when a part has the wrong type, or goodness and objective do not fit.
    """

    def __init__(
        self,
        body: nn.Module,
        goodness: Goodness | str | Mapping[str, Any] | None = None,
        loss: LocalLoss | str | Mapping[str, Any] | None = None,
        handoff: nn.Module | str | Mapping[str, Any] | None = None,
        rule: LearningRule | str | Mapping[str, Any] | None = None,
        per_view: bool = False,
        name: str = "",
        *,
        objective: Objective | str | Mapping[str, Any] | None = None,
        penalties: Mapping[str, Penalty | str | Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        expect("body", body, nn.Module, "a torch module")
        refuse_bare(body, "body")
        refuse_uncallable(body, "body")
        expect("name", name, str, "text")
        expect("per_view", per_view, bool, "a boolean")
        if loss is not None:
            if not isinstance(loss, str | Mapping):
                expect("loss", loss, LocalLoss, "an ffcore.interfaces.LocalLoss")
            loss = cast(LocalLoss, part("loss", loss))
            if objective is not None or penalties:
                other = "penalties" if objective is None else "objective"
                raise UserError(f"loss: replaces the objective and its penalties; remove loss or {other}")
        self.body: nn.Module = part("body", body)
        self.goodness: Goodness | None = None if goodness is None else part("goodness", goodness)
        self.loss = loss if loss is not None else goodness_loss(self.goodness, objective, penalties)
        self.handoff: nn.Module = nn.Identity() if handoff is None else part("handoff", handoff)
        refuse_uncallable(self.handoff, "handoff")
        self.rule: LearningRule = Gradient() if rule is None else part("rule", rule)
        self._reads_role = bool(getattr(self.body, "reads_role", False))
        for part_of_body in () if self._reads_role else self.body.modules():
            if getattr(part_of_body, "reads_role", False):
                name_of = type(part_of_body).__name__
                raise UserError(f"body: {name_of} reads the role of its rows; it has to be the body itself")
        self.per_view = per_view or self._reads_role
        self.name = name
        self._how_to_compile: tuple[tuple[Any, ...], dict[str, Any]] | None = None
        self._compiled: Callable[..., _Made] | None = None
        self.info: Context | None = None
        self.calls: Mapping[int, Takes] = {0: ()}  # by the index among all calls of a pass, first call first
        self.features: int | None = None  # dimension of the features, in a task by position; see `Task`
        self.fixed_shape: tuple[int, ...] | None = None  # of every activity of one sample; None: any shape
        self.frozen = False
        self.removed = False  # from its model, by `delocalize`
        self.hooked = False

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the handoff, detached unless the window continues after this block.

        A user's module calls this within a pass. The pass then runs the block, and lets it learn if it is in
        the plan. Outside a pass the block runs in evaluation mode, without a graph.
        """
        here = current()
        if here is not None:
            return here.block(self, *inputs)
        return self.make_frozen(inputs, Views(inputs[0], ("all",), (len(inputs[0]),)), False).handoff

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The parameters that require grad."""
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    @property
    def compiled(self) -> bool:
        """Whether `compile` has been called."""
        return self._how_to_compile is not None

    @property
    def couples_samples(self) -> bool:
        """Whether the loss of a sample depends on other samples of the batch."""
        of_loss = self.loss is not None and self.loss.couples_samples
        return of_loss or (self.goodness is not None and self.goodness.couples_samples)

    def losses(self, out: Out, views: Views) -> dict[str, Tensor]:
        """Return the terms of the local loss, by name; empty without a loss."""
        if self.loss is None:
            return {}
        if len(out.upstream) != len(views.upstream):  # later blocks of the window have run since
            views = replace(views, upstream=list(out.upstream))
        if self.couples_samples and (group := ranks()).world > 1:
            terms = coupled(self.loss, out, self, views, group)
        else:
            terms = self.loss(out, self, views)
        if not isinstance(terms, dict) or not all(map(is_term, terms.values())):
            raise wrong_terms(self, terms)
        return terms

    def objective(self, out: Out, views: Views) -> Tensor | None:
        """Return the objective's term without the penalties; without an objective their sum, or None."""
        if type(self.loss) is GoodnessLoss and not self.couples_samples and out.goodness is not None:
            return self.loss.of_goodness(out.goodness, views, self)
        terms = self.losses(out, views)
        if type(self.loss) is PenaltyLoss:
            return torch.stack([*terms.values()]).sum()
        return terms.get("objective")

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Compile body, goodness and handoff together, with these arguments of `torch.compile`.

        Detaching, losses and closed forms of gradients are not compiled. Results may differ by rounding.
        """
        # compiled on the first call, since the dry run that finds the shapes should run eagerly
        self._how_to_compile = (args, kwargs)

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the compiled function, which is bound to this block."""
        return {**self.__dict__, "_compiled": None}

    def refresh(self) -> bool:
        """Look for hooks of the body again, such as those of pruning; return whether this has changed."""
        before, self.hooked = self.hooked, any(map(has_hooks, self.body.modules()))
        return self.hooked != before

    def freeze(self) -> None:
        """Stop learning. Schedules skip a frozen block; within a window gradients pass through it."""
        self.frozen = True
        self.requires_grad_(False)

    def make_frozen(self, inputs: tuple[Tensor, ...], views: Views, measured: bool) -> Out:
        """Run the block in evaluation mode and without a graph: without dropout and running statistics."""
        with evaluating(self), torch.no_grad():
            return self.make(inputs, views, handoff="detached", measured=measured)

    def make(
        self,
        inputs: tuple[Tensor, ...],
        views: Views,
        *,
        handoff: Handoff = "attached",
        measured: bool = True,
    ) -> Out:
        """See `ffcore.interfaces.Block.make`. Runs the compiled function if the block is compiled."""
        sizes = views.sizes if self.per_view and (len(views.sizes) > 1 or self._reads_role) else ()
        roles = views.roles if self._reads_role else ()
        if sizes or self.hooked or not getattr(self.body, "takes_labelled_input", False):
            # A body unaware of `LabelledInput` could write into a view of it; the write would be lost.
            # A body that multiplies its parts reads the layer's weight and would skip the layer's hooks.
            inputs = tuple(map(dense, inputs))
        attached = handoff == "attached"
        if measured and self.goodness is not None and self.goodness.reads_views:
            out = self.make(inputs, views, handoff=handoff, measured=False)
            out.goodness = self.judge(out.activity, views)
            return out
        if self._how_to_compile is None:
            if handoff == "unused" and not sizes:
                activity, handed = self._run_body(inputs)
                goodness = self.judge(activity) if measured else None
                # computed only if an observer reads it
                return Out(activity, partial(self._lazy_handoff, handed), goodness, inputs)
            return Out(*self._made(inputs, sizes, roles, attached, measured), inputs)
        if self._compiled is None:
            args, kwargs = self._how_to_compile
            self._compiled = torch.compile(self._made, *args, **kwargs)
        return Out(*self._compiled(inputs, sizes, roles, attached, measured), inputs)

    @torch.no_grad()
    def _lazy_handoff(self, handed: Tensor) -> Tensor:
        """Return the handoff of the last block of a pass, which no later block reads."""
        return self._hand_over(handed.detach())

    def _made(
        self,
        inputs: tuple[Tensor, ...],
        sizes: tuple[int, ...],
        roles: tuple[str, ...],
        attached: bool,
        measured: bool,
    ) -> _Made:
        """Return activity, handoff and goodness, the last only if ``measured``."""
        if not sizes:
            activity, handed = self._run_body(inputs)
            goodness = self.judge(activity) if measured else None
            return activity, self._hand_over(handed if attached else handed.detach()), goodness
        by_view = zip(*(torch.split(x, list(sizes)) for x in inputs), strict=True)
        named = roles or (None,) * len(sizes)
        pairs = [self._run_body(rows, role) for rows, role in zip(by_view, named, strict=True)]
        activity = torch.cat([activity for activity, _ in pairs])
        goodness = self.judge(activity) if measured else None
        handoff = torch.cat([self._hand_over(h if attached else h.detach()) for _, h in pairs])
        return activity, handoff, goodness

    def judge(self, activity: Tensor, views: Views | None = None) -> Tensor | None:
        """Return the goodness of an activity; None for a block without a goodness.

        Args:
            activity: (R, *shape).
            views: the views of the pass; None: one view of all rows.
        """
        if self.goodness is None:
            return None
        goodness: Any
        rows, dims = activity.shape[0], 1 if self.goodness.form == "energy" else 2
        if self.goodness.reads_views:
            whole = views or Views(activity, ("all",), (rows,))
            goodness = judged(self.goodness, activity, whole, ranks())
        elif self.features is None:
            goodness = self.goodness(activity)
        else:
            goodness, dims = positioned(self.goodness, activity, self.features), activity.dim()
        fits = isinstance(goodness, Tensor) and goodness.dim() == dims and goodness.shape[0] == rows
        if not fits or goodness.is_complex() or (self.info is None and _lost_values(goodness, activity)):
            raise wrong_goodness(self, rows, goodness)
        return cast(Tensor, goodness)

    def _run_body(self, inputs: tuple[Tensor, ...], role: str | None = None) -> tuple[Tensor, Tensor]:
        """Return the activity and the input of the handoff."""
        made = self.body(*inputs) if role is None else self.body(*inputs, role=role)
        activity, handed = made if isinstance(made, tuple) and len(made) == 2 else (made, made)
        # of several inputs one may be a mask without rows, or have a row for several rows of another
        rows = inputs[0].shape[0] if len(inputs) == 1 else None
        if not _fits(activity, rows) or (self.fixed_shape or activity.shape[1:]) != activity.shape[1:]:
            raise wrong_activity(self, rows, activity)
        if self.info is None:  # only in the dry run
            for each in (activity, handed):
                if isinstance(each, Tensor) and _lost_values(each, inputs[0]):
                    raise wrong_activity(self, rows, each)
        if handed is not activity and not _fits(handed, activity.shape[0]):
            raise wrong_activity(self, rows, handed)
        return activity, handed

    def _hand_over(self, handed: Tensor) -> Tensor:
        """Return the handoff."""
        handoff = self.handoff(handed)
        if not isinstance(handoff, Tensor) or not handoff.dim() or handoff.shape[0] != handed.shape[0]:
            raise wrong_handoff(self, handed, handoff)
        # Only in the dry run: under autocast, a normalisation returns float32 for an activity of bfloat16.
        if self.info is None and not can_follow(handoff, handed):
            raise wrong_handoff(self, handed, handoff)
        return handoff


def _lost_values(made: Tensor, given: Tensor) -> bool:
    """Return whether a result is on the device meta, which has no values, although its input is not."""
    return made.is_meta and given.device.type != "meta"


def _fits(made: Any, rows: int | None) -> bool:
    """Return whether a result of a body can be an activity of this number of rows; None: of any number."""
    if not isinstance(made, Tensor) or made.dim() < 2:
        return False
    if not made.is_floating_point() and not made.is_complex():
        return False
    return rows is None or made.shape[0] == rows
