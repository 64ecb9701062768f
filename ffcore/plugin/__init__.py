"""How components are registered: the hook, guarded loading, the registry. Imports no torch."""

from __future__ import annotations

import pluggy

hookimpl = pluggy.HookimplMarker("ffcore")
"""Marks a plugin's function as its implementation of the hook of the same name."""

__all__ = ["hookimpl"]
