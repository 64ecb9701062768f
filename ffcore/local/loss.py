"""The usual local loss: one objective on the goodness, and penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torch import Tensor, nn

from ffcore.interfaces import Block, BlockInfo, LocalLoss, Objective, Out, Penalty, Readout, Views
from ffcore.local.closed import belongs

_FIGURES = frozenset({"objective", "loss", "goodness", "positive", "negative", "separation"})


class GoodnessLoss(LocalLoss):
    """``objective(goodness) + Σ penalties``, each term under its name.

    Args:
        objective: what the block wants of its goodness; its term is called "objective".
        penalties: further terms by name, already weighted.
    """

    def __init__(self, objective: Objective, penalties: Mapping[str, Penalty] | None = None) -> None:
        super().__init__()
        if taken := _FIGURES.intersection(penalties or {}):
            raise ValueError(f"penalties: {min(taken)!r} is the name of another figure of every block")
        self.objective = objective
        self.penalties = nn.ModuleDict(dict(penalties or {}))
        self.reads_handoff = any(p.reads_handoff for p in (penalties or {}).values())
        self.couples_samples = objective.couples_samples or any(
            p.couples_samples for p in (penalties or {}).values()
        )

    def bind(self, info: BlockInfo) -> None:
        """Tell the objective and the penalties their place."""
        self.objective.bind(info)
        for penalty in self.penalties.values():
            cast(Penalty, penalty).bind(info)

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """The objective's term first, then the penalties in the order of the recipe."""
        assert out.goodness is not None, "an objective needs a goodness; the builder has checked it"
        terms = {"objective": self.objective(out.goodness, views)}
        for name, penalty in self.penalties.items():
            terms[name] = penalty(out, block, views)
        return terms

    @property
    def closed(self) -> bool:
        """Whether the goodness is all that there is to learn through, and its derivative a closed form."""
        return (
            belongs(self.objective, "with_derivative")
            and not self.penalties
            and not self.couples_samples
            and next(self.objective.parameters(), None) is None
        )


class ReadoutLoss(LocalLoss):
    """The loss of a block whose body is a `Readout`: the readout's own, on its logits."""

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """One term, called "objective"."""
        return {"objective": cast(Readout, block.body).loss(out.activity, views)}
