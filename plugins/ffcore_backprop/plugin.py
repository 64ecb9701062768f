"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.options import Options
from ffcore.plugin.register import Register


@hookimpl
def ffcore_register_algorithms(register: Register) -> None:
    """Backpropagation."""
    register(
        "backprop",
        "ffcore_backprop.algorithm:Backprop",
        Options,
        "cross-entropy of a head through all blocks, for comparison",
    )
