"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.register import Register
from ffcore_pff import configs


@hookimpl
def ffcore_register_algorithms(register: Register) -> None:
    """Predictive Forward-Forward."""
    register(
        "predictive-forward-forward",
        "ffcore_pff.algorithm:PredictiveForwardForward",
        configs.PredictiveForwardForward,
        "a circuit learns to classify and to generate, step by step",
    )


@hookimpl
def ffcore_register_circuits(register: Register) -> None:
    """The representation and the generative circuit."""
    register(
        "predictive",
        "ffcore_pff.circuit:Predictive",
        configs.Predictive,
        "layers that settle, with a classifier and a generator",
    )
