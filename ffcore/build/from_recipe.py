"""A recipe's network for a loop of your own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch

from ffcore.build.assemble import assemble
from ffcore.build.components import make
from ffcore.errors import UserError
from ffcore.network import Network
from ffcore.recipe.load import loaded
from ffcore.recipe.schema import Recipe


def from_recipe(
    recipe: str | os.PathLike[str] | Recipe,
    shape: Sequence[int] | None = None,
    classes: int | None = None,
    **overrides: Any,
) -> Network:
    """The network that a recipe describes, with weights, precision and optimisers ready.

    Augmentations, the learning-rate schedule and everything about files belong to the recipe's run.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> sorted(net.learn(torch.rand(4, 1, 8, 8), torch.arange(4)))
    ['dense1', 'dense2', 'dense3']

    Args:
        recipe: a recipe's name, the path of a YAML file, or a recipe.
        shape: shape of one sample; None: that of the recipe's data set, if it is known without reading it.
        classes: number of classes; None: likewise.
        overrides: parts of the recipe to change, as for `ffcore.train`.

    Raises:
        UserError: when the recipe cannot be built, or the shape is not known.
    """
    found = loaded(recipe, overrides)
    if shape is None or classes is None:
        known = make(found.data.dataset, "data").peek()
        if known is None:
            raise UserError(
                f"shape, classes: give both; the data of {found.name} have to be read to know them"
            )
        shape, classes = shape or known[0], classes or known[1]
    module = assemble(found, tuple(shape), classes)
    if found.trainer.precision == "64-true":
        module.double()
    if found.trainer.precision == "bf16-mixed":
        module.net.autocast = torch.bfloat16
    module.configure_optimizers()
    module.network.record = None
    module.network.observers.clear()
    return module.net
