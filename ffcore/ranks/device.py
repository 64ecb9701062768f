"""The accelerator of a run: what Lightning knows, by name, or any accelerator class of Lightning's."""

from __future__ import annotations

from typing import Any

from lightning.pytorch.accelerators import Accelerator

from ffcore.errors import UserError
from ffcore.ranks.local import on_gpu
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import entry_of

_BY_NAME = ("auto", "cpu", "gpu", "cuda")


def accelerator(recipe: Recipe) -> Any:
    """What Lightning's trainer is given as its accelerator.

    Raises:
        UserError: the class is not an accelerator, this machine has no such device, or several devices are
            asked for that ffcore cannot connect.
    """
    name = recipe.trainer.accelerator
    if name in _BY_NAME:
        if name in ("gpu", "cuda") and not on_gpu(recipe):
            raise UserError(f"trainer.accelerator: {name!r}: this machine has none; use 'auto' or 'cpu'")
        return "gpu" if on_gpu(recipe) else "cpu"
    kind = entry_of("accelerator", name).load()
    if not (isinstance(kind, type) and issubclass(kind, Accelerator)):
        raise UserError(f"trainer.accelerator: {name!r} is not a lightning.pytorch.accelerators.Accelerator")
    if not kind.is_available():
        raise UserError(f"trainer.accelerator: {name!r}: this machine has none; use 'auto' or 'cpu'")
    if recipe.trainer.devices > 1 or recipe.trainer.num_nodes > 1:
        raise UserError(
            f"trainer.devices: {recipe.trainer.devices}: several devices work with 'cpu' and 'gpu' only, not "
            f"with {name!r}"
        )
    return kind()
