"""What recipes may say about the parts of this plugin; no torch here.

A conformance test compares each model with the constructor that it stands for, and tries its examples.
"""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from ffcore.plugin.options import Options

ActivationName = Literal["relu", "relu-pass-through", "tanh", "identity"]
"""What `ffcore_std.activations` has."""


class Dense(Options):
    """h = f(W x + b)."""

    units: int = Field(gt=0, description="number of units")
    activation: ActivationName = Field(
        default="relu", description="f; relu-pass-through lets gradients through silent units"
    )
    bias: bool = Field(default=True, description="whether there is a b")
    init: Literal["uniform", "normal"] = Field(
        default="normal", description="normal: N(0, 1/√inputs), b = 0; uniform: PyTorch's own, weaker"
    )


class LocallyConnected(Options):
    """h = f(W_ij · patch_ij + b_ij), weights of its own at every place."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"channels": 3, "kernel": 4, "stride": 2},
                {"channels": 2, "kernel": 5, "padding": 2, "activation": "tanh", "init": "uniform"},
            ]
        }
    )

    channels: int = Field(gt=0, description="units at each place")
    kernel: int = Field(gt=0, description="side of the receptive fields")
    stride: int = Field(default=1, gt=0, description="distance between neighbouring fields")
    padding: int = Field(default=0, ge=0, description="zeros around the image")
    activation: ActivationName = Field(
        default="relu", description="f; relu-pass-through lets gradients through silent units"
    )
    bias: bool = Field(default=True, description="whether there is a b")
    init: Literal["uniform", "normal"] = Field(
        default="normal", description="normal: N(0, 1/√inputs of a unit), b = 0; uniform: ±1/√inputs, weaker"
    )


class CrossEntropy(Options):
    """−ln softmax(g)_y."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="share spread over all classes")


class Shift(Options):
    """Moves each image by whole pixels."""

    pixels: int = Field(default=2, ge=0, description="the largest shift to each side")
    border: Literal["zero", "reflect"] = Field(
        default="zero", description="what comes in: zeros, or the image reflected at its outermost pixels"
    )


class Flip(Options):
    """Mirrors images, left to right."""

    probability: float = Field(default=0.5, ge=0, le=1, description="of each image to be mirrored")


class ResizedCrop(Options):
    """Boxes of random area and shape, resized to the whole image."""

    scale: tuple[float, float] = Field(default=(0.08, 1.0), description="least and largest share of the area")
    ratio: tuple[float, float] = Field(default=(0.75, 4 / 3), description="least and largest width / height")


class Cutout(Options):
    """Sets a square to 0."""

    side: int = Field(default=8, gt=0, description="of the square, in pixels")
    probability: float = Field(default=1.0, ge=0, le=1, description="of each image to get one")


class ColourJitter(Options):
    """Changes brightness, contrast, saturation and hue, of values in [0, 1]."""

    brightness: float = Field(default=0.4, ge=0, description="half the range of its factor")
    contrast: float = Field(default=0.4, ge=0, description="half the range of its factor")
    saturation: float = Field(default=0.4, ge=0, description="half the range of its factor")
    hue: float = Field(default=0.1, ge=0, le=0.5, description="the largest turn either way, in full turns")
    probability: float = Field(default=1.0, ge=0, le=1, description="of each image to be changed at all")


class Grey(Options):
    """Replaces colours by their luma."""

    probability: float = Field(default=0.2, ge=0, le=1, description="of each image to become grey")


class FromReadout(Options):
    """One readout alone."""

    name: str | None = Field(default=None, description="the readout's name; not needed where there is one")


class Softmax(Options):
    """Linear softmax on handed-on activities."""

    taps: tuple[str, ...] | None = Field(
        default=None, description="blocks to read by name; null for all but the first"
    )


class Greedy(Options):
    """One block after another."""

    epochs: int | None = Field(default=None, gt=0, description="epochs for each block; null: even shares")
    cache: bool = Field(
        default=False, description="keep what finished blocks make of the training set; fixes its negatives"
    )


class Interleaved(Options):
    """Each block learns during its own span of epochs."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"spans": [[0, 2], [1, 3]]}]})

    spans: list[tuple[int, int]] = Field(description="[first epoch, end) of each block, from 0")


class Overlapping(Options):
    """Shifting windows of several blocks."""

    size: int = Field(default=2, ge=1, description="blocks in a window")


class Official(Options):
    """A set in its official files."""

    root: str | None = Field(default=None, description="folder with the official files; null: the cache")
    download: bool | None = Field(
        default=None, description="fetch missing files; null: unless a root is given; false: never"
    )


class TinyImageNet(Options):
    """Tiny-ImageNet in its official folders."""

    root: str | None = Field(
        default=None, description="folder with tiny-imagenet-200, or that folder; null: the cache"
    )
    cache: str | None = Field(default=None, description="folder for decoded images; null: the cache")
    classes: list[str] | None = Field(
        default=None, description="WordNet ids of the classes to take; null: all of them"
    )


class Arrays(Options):
    """Your own arrays."""

    path: str = Field(
        description="an .npz with x_train, y_train and, if there is a test split, x_test, y_test"
    )
    test_fraction: float = Field(
        default=0.2, gt=0, lt=1, description="cut from training where there is no test"
    )
    seed: int = Field(default=0, ge=0, description="of that cut")


class Given(Options):
    """Data that a script gave from Python."""

    name: str = Field(description="what the script called the set")


class ImageFolder(Options):
    """Folders of images, one a class."""

    root: str = Field(description="folder with train/<class>/… and test/<class>/…")
    size: int | None = Field(default=None, gt=0, description="resize to this side; null: all must be equal")
    grey: bool = Field(default=False, description="one channel instead of three")
