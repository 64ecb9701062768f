"""Local losses: of a goodness with penalties, of a head, and of a readout.

    L = objective(G) + Σ_p penalty_p        each penalty contains its weight

N samples; K classes; G goodness (R,) or (R, K).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn
from torch.nn import functional as F

from ffcore.errors import UserError, expect
from ffcore.interfaces import Block, Goodness, LocalLoss, Objective, Out, Penalty, Readout, Views
from ffcore.local.own import belongs
from ffcore.parts import part

_METRICS = frozenset({"objective", "loss", "goodness", "positive", "negative", "separation"})


class GoodnessLoss(LocalLoss):
    """``objective(goodness) + Σ penalties``, each term under its name.

    Args:
        objective: the loss of the goodness; its term has the name "objective".
        penalties: further terms by name, with their weights applied.
    """

    def __init__(self, objective: Objective, penalties: Mapping[str, Penalty] | None = None) -> None:
        super().__init__()
        if taken := _METRICS.intersection(penalties or {}):
            raise ValueError(f"penalties: {min(taken)!r} is the name of another metric of every block")
        self.objective = objective
        self.penalties = nn.ModuleDict(dict(penalties or {}))
        self.reads_handoff = any(p.reads_handoff for p in (penalties or {}).values())
        self.couples_samples = objective.couples_samples or any(
            p.couples_samples for p in (penalties or {}).values()
        )

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the objective's term first, then the penalties in the order of the recipe."""
        assert out.goodness is not None, "an objective needs a goodness; the builder has checked it"
        terms = {"objective": self.objective(out.goodness, views)}
        for name, penalty in self.penalties.items():
            terms[name] = penalty(out, block, views)
        return terms

    @property
    def closed(self) -> bool:
        """Whether the loss depends only on the goodness, and has a closed form of its derivative."""
        return (
            belongs(self.objective, "with_derivative")
            and not self.penalties
            and not self.couples_samples
            and next(self.objective.parameters(), None) is None
        )


class HeadLoss(LocalLoss):
    """Cross-entropy with the true classes, for a block whose activity is class logits (N, K)."""

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective".

        Raises:
            UserError: when the activity does not have two dimensions.
        """
        if out.activity.dim() != 2:
            raise UserError(
                f"head {block.name}: returns {tuple(out.activity.shape)}; a head returns class logits (N, K)"
            )
        assert views.y is not None, "a head learns from labelled samples"
        return {"objective": F.cross_entropy(out.activity, views.y)}


def goodness_loss(
    goodness: Goodness | None,
    objective: Objective | str | Mapping[str, Any] | None,
    penalties: Mapping[str, Any] | None,
) -> GoodnessLoss | None:
    """Return the loss of a goodness, from objects or kinds; None without an objective.

    Raises:
        UserError: when an objective has no goodness or one of the wrong form, or penalties are given without
            an objective.
    """
    if objective is None:
        if penalties:
            raise UserError("penalties: a block without an objective does not learn from them")
        return None
    made: Objective = part("objective", objective)
    if goodness is None:
        raise UserError(f"goodness: objective {type(made).__name__} needs a goodness")
    if made.accepts != goodness.form:
        raise UserError(
            f"objective: {type(made).__name__} reads goodness of form {made.accepts!r}, but "
            f"{type(goodness).__name__} gives form {goodness.form!r}"
        )
    expect("penalties", penalties or {}, Mapping, "a mapping from names to penalties")
    terms = {name: part("penalty", each, f"penalties.{name}") for name, each in (penalties or {}).items()}
    try:
        return GoodnessLoss(made, terms)
    except ValueError as error:
        raise UserError(str(error)) from error


class ReadoutLoss(LocalLoss):
    """The loss of a block whose body is a `Readout`: it calls the readout's ``loss``."""

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective"."""
        return {"objective": cast(Readout, block.body).loss(out.activity, views)}
