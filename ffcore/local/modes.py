"""Evaluation mode for a moment."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module) -> Iterator[None]:
    """In here the modules are in evaluation mode; afterwards those parts learn again that did before.

    No more than those: a user's part may be in evaluation mode for good.
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
