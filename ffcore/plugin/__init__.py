"""How components get in: hooks, guarded loading, the registry. Imports no torch."""

from __future__ import annotations

import pluggy

from ffcore.plugin.options import Options

hookimpl = pluggy.HookimplMarker("ffcore")
"""Marks a function of a plugin module as the implementation of the hook of the same name."""

__all__ = ["Options", "hookimpl"]
