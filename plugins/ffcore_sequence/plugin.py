"""Bodies for sequences of tokens.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.body("embedding", "ffcore_sequence.bodies:Embedding")
    registry.body("patches", "ffcore_sequence.bodies:Patches")
    registry.body("attention", "ffcore_sequence.bodies:Attention")
    registry.body("gru", "ffcore_sequence.bodies:GRU")
    registry.body("conv-1d", "ffcore_sequence.bodies:Conv1d")

    registry.report_section("samples", "ffcore_sequence.report:continuations")

    registry.command("continue", "ffcore_sequence.command:command")
