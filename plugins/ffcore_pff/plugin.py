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


@hookimpl
def ffcore_register_report_sections(register: Register) -> None:
    """What the generator makes."""
    register("generation", "ffcore_pff.pictures:generation", summary="reconstructions and samples")


@hookimpl
def ffcore_register_commands(register: Register) -> None:
    """New images from a run."""
    register("sample", "ffcore_pff.command:command", summary="Draw samples from the generator of a run.")
