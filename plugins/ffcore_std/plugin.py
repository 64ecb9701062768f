"""What this plugin registers: names, configs and dotted targets; nothing heavy."""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.options import Options
from ffcore.plugin.register import Register
from ffcore_std import configs


@hookimpl
def ffcore_register_bodies(register: Register) -> None:
    """Dense and locally connected layers."""
    register("dense", "ffcore_std.bodies:Dense", configs.Dense, "fully connected layer")
    register(
        "locally-connected",
        "ffcore_std.locally_connected:LocallyConnected",
        configs.LocallyConnected,
        "local receptive fields, weights of its own at every place",
    )


@hookimpl
def ffcore_register_handoffs(register: Register) -> None:
    """The handoff that changes nothing."""
    register("identity", "torch.nn:Identity", Options, "the activity as it is")


@hookimpl
def ffcore_register_goodness(register: Register) -> None:
    """Goodness of form "class"."""
    register("logits", "ffcore_std.goodness:Logits", Options, "the activity itself, one number a class")


@hookimpl
def ffcore_register_objectives(register: Register) -> None:
    """Objectives on goodness of form "class"."""
    register(
        "cross-entropy",
        "ffcore_std.objectives:CrossEntropy",
        configs.CrossEntropy,
        "−ln softmax(goodness) of the true class",
    )


@hookimpl
def ffcore_register_contributions(register: Register) -> None:
    """Contributions without parameters."""
    register("sum", "ffcore_std.contributions:Sum", Options, "sum over all blocks")
    register("skip-first", "ffcore_std.contributions:SkipFirst", Options, "sum over all blocks but the first")
    register("last", "ffcore_std.contributions:Last", Options, "the last block alone")
    register("readout", "ffcore_std.contributions:FromReadout", configs.FromReadout, "one readout alone")


@hookimpl
def ffcore_register_readouts(register: Register) -> None:
    """Readouts."""
    register(
        "softmax", "ffcore_std.readouts:Softmax", configs.Softmax, "linear softmax on what blocks hand on"
    )


@hookimpl
def ffcore_register_rules(register: Register) -> None:
    """The core's default rule, under its name."""
    register("gradient", "ffcore.local.rules:Gradient", Options, "a gradient step on the local loss")


@hookimpl
def ffcore_register_schedules(register: Register) -> None:
    """Schedules."""
    register("joint", "ffcore_std.schedules:Joint", Options, "all blocks on every batch, each by itself")
    register("one-window", "ffcore_std.schedules:OneWindow", Options, "one graph over everything")
    register("greedy", "ffcore_std.schedules:Greedy", configs.Greedy, "one block after another")
    register(
        "interleaved",
        "ffcore_std.schedules:Interleaved",
        configs.Interleaved,
        "each block during its own span of epochs",
    )
    register(
        "overlapping",
        "ffcore_std.schedules:Overlapping",
        configs.Overlapping,
        "windows of several blocks that shift with every batch",
    )


@hookimpl
def ffcore_register_augmentations(register: Register) -> None:
    """Augmentations of images."""
    register(
        "shift",
        "ffcore_std.augmentations:Shift",
        configs.Shift,
        "whole pixels in both directions: a random crop after padding",
    )
    register("flip", "ffcore_std.augmentations:Flip", configs.Flip, "mirrored, left to right")
    register(
        "resized-crop",
        "ffcore_std.augmentations:ResizedCrop",
        configs.ResizedCrop,
        "a box of random area and shape, resized to the whole",
    )
    register("cutout", "ffcore_std.augmentations:Cutout", configs.Cutout, "a square set to 0")
    register(
        "colour-jitter",
        "ffcore_std.augmentations_colour:ColourJitter",
        configs.ColourJitter,
        "brightness, contrast, saturation and hue",
    )
    register("grey", "ffcore_std.augmentations_colour:Grey", configs.Grey, "colours replaced by their luma")


@hookimpl
def ffcore_register_datasets(register: Register) -> None:
    """Data sets that the core can read."""
    register("digits", "ffcore.data.digits:Digits", Options, "scikit-learn's 1,797 digits, 8×8, embedded")
    register("mnist", "ffcore.data.mnist:Mnist", configs.Official, "handwritten digits, 28×28")
    register(
        "fashion-mnist", "ffcore.data.mnist:FashionMnist", configs.Official, "articles of clothing, 28×28"
    )
    register("kmnist", "ffcore.data.mnist:KMnist", configs.Official, "cursive Japanese, 28×28")
    register("cifar10", "ffcore.data.cifar:Cifar10", configs.Official, "photographs, 3×32×32, 10 classes")
    register("cifar100", "ffcore.data.cifar:Cifar100", configs.Official, "photographs, 3×32×32, 100 classes")
    register(
        "tiny-imagenet",
        "ffcore.data.tiny_imagenet:TinyImageNet",
        configs.TinyImageNet,
        "photographs, 3×64×64, 200 classes",
    )
    register(
        "given",
        "ffcore.data.arrays:Given",
        configs.Given,
        "what a script gave from Python; cannot be read again",
    )
    register("arrays", "ffcore.data.arrays:Arrays", configs.Arrays, "your own arrays in an .npz file")
    register(
        "image-folder", "ffcore.data.folder:ImageFolder", configs.ImageFolder, "your own folders of images"
    )
