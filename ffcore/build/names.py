"""Names of blocks, readouts and penalties, which become names of modules and of columns."""

from __future__ import annotations

from torch import nn

from ffcore.errors import UserError

_COLUMNS = ("val", "combined")
"""Beginnings of columns of the metrics that no block has."""

_CONTAINERS = (nn.Sequential(), nn.ModuleDict())


def refuse_reserved(name: str, path: str) -> None:
    """Raise if torch cannot hold a module of this name, or if its metrics would be mixed with others.

    >>> refuse_reserved("dense1", "network.0.name")

    Raises:
        UserError: with the path of the name in the recipe.
    """
    what = "columns of the metrics" if name in _COLUMNS else "attributes of torch's modules"
    if name in _COLUMNS or any(hasattr(container, name) for container in _CONTAINERS):
        raise UserError(f"{path}: {name!r} is reserved for {what}; choose another name")
