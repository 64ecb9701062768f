"""The pass that is under way, for blocks that a module other than ours calls."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ffcore.local.passes import Pass

under_way: ContextVar[Pass | None] = ContextVar("ffcore_pass", default=None)


def current() -> Pass | None:
    """The pass that is under way here, or None."""
    return under_way.get()
