"""Optimisers: torch's, with torch's names and defaults, and bounds."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ffcore.recipe.calls import Call
from ffcore.recipe.objects import as_kind
from ffcore.recipe.strict import Fraction, NonNegative, Positive, Strict
from ffcore.recipe.unions import ByKind

Beta = Annotated[float, Field(ge=0, lt=1)]


class _Optimizer(Strict):
    lr: NonNegative = Field(default=1e-3, description="learning rate")
    weight_decay: NonNegative = Field(default=0.0, description="pull of the weights towards zero")


class SGD(_Optimizer):
    """Stochastic gradient descent."""

    kind: Literal["sgd"] = Field(default="sgd", description="gradient descent")
    momentum: NonNegative = Field(default=0.0, description="share of the last step in the next")
    dampening: Fraction = Field(default=0.0, description="how much less the gradient counts with momentum")
    nesterov: bool = Field(default=False, description="Nesterov's momentum")

    @model_validator(mode="after")
    def _nesterov_has_momentum(self) -> SGD:
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("nesterov needs a momentum above 0 and no dampening")
        return self


class Adam(_Optimizer):
    """Adam."""

    kind: Literal["adam"] = Field(default="adam", description="Adam")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="memory of the mean and of the square")
    eps: Positive = Field(default=1e-8, description="added to the denominator")


class AdamW(_Optimizer):
    """Adam with decoupled weight decay."""

    kind: Literal["adamw"] = Field(default="adamw", description="Adam with decoupled weight decay")
    weight_decay: NonNegative = Field(default=1e-2, description="pull of the weights towards zero")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="memory of the mean and of the square")
    eps: Positive = Field(default=1e-8, description="added to the denominator")


class RMSprop(_Optimizer):
    """RMSprop."""

    kind: Literal["rmsprop"] = Field(default="rmsprop", description="RMSprop")
    lr: NonNegative = Field(default=1e-2, description="learning rate")
    alpha: Fraction = Field(default=0.99, description="memory of the square")
    eps: Positive = Field(default=1e-8, description="added to the denominator")
    momentum: NonNegative = Field(default=0.0, description="share of the last step in the next")
    centered: bool = Field(default=False, description="divide by the variance instead of the square")


class OptimizerCall(Call):
    """Any optimiser: its class, or a function from parameters to one."""

    what: ClassVar[str] = "an optimiser's class, or a function from parameters to an optimiser"
    base: ClassVar[str] = "torch.optim:Optimizer"


_Known = Annotated[
    SGD | Adam | AdamW | RMSprop,
    Field(discriminator="kind"),
    BeforeValidator(as_kind),
    ByKind("optimizer", ("sgd", "adam", "adamw", "rmsprop")),
]

OptimizerConfig = Annotated[
    Annotated[_Known, Tag("known")] | Annotated[OptimizerCall, Tag("called")],
    Discriminator(Call.tag),
    ByKind("", ("known", "called")),
]
