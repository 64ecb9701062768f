"""The current pass. A block that a user's module calls finds it here."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ffcore.local.passes import Pass

under_way: ContextVar[Pass | None] = ContextVar("ffcore_pass", default=None)


def current() -> Pass | None:
    """Return the current pass, or None outside a pass."""
    return under_way.get()
