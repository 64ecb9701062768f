"""Local losses: of a goodness with penalties, of a head, and of a readout.

    L = objective(G) + Σ_p penalty_p        each penalty contains its weight

N samples; K classes; G goodness (R,) or (R, K).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from torch import Tensor, nn

from ffcore.errors import UserError, expect
from ffcore.interfaces import (
    Block,
    Component,
    Context,
    Goodness,
    LearningRule,
    LocalLoss,
    Objective,
    Out,
    Penalty,
    Readout,
    Task,
    Views,
)
from ffcore.interfaces.task import by_position
from ffcore.local.own import belongs
from ffcore.parts import part
from ffcore.tasks import Classification

_METRICS = frozenset({"objective", "loss", "goodness", "positive", "negative", "separation"})


class PenaltyLoss(LocalLoss):
    """Σ penalties, each term under its name: a block that learns without an objective.

    Args:
        penalties: terms by name, with their weights applied.
    """

    def __init__(self, penalties: Mapping[str, Penalty]) -> None:
        super().__init__()
        self._hold(penalties)

    def _hold(self, penalties: Mapping[str, Penalty]) -> None:
        if taken := _METRICS.intersection(penalties):
            raise UserError(f"penalties: {min(taken)!r} is the name of another metric of every block")
        self.penalties = nn.ModuleDict(dict(penalties))
        self.reads_handoff = any(p.reads_handoff for p in penalties.values())
        self.reads_inputs = any(p.reads_inputs for p in penalties.values())
        self.couples_samples = any(p.couples_samples for p in penalties.values())

    @property
    def parts(self) -> list[Component]:
        """The components whose terms it sums, in their order."""
        return [cast(Component, penalty) for penalty in self.penalties.values()]

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the terms in the order of the recipe."""
        return {name: penalty(out, block, views) for name, penalty in self.penalties.items()}


class GoodnessLoss(PenaltyLoss):
    """``objective(goodness) + Σ penalties``, each term under its name.

    Args:
        objective: the loss of the goodness; its term has the name "objective".
        penalties: further terms by name, with their weights applied.
    """

    def __init__(self, objective: Objective, penalties: Mapping[str, Penalty] | None = None) -> None:
        LocalLoss.__init__(self)
        self.objective = objective  # before the penalties: the order of a block's parameters
        self._hold(penalties or {})
        self.couples_samples |= objective.couples_samples

    @property
    def parts(self) -> list[Component]:
        """The objective, then the penalties."""
        return [self.objective, *super().parts]

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the objective's term first, then the penalties in the order of the recipe."""
        assert out.goodness is not None, "an objective needs a goodness; the builder has checked it"
        objective = self.of_goodness(out.goodness, views, block)
        return {"objective": objective, **super().forward(out, block, views)}

    def of_goodness(self, goodness: Tensor, views: Views, block: Block) -> Tensor:
        """Return the objective's term; in a task by position its rows are the positions with a target."""
        if block.features is not None:
            goodness, views = by_position(goodness, views)
            if not len(goodness):
                return goodness.sum()  # 0, with a graph
        return cast(Tensor, self.objective(goodness, views))

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
    """The loss of the task, for a block whose activity is the scores: class logits (N, K).

    Attributes:
        task: what the targets are; the network sets it. None: classes.
    """

    task: Task | None = None

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective".

        Raises:
            UserError: when the activity does not have two dimensions.
        """
        task = self.task or Classification(out.activity.shape[-1])
        assert views.y is not None, "a head learns from targets"
        scores = scores_of(out.activity, block.features)
        if scores.dim() != 2 and block.features is None:
            raise UserError(
                f"head {block.name}: returns {tuple(out.activity.shape)}; a head returns class logits (N, K)"
            )
        rows, y = task.rows(scores, views.y)
        return {"objective": task.loss(rows, y) if rows.shape[0] else rows.sum()}


def scores_of(activity: Tensor, features: int | None) -> Tensor:
    """Return the activity of a head as scores (N, *P, K); see `ffcore.interfaces.task`."""
    return activity if features in (None, -1) else activity.movedim(features + 1, -1)


def goodness_loss(
    goodness: Goodness | None,
    objective: Objective | str | Mapping[str, Any] | None,
    penalties: Mapping[str, Any] | None,
) -> PenaltyLoss | None:
    """Return the loss of a goodness, from objects or kinds; None without an objective and penalties.

    Raises:
        UserError: when an objective has no goodness or one of the wrong form, or penalties that do not teach
            are given without an objective.
    """
    expect("penalties", penalties or {}, Mapping, "a mapping from names to penalties")
    terms = {name: part("penalty", each, f"penalties.{name}") for name, each in (penalties or {}).items()}
    if objective is None:
        if terms and not any(cast(Penalty, term).teaches for term in terms.values()):
            raise UserError("penalties: a block without an objective does not learn from them")
        return PenaltyLoss(terms) if terms else None
    made: Objective = part("objective", objective)
    if goodness is None:
        raise UserError(f"goodness: objective {type(made).__name__} needs a goodness")
    if made.accepts != goodness.form:
        raise UserError(
            f"objective: {type(made).__name__} reads goodness of form {made.accepts!r}, but "
            f"{type(goodness).__name__} gives form {goodness.form!r}"
        )
    return GoodnessLoss(made, terms)


class ReadoutLoss(LocalLoss):
    """The loss of a block whose body is a `Readout`: it calls the readout's ``loss``."""

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective"."""
        return {"objective": cast(Readout, block.body).loss(out.activity, views)}


class ReadoutByPosition(Readout):
    """A readout in a task by position: every position of the handoffs is a row of the readout.

    Args:
        readout: the readout, of rows (n, D).
        features: the dimension of a handoff that holds the features of a position.
    """

    def __init__(self, readout: Readout, features: int) -> None:
        super().__init__()
        self.readout = readout
        self.features = features

    def setup(self, context: Context) -> tuple[str, ...]:
        """Set the readout up for rows."""
        self.readout.task = self.task
        rows = tuple(replace(of, handoff_shape=(of.handoff_shape[self.features],)) for of in context.features)
        return self.readout.setup(replace(context, features=rows))

    def forward(self, *activities: Tensor) -> Tensor:
        """Return the logits of every position, (R, *shape) each → (R, *P, K)."""
        rows = [scores_of(each, self.features) for each in activities]
        places = rows[0].shape[:-1]
        if any(each.shape[:-1] != places for each in rows):
            shapes = ", ".join(str(tuple(each.shape[1:-1])) for each in rows)
            raise UserError(
                f"readout: reads blocks with positions {shapes}; set taps to blocks with the same"
            )
        made: Tensor = self.readout(*(each.flatten(0, -2) for each in rows))
        return made.reshape(*places, made.shape[-1])

    def rule(self) -> LearningRule | None:
        """Return the readout's rule."""
        return self.readout.rule()

    def loss(self, logits: Tensor, views: Views) -> Tensor:
        """Return the readout's loss of the positions with a target."""
        rows, of_rows = by_position(logits, views)
        return self.readout.loss(rows, of_rows) if rows.shape[0] else rows.sum()


def by_positions(readout: Readout, features: int | None) -> Readout:
    """Return the readout itself, or one of every position; see `ffcore.interfaces.task`."""
    return readout if features is None else ReadoutByPosition(readout, features)
