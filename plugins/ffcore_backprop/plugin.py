"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.register import Register
from ffcore_backprop import configs


@hookimpl
def ffcore_register_bodies(register: Register) -> None:
    """The head of networks that end in images."""
    register(
        "pooled-dense", "ffcore_backprop.head:PooledDense", configs.PooledDense, "a head on channels' means"
    )


@hookimpl
def ffcore_register_algorithms(register: Register) -> None:
    """Backpropagation."""
    register(
        "backprop",
        "ffcore_backprop.algorithm:Backprop",
        configs.Backprop,
        "cross-entropy of a head through all blocks, for comparison",
    )
