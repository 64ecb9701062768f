"""Dotted targets: ``package.module:Name``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

TARGET = r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*"
"""The form of a dotted target."""


def split_target(target: str) -> tuple[str, str]:
    """``module:Name`` as (module, name)."""
    module, _, name = target.partition(":")
    return module, name


def load_target(target: str) -> Any:
    """Import what ``module:Name`` points to.

    >>> load_target("math:pi")
    3.141592653589793
    """
    module, name = split_target(target)
    return _inside(importlib.import_module(module), name)


def peek_target(target: str) -> Any | None:
    """What ``module:Name`` points to if its module is imported already, else None."""
    module, name = split_target(target)
    loaded = sys.modules.get(module)
    return None if loaded is None else getattr(loaded, name, None)


def _inside(thing: Any, name: str) -> Any:
    for part in name.split("."):
        thing = getattr(thing, part)
    return thing
