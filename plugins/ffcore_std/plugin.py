"""Bodies, objectives, contributions, schedules, augmentations, optimisers and data sets.

Names and targets; the options are read from the constructors. Does not import torch.
"""

from __future__ import annotations

from ffcore.plugin import hookimpl
from ffcore.plugin.registrar import Registrar


@hookimpl
def ffcore_register(registry: Registrar) -> None:
    """See `ffcore.plugin.hookspecs.ffcore_register`."""
    registry.body("dense", "ffcore_std.bodies:Dense")
    registry.body("pointwise", "ffcore_std.pointwise:Pointwise")
    registry.body("locally-connected", "ffcore_std.locally_connected:LocallyConnected")

    registry.handoff("identity", "ffcore_std.handoffs:Identity")

    registry.goodness("logits", "ffcore_std.goodness:Logits")

    registry.objective("cross-entropy", "ffcore_std.objectives:CrossEntropy")
    registry.objective("binary-cross-entropy", "ffcore_std.objectives:BinaryCrossEntropy")
    registry.objective("squared-error", "ffcore_std.objectives:SquaredError")
    registry.objective("huber", "ffcore_std.objectives:Huber")
    registry.objective("weighted", "ffcore_std.weighted:Weighted")

    registry.contribution("sum", "ffcore_std.contributions:Sum")
    registry.contribution("skip-first", "ffcore_std.contributions:SkipFirst")
    registry.contribution("mean", "ffcore_std.contributions:Mean")
    registry.contribution("last", "ffcore_std.contributions:Last")
    registry.contribution("readout", "ffcore_std.contributions:FromReadout")

    registry.readout("softmax", "ffcore_std.readouts:Softmax")

    registry.rule("gradient", "ffcore.local.rules:Gradient")

    registry.schedule("joint", "ffcore_std.schedules:Joint")
    registry.schedule("stopping", "ffcore_std.stopping:Stopping")
    registry.schedule("one-window", "ffcore_std.schedules:OneWindow")
    registry.schedule("windows", "ffcore_std.schedules:Windows")
    registry.schedule("greedy", "ffcore_std.schedules:Greedy")
    registry.schedule("interleaved", "ffcore_std.schedules:Interleaved")
    registry.schedule("overlapping", "ffcore_std.schedules:Overlapping")

    registry.task("classification", "ffcore.tasks.classification:Classification")
    registry.task("token-classification", "ffcore.tasks.classification:TokenClassification")
    registry.task("pixel-classification", "ffcore.tasks.classification:PixelClassification")
    registry.task("multi-label", "ffcore.tasks.numbers:MultiLabel")
    registry.task("regression", "ffcore.tasks.numbers:Regression")
    registry.task("none", "ffcore.tasks.unsupervised:Unsupervised")

    _training(registry)
    _data(registry)


def _training(registry: Registrar) -> None:
    """Optimisers, learning-rate schedules, accelerators and strategies."""
    registry.optimizer("sgd", "ffcore_std.optimizers:sgd")
    registry.optimizer("adam", "ffcore_std.optimizers:adam")
    registry.optimizer("adamw", "ffcore_std.optimizers:adamw")
    registry.optimizer("rmsprop", "ffcore_std.optimizers:rmsprop")
    for name in ("Adadelta", "Adafactor", "Adagrad", "Adamax", "ASGD", "NAdam", "RAdam", "Rprop"):
        module = "_adafactor" if name == "Adafactor" else name.lower()
        registry.optimizer(name.lower(), f"torch.optim.{module}:{name}", f"torch.optim.{name}")

    registry.lr_schedule("constant", "ffcore_std.lr_schedules:Constant")
    registry.lr_schedule("hold-then-linear", "ffcore_std.lr_schedules:HoldThenLinear")
    registry.lr_schedule("cosine", "ffcore_std.lr_schedules:Cosine")
    registry.lr_schedule("step", "ffcore_std.lr_schedules:Step")
    registry.lr_schedule("steps", "ffcore_std.lr_schedules:Steps")
    registry.lr_schedule("one-cycle", "ffcore_std.lr_schedules:OneCycle")
    for name, scheduler in (
        ("cosine-annealing", "CosineAnnealingLR"),
        ("cosine-warm-restarts", "CosineAnnealingWarmRestarts"),
        ("exponential", "ExponentialLR"),
        ("linear", "LinearLR"),
        ("multi-step", "MultiStepLR"),
        ("polynomial", "PolynomialLR"),
    ):
        target = f"torch.optim.lr_scheduler:{scheduler}"
        registry.lr_schedule(name, target, f"torch's {scheduler}, one step per epoch")

    registry.accelerator("cpu", "lightning.pytorch.accelerators.cpu:CPUAccelerator")
    registry.accelerator("gpu", "lightning.pytorch.accelerators.cuda:CUDAAccelerator")
    registry.accelerator("cuda", "lightning.pytorch.accelerators.cuda:CUDAAccelerator")
    registry.accelerator("mps", "lightning.pytorch.accelerators.mps:MPSAccelerator")
    registry.accelerator("tpu", "lightning.pytorch.accelerators.xla:XLAAccelerator")

    registry.strategy("ff_local", "ffcore.ranks.local:LocalDDP")
    registry.strategy("ff_pipeline", "ffcore.ranks.pipeline:PipelineStrategy")
    registry.strategy("ff_grid", "ffcore.ranks.grid:GridStrategy")


def _data(registry: Registrar) -> None:
    """Data sets and augmentations."""
    registry.dataset("digits", "ffcore.data.digits:Digits")
    registry.dataset("mnist", "ffcore.data.mnist:Mnist")
    registry.dataset("fashion-mnist", "ffcore.data.mnist:FashionMnist")
    registry.dataset("kmnist", "ffcore.data.mnist:KMnist")
    registry.dataset("cifar10", "ffcore.data.cifar:Cifar10")
    registry.dataset("cifar100", "ffcore.data.cifar:Cifar100")
    registry.dataset("stl10", "ffcore.data.stl10:Stl10")
    registry.dataset("tiny-imagenet", "ffcore.data.tiny_imagenet:TinyImageNet")
    registry.dataset("given", "ffcore.data.arrays:Given")
    registry.dataset("arrays", "ffcore.data.task_arrays:TaskArrays")
    registry.dataset("image-folder", "ffcore.data.folder:ImageFolder")
    registry.dataset("table", "ffcore.data.table:Table")
    registry.dataset("text", "ffcore.data.text:Text")
    registry.dataset("huggingface", "ffcore.data.huggingface:HuggingFace")
    registry.dataset("python", "ffcore.data.python:PythonData")

    registry.augmentation("shift", "ffcore_std.augmentations:Shift")
    registry.augmentation("flip", "ffcore_std.augmentations:Flip")
    registry.augmentation("resized-crop", "ffcore_std.augmentations:ResizedCrop")
    registry.augmentation("cutout", "ffcore_std.augmentations:Cutout")
    registry.augmentation("colour-jitter", "ffcore_std.augmentations_colour:ColourJitter")
    registry.augmentation("noise", "ffcore_std.augmentations_any:Noise")
    registry.augmentation("mask", "ffcore_std.augmentations_any:Mask")
    registry.augmentation("grey", "ffcore_std.augmentations_colour:Grey")
