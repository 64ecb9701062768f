"""What recipes may say about the parts of this plugin; no torch here."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from ffcore.plugin.options import Options
from ffcore.recipe.spec import Kind, Spec
from ffcore_std.configs import ActivationName


class Logistic(Options):
    """Logistic objective with a threshold."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"threshold": 2.0, "temperature": 3.0}]})

    threshold: float | Literal["units"] = Field(
        default="units", description="θ; units: the goodness of an activity of ones"
    )
    temperature: float = Field(default=1.0, gt=0, description="T")


class SymBa(Options):
    """softplus(−α (G⁺ − G⁻))."""

    alpha: float = Field(default=4.0, gt=0, description="α")


class Norm(Options):
    """Normalisation of each row."""

    eps: float = Field(default=1e-8, ge=0, description="added to the divisor")


class PeerNormalisation(Options):
    """Draws every unit's mean activity towards that of its peers."""

    strength: float = Field(default=0.03, ge=0, description="λ")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="μ of the running means")
    start: float = Field(default=0.5, description="running means before the first batch")


class Overlay(Options):
    """The class over the first K features."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"normalise": "l2"}, {"normalise": "none"}]})

    strength: float = Field(default=1.0, gt=0, description="value of the class's feature")
    normalise: Literal["rms", "l2", "none"] = Field(default="rms", description="of the labelled input")


class WholeImage(Options):
    """A code over the whole image."""

    strength: float = Field(default=1.0, gt=0, description="amplitude of the class's pattern")
    normalise: Literal["rms", "l2", "none"] = Field(default="rms", description="of the labelled input")


class Hybrid(Options):
    """Two images through a mask of blobs."""

    blurs: int = Field(default=6, ge=0, description="how often the mask is blurred")


class Shuffled(Options):
    """Patches in a random order."""

    patch: int = Field(default=1, gt=0, description="side of a patch in pixels")


class OtherData(Options):
    """Images of another data set."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dataset": "digits"}]})

    dataset: Annotated[Spec, Kind("dataset")] = Field(description="the other set, of the same shape")


class Unsupervised(Options):
    """Forward-Forward without labels."""

    negatives: Annotated[Spec, Kind("negative")] = Field(
        default={"kind": "hybrid"}, validate_default=True, description="where negative images come from"
    )
    normalise: Literal["rms", "l2", "none"] = Field(default="rms", description="of the input")


class Recurrent(Options):
    """Layers between an image and a label."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"units": [12, 8]},
                {"units": [10], "iterations": 3, "reads": [2, 3], "normalise": "l2"},
            ]
        }
    )

    units: list[Annotated[int, Field(gt=0)]] = Field(min_length=1, description="units of each layer")
    iterations: int = Field(default=8, gt=0, description="updates of all states in a pass to learn from")
    reads: tuple[int, int] = Field(default=(3, 5), description="first and last iteration that predicts")
    leak: float = Field(default=0.3, ge=0, lt=1, description="share of its old state that a layer keeps")
    label_strength: float = Field(default=1.0, gt=0, description="value of the class's input at the top")
    activation: ActivationName = Field(default="relu", description="f of the layers")
    normalise: Literal["rms", "l2", "none"] = Field(default="rms", description="of images and states")


class ForwardForward(Options):
    """Forward-Forward."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"negatives": "hard"}]})

    labels: Annotated[Spec, Kind("label")] | None = Field(
        default={"kind": "overlay"},
        validate_default=True,
        description="how a label is written into an input; null: it is not, a circuit is clamped to it",
    )
    negatives: Annotated[Spec, Kind("negative")] = Field(
        default={"kind": "wrong-label"}, validate_default=True, description="where negative data comes from"
    )
    rows: int = Field(
        default=2000, gt=0, description="labelled inputs that predicting sends through the network at once"
    )
