"""PEPITA.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.algorithm("pepita", "ffcore_pepita.algorithm:Pepita")
    registry.rule("pepita", "ffcore_pepita.rule:PepitaRule")
