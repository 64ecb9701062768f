"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.options import Options
from ffcore.plugin.register import Register
from ffcore_ff import configs


@hookimpl
def ffcore_register_algorithms(register: Register) -> None:
    """Forward-Forward, with and without labels."""
    register(
        "forward-forward-unsupervised",
        "ffcore_ff.unsupervised:Unsupervised",
        configs.Unsupervised,
        "images good, negative images bad; classes by a readout alone",
    )
    register(
        "forward-forward",
        "ffcore_ff.algorithm:ForwardForward",
        configs.ForwardForward,
        "positive data good, negative data bad, block by block",
    )


@hookimpl
def ffcore_register_circuits(register: Register) -> None:
    """Layers with top-down connections."""
    register(
        "recurrent",
        "ffcore_ff.recurrent:Recurrent",
        configs.Recurrent,
        "layers that settle between image and label",
    )


@hookimpl
def ffcore_register_goodness(register: Register) -> None:
    """Energies of the activity."""
    register("sum-squares", "ffcore_ff.goodness:SumSquares", Options, "Σ h²")
    register("mean-squares", "ffcore_ff.goodness:MeanSquares", Options, "mean of h²")
    register("mean-absolute", "ffcore_ff.goodness:MeanAbsolute", Options, "mean of |h|")
    register("max", "ffcore_ff.goodness:Max", Options, "the largest h")
    register("negative-sum-squares", "ffcore_ff.goodness:NegativeSumSquares", Options, "−Σ h²")


@hookimpl
def ffcore_register_objectives(register: Register) -> None:
    """Objectives on two views."""
    register(
        "logistic", "ffcore_ff.objectives:Logistic", configs.Logistic, "goodness above or below a threshold"
    )
    register("symba", "ffcore_ff.objectives:SymBa", configs.SymBa, "softplus of the gap between the views")


@hookimpl
def ffcore_register_penalties(register: Register) -> None:
    """Peer normalisation."""
    register(
        "peer-normalisation",
        "ffcore_ff.penalties:PeerNormalisation",
        configs.PeerNormalisation,
        "draws mean activities towards their peers'",
    )


@hookimpl
def ffcore_register_handoffs(register: Register) -> None:
    """Normalisations of length."""
    register("rms", "ffcore_ff.handoffs:RMS", configs.Norm, "mean square 1")
    register("l2", "ffcore_ff.handoffs:L2", configs.Norm, "length 1")


@hookimpl
def ffcore_register_labels(register: Register) -> None:
    """Label codes."""
    register(
        "channels",
        "ffcore_ff.labels:Channels",
        configs.WholeImage,
        "one further channel a class, for convolutions",
    )
    register("fourier", "ffcore_ff.labels:Fourier", configs.WholeImage, "a wave over the whole image")
    register("overlay", "ffcore_ff.labels:Overlay", configs.Overlay, "the class over the first features")


@hookimpl
def ffcore_register_negatives(register: Register) -> None:
    """Negative data."""
    register("wrong-label", "ffcore_ff.negatives:WrongLabel", Options, "an evenly drawn wrong label")
    register("hard", "ffcore_ff.negatives:Hard", Options, "a wrong label that the readout finds likely")
    register("hybrid", "ffcore_ff.images:Hybrid", configs.Hybrid, "two images through a mask of blobs")
    register("shuffled", "ffcore_ff.images:Shuffled", configs.Shuffled, "patches in a random order")
    register("turned", "ffcore_ff.images:Turned", Options, "turned by 90, 180 or 270 degrees")
    register("other-data", "ffcore_ff.images:OtherData", configs.OtherData, "images of another data set")
