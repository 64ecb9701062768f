"""Optimisers in a recipe: registered ones, those of torch, or any class or function."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Discriminator, Tag

from ffcore.recipe.calls import Call
from ffcore.recipe.spec import Kind, Spec
from ffcore.recipe.unions import ByKind


class OptimizerCall(Call):
    """Any optimiser: its class, or a function that makes it from parameters."""

    what: ClassVar[str] = "an optimiser class, or a function from parameters to an optimiser"
    base: ClassVar[str] = "torch.optim:Optimizer"


OptimizerConfig = Annotated[
    Annotated[Spec, Kind("optimizer"), Tag("known")] | Annotated[OptimizerCall, Tag("called")],
    Discriminator(OptimizerCall.tag),
    ByKind(("known", "called")),
]
