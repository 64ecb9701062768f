"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.options import Options
from ffcore.plugin.register import Register
from ffcore_channel import configs


@hookimpl
def ffcore_register_algorithms(register: Register) -> None:
    """Channel-class learning."""
    register(
        "channel-class",
        "ffcore_channel.algorithm:ChannelClass",
        Options,
        "samples with their classes, every layer a classifier; no negatives",
    )


@hookimpl
def ffcore_register_goodness(register: Register) -> None:
    """Goodness of each class, from channels."""
    register(
        "channel-partition",
        "ffcore_channel.partition:ChannelPartition",
        configs.ChannelPartition,
        "mean over the channels that were dealt to a class",
    )
    register(
        "channel-assignment",
        "ffcore_channel.assignment:ChannelAssignment",
        configs.ChannelAssignment,
        "channels learn which classes they work for",
    )


@hookimpl
def ffcore_register_objectives(register: Register) -> None:
    """The true class's goodness against the others'."""
    register("cwc", "ffcore_channel.objectives:CwC", configs.CwC, "cross-entropy with guards")
    register("pvn", "ffcore_channel.objectives:PvN", configs.PvN, "true class above, the others below θ")
    register("cwg", "ffcore_channel.objectives:CwG", configs.CwG, "cross-entropy and pvn")


@hookimpl
def ffcore_register_penalties(register: Register) -> None:
    """Terms on the assignment, and contrast of handoffs."""
    register(
        "assignment-entropy",
        "ffcore_channel.penalties:AssignmentEntropy",
        configs.AssignmentEntropy,
        "draws each channel towards a single class",
    )
    register(
        "assignment-orthogonality",
        "ffcore_channel.penalties:AssignmentOrthogonality",
        configs.AssignmentOrthogonality,
        "keeps the classes' channels apart",
    )
    register(
        "contrast",
        "ffcore_channel.contrast:Contrast",
        configs.Contrast,
        "supervised contrast of projected handoffs",
    )


@hookimpl
def ffcore_register_contributions(register: Register) -> None:
    """Layers weighted by how well they do."""
    register(
        "loss-weighted",
        "ffcore_channel.contributions:LossWeighted",
        configs.LossWeighted,
        "softmax of the negative losses",
    )
    register(
        "best-range",
        "ffcore_channel.contributions:BestRange",
        Options,
        "the range of blocks that is right most often on validation data",
    )


@hookimpl
def ffcore_register_report_sections(register: Register) -> None:
    """Which channels work for which classes, and which layers count."""
    register("channels", "ffcore_channel.report:channels", summary="which channels work for which classes")
    register("layer-weights", "ffcore_channel.report:layer_weights", summary="how much each layer counts")
