"""What recipes may say about the parts of this plugin; no torch here."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from ffcore.plugin.options import Options


class ChannelPartition(Options):
    """Channels dealt to the classes once and for all."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"power": 2}]})

    power: Literal[1, 2] = Field(default=1, description="1: mean of h (DeeperForward); 2: mean of h² (CwC)")
    hierarchy: list[list[int]] | Literal["data"] | None = Field(
        default=None,
        description="levels from coarse to fine, each the super-class of every class; data: the set's own",
    )
    pace: Literal["even", "each-block"] = Field(
        default="even", description="how levels go with depth; each-block: one further with every block"
    )


class ChannelAssignment(Options):
    """Channels that learn which classes they work for."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"init": "constant"}, {"alpha": 1.0, "beta": 0.0, "gamma": 0.0}]}
    )

    alpha: float = Field(default=0.94, description="α, of a channel's mean over places")
    beta: float = Field(default=0.06, description="β, of its maximum")
    gamma: float = Field(default=-0.05, description="γ, of its minimum")
    temperature: float = Field(default=10.0, gt=0, description="of the softmax over classes, at the start")
    decay: float = Field(default=0.995, gt=0, le=1, description="δ, factor on the temperature every epoch")
    init: Literal["normal", "constant"] = Field(
        default="normal", description="of the logits; normal: N(0, 0.01); constant: 0.5, as released"
    )


ENTROPY_WEIGHT = {"scale-free": 0.1, "released": 0.01}
"""λ of the entropy penalty's forms where a recipe names none; reports divide by it."""


class AssignmentEntropy(Options):
    """Draws each channel towards a single class."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"form": "released"}],
            "recipe": {"block": {"goodness": "channel-assignment", "objective": "cross-entropy"}},
        }
    )

    form: Literal["scale-free", "released"] = Field(
        default="scale-free", description="scale-free: mean of H/ln K over channels; released: grows with C/K"
    )
    weight: float | None = Field(
        default=None, ge=0, description="λ; null: 0.1 for scale-free, 0.01 for released"
    )


class AssignmentOrthogonality(Options):
    """Keeps the classes' channels apart."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"form": "released"}, {"warmup": 0}],
            "recipe": {"block": {"goodness": "channel-assignment", "objective": "cross-entropy"}},
        }
    )

    form: Literal["scale-free", "released"] = Field(
        default="scale-free", description="scale-free: mean of squared overlaps; released: that over K² C"
    )
    weight: float | None = Field(
        default=None, ge=0, description="λ; null: 0.01 for scale-free, 0.001 for released"
    )
    warmup: int = Field(default=50, ge=0, description="epochs until the full weight; 0: from the start")


class Contrast(Options):
    """Supervised contrast of projected handoffs."""

    weight: float = Field(default=1.0, ge=0, description="λ")
    width: int = Field(default=128, gt=0, description="numbers of a projection")
    start: float = Field(default=0.8, gt=0, description="temperature of the first epoch")
    middle: float = Field(default=0.2, gt=0, description="temperature after the warm-up")
    end: float = Field(default=0.1, gt=0, description="temperature that the run ends with")
    warmup: int = Field(default=50, ge=0, description="epochs from start to middle, linearly")


class CwC(Options):
    """Cross-entropy with guards."""

    eps: float = Field(default=1e-9, gt=0, description="ε, added to numerator and denominator")
    clamp: float = Field(default=50.0, gt=0, description="the largest |goodness| that counts")


class PvN(Options):
    """The true class's goodness above, the mean of the others below a threshold."""

    threshold: float = Field(default=2.0, description="θ")


class CwG(Options):
    """Cross-entropy and PvN."""

    cross_entropy: float = Field(default=0.28, ge=0, description="weight of cross-entropy")
    pvn: float = Field(default=0.72, ge=0, description="weight of PvN")
    threshold: float = Field(default=2.0, description="θ of PvN")


class LossWeighted(Options):
    """softmax(−loss) over the blocks."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"split": "train"}]})

    split: Literal["val", "train"] = Field(
        default="val", description="whose loss; val: the paper's; train: the released code's"
    )
