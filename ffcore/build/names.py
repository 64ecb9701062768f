"""Names of blocks, readouts and penalties, which become names of modules and of columns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

from ffcore.errors import UserError

_COLUMNS = ("val", "combined")
"""Beginnings of columns of the metrics that no block has."""

_BLOCKS, _NAMED = nn.Sequential(), nn.ModuleDict()
"""Modules that hold blocks, and readouts or penalties."""

_existing = ContextVar("_existing", default=False)


@contextmanager
def of_existing_run() -> Iterator[None]:
    """Within it, names of columns are accepted: an older version has trained blocks of such names."""
    token = _existing.set(True)
    try:
        yield
    finally:
        _existing.reset(token)


def refuse_reserved(name: str, path: str, *, block: bool = True) -> None:
    """Raise if torch cannot hold a module of this name, or if its metrics would be mixed with others.

    >>> refuse_reserved("dense1", "network.0.name")

    Args:
        name: the name.
        path: its path in the recipe.
        block: whether it is that of a block; otherwise that of a readout or a penalty.

    Raises:
        UserError: with the path.
    """
    column = name in _COLUMNS and not _existing.get()
    what = "columns of the metrics" if column else "attributes of torch's modules"
    if column or hasattr(_BLOCKS if block else _NAMED, name):
        raise UserError(f"{path}: {name!r} is reserved for {what}; choose another name")
