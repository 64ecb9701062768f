"""Learning-rate schedules in a recipe: registered ones, torch's schedulers, or any function of the epoch."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Discriminator, Tag

from ffcore.recipe.calls import Call
from ffcore.recipe.spec import Kind, Spec
from ffcore.recipe.unions import ByKind


class FactorCall(Call):
    """Any function of the epoch, or a scheduler of torch."""

    what: ClassVar[str] = "a function (epoch, epochs) → factor on the learning rate, or a torch scheduler"
    base: ClassVar[str] = "torch.optim.lr_scheduler:LRScheduler"
    targets: ClassVar[bool] = True  # of functions of time, whose arguments are no options


LRSchedule = Annotated[
    Annotated[Spec, Kind("lr_schedule"), Tag("known")] | Annotated[FactorCall, Tag("called")],
    Discriminator(FactorCall.tag),
    ByKind(("known", "called")),
]
