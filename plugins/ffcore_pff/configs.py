"""What recipes may say about the parts of this plugin; no torch here."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from ffcore.plugin.options import Options
from ffcore.recipe.spec import Kind, Spec


class Predictive(Options):
    """Layers that settle, a classifier and a generator."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"units": [12, 8], "group": 4, "latents": 3},
                {"units": [10], "group": 5, "steps": 4, "reads": [1, 2], "noise": 0, "generator_noise": 0},
            ],
            "recipe": {
                "algorithm": {"kind": "predictive-forward-forward"},
                "block": {
                    "goodness": "negative-sum-squares",
                    "objective": {"kind": "logistic", "threshold": -3},
                },
            },
        }
    )

    units: list[Annotated[int, Field(gt=0)]] = Field(min_length=1, description="units of each layer")
    steps: int = Field(default=12, ge=2, description="K, updates of all states in a pass to learn from")
    reads: tuple[int, int] | None = Field(
        default=None, description="first and last step that predicts; null: K/2 − 1 to K/2 + 1"
    )
    leak: float = Field(default=0.3, ge=0, lt=1, description="share of its old state that a layer keeps")
    group: int = Field(default=10, gt=0, description="units that inhibit one another")
    noise: float = Field(default=0.01, ge=0, description="standard deviation of noise in layers")
    label_strength: float = Field(default=5.0, gt=0, description="value of the class's input at the top")
    latents: int = Field(default=20, gt=0, description="units of the top latent")
    latent_rate: float = Field(default=0.025, gt=0, description="rate at which the top latent descends")
    generator_noise: float = Field(default=0.025, ge=0, description="standard deviation of generators' noise")


class PredictiveForwardForward(Options):
    """Predictive Forward-Forward."""

    model_config = ConfigDict(
        json_schema_extra={
            "recipe": {
                "network": [{"kind": "predictive", "units": [20, 20], "latents": 3}],
                "block": {
                    "goodness": "negative-sum-squares",
                    "objective": {"kind": "logistic", "threshold": -3},
                },
                "readouts": {},
            }
        }
    )

    negatives: Annotated[Spec, Kind("negative")] = Field(
        default={"kind": "wrong-label"}, validate_default=True, description="where negative data comes from"
    )
    rows: int = Field(
        default=2000, gt=0, description="labelled inputs that predicting sends through the network at once"
    )
    components: int = Field(
        default=10, gt=0, description="Gaussians of the mixture over each class's latents when a run ends"
    )
