"""A context manager for evaluation mode."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def modes_kept(module: nn.Module) -> Iterator[None]:
    """Restore the mode of each sub-module after the context."""
    modes = {part: part.training for part in module.modules()}
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """Put modules into evaluation mode within the context, then restore the mode of each sub-module.

    `nn.Module.train` would put all sub-modules into training mode, also those that a user keeps in evaluation
    mode.
    """
    learning = [part for module in modules for part in module.modules() if part.training]
    if learning:
        for module in modules:
            module.eval()
    try:
        yield
    finally:
        for part in learning:
            part.training = True
