"""What recipes may say about the parts of this plugin; no torch here.

A conformance test compares each model with the constructor that it stands for, and tries its examples.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from ffcore.plugin.options import Options
from ffcore_std.configs import ActivationName


class _Filters(Options):
    channels: int = Field(gt=0, description="channels out")
    kernel: int = Field(default=3, gt=0, description="side of the filters, odd")
    stride: int = Field(default=1, gt=0, description="places between two of them")
    groups: int = Field(default=1, gt=0, description="groups of channels that see only their like")
    activation: ActivationName = Field(
        default="relu", description="f; relu-pass-through lets gradients through silent units"
    )
    init: Literal["uniform", "kaiming"] = Field(
        default="uniform", description="uniform: PyTorch's own; kaiming: normal, by the fan out"
    )


class Conv(_Filters):
    """h = dropout(f(W ∗ x + b))."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"channels": 6},
                {"channels": 4, "stride": 2, "bias": True, "activation": "tanh", "dropout": 0.5},
                {"channels": 4, "groups": 2, "kernel": 5, "init": "kaiming"},
            ]
        }
    )

    bias: bool = Field(default=False, description="whether there is a b")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="chance of a unit to be silent")


class ConvNorm(_Filters):
    """h = batch-norm(max-pool(f(W ∗ x + b)))."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"channels": 6, "pool": 2}]})

    bias: bool = Field(default=True, description="whether there is a b")
    pool: int = Field(default=1, gt=0, description="side of the max-pooling; 1: none")
    eps: float = Field(default=1e-4, gt=0, description="added to variances")


class Pool(Options):
    """Squares of places become one."""

    side: int = Field(default=2, gt=1, description="side of the squares")


class GroupNorm(Options):
    """Groups of channels normalised."""

    groups: int | None = Field(default=None, gt=0, description="groups of channels; null: one a class")


class InstanceNorm(Options):
    """Channels normalised."""

    eps: float = Field(default=1e-5, gt=0, description="added to variances")


class _Net(Options):
    dropout: float = Field(default=0.0, ge=0, lt=1, description="of every convolution")
    init: Literal["uniform", "kaiming"] = Field(default="uniform", description="of every convolution")
    normalise: bool = Field(default=True, description="a layer norm of the input")


class ResNet17(_Net):
    """A stem and four stages of four 3×3 convolutions."""

    widths: tuple[int, ...] = Field(
        default=(100, 200, 400, 800), min_length=1, description="channels of each stage, each twice the last"
    )


class TinyCNN(_Net):
    """Four convolutions."""

    widths: tuple[int, int, int, int] = Field(default=(100, 200, 400, 400), description="channels")


class VGG13(_Net):
    """Thirteen 3×3 convolutions."""

    widths: tuple[int, int, int, int, int] = Field(
        default=(70, 140, 280, 560, 560), description="channels of the five groups"
    )
