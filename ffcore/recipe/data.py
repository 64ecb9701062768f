"""The ``data`` part of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from ffcore.options import MOST, Count, Natural, Number, Positive, Seed
from ffcore.recipe.spec import Function, Kind, Spec
from ffcore.recipe.strict import Flat, Strict
from ffcore.recipe.unions import ByKind


def _count_or_fraction(value: Any) -> int | float:
    """Returns a number of samples, or a fraction below 1, also from a string such as "1e-1"."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = -1.0
    # `true` and 1.0 equal 1, but do not mean one sample: 1.0 would be the fraction without training samples
    whole = 1 <= number <= MOST and number.is_integer() and (number > 1 or str(value) == "1")
    if isinstance(value, bool) or not (0 <= number < 1 or whole):
        raise ValueError("should be a fraction of the training set below 1, or a number of samples")
    return int(number) if number >= 1 or value == 0 else number


class Moments(Strict):
    """Mean and standard deviation of the inputs on the scale 0 … 1, one a channel, or one for all."""

    mean: list[Number] = Field(min_length=1, description="subtracted from the inputs")
    std: list[Positive] = Field(min_length=1, description="divides the result")


def _how(value: Any) -> str:
    return "moments" if isinstance(value, Mapping | Moments) else "own"


Standardise = Annotated[
    Annotated[bool, Tag("own")] | Annotated[Moments, Tag("moments")],
    Discriminator(_how),
    ByKind(("own", "moments")),
]


class DataConfig(Flat):
    """A data set and its batches: ``{kind: mnist, batch_size: 100}``."""

    inner: ClassVar[str] = "dataset"

    dataset: Annotated[Spec, Kind("dataset")] = Field(description="the data set")
    batch_size: Count = Field(default=100, description="samples per batch, over all ranks")
    validation: Annotated[int | float, Field(ge=0, le=MOST), BeforeValidator(_count_or_fraction)] = Field(
        default=0.1,
        description="part of the training set used for validation: a fraction, or a number of samples",
    )
    batches: Literal["new", "fixed"] = Field(
        default="new",
        description="new: samples are drawn in a new order in every epoch; fixed: the batches of the first "
        "epoch come again in every epoch, in the same order",
    )
    split_seed: Seed = Field(default=0, description="seed of the split into training and validation")
    label_noise: Annotated[float, Field(ge=0, le=1)] = Field(
        default=0.0,
        description="share of the training labels that are replaced by another class, at random by the seed "
        "of the recipe; validation and test labels stay",
    )
    augment: list[Annotated[Spec, Kind("augmentation")]] = Field(
        default=[], description="augmentations of the training samples, applied in order"
    )
    transform: Annotated[Any, Function()] | None = Field(
        default=None,
        description="module:function that changes all samples when they are read, before augmentations and "
        "labels: from a tensor (N, *shape) to a tensor (N, *shape')",
    )
    groups: list[Natural] | None = Field(
        default=None,
        description="super-class of each class, from 0; null: those of the data set, if it has any",
    )
    standardise: Standardise = Field(
        default=False,
        description="subtract the mean of the training samples and divide by their standard deviation; or a "
        "mapping with the mean and std to use, such as those of a paper",
    )
