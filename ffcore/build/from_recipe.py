"""Builds the network of a recipe for a training loop of your own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from numbers import Integral
from typing import Any

import torch

from ffcore.blame import blaming
from ffcore.build.assemble import assemble
from ffcore.build.components import make
from ffcore.engine.module import ForwardOnly
from ffcore.errors import UserError, expect
from ffcore.network import Network
from ffcore.recipe.load import loaded
from ffcore.recipe.schema import Recipe


def from_recipe(
    recipe: str | os.PathLike[str] | Recipe,
    shape: Sequence[int] | None = None,
    classes: int | None = None,
    **overrides: Any,
) -> Network:
    """Build the network of a recipe, with weights, precision and optimisers.

    Augmentations, the learning-rate schedule and files belong to a run and are left out.

    >>> import torch, ffcore
    >>> net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10)
    >>> sorted(net.learn(torch.rand(4, 1, 8, 8), torch.arange(4)))
    ['dense1', 'dense2', 'dense3']

    Args:
        recipe: a recipe's name, the path of a YAML file, or a recipe.
        shape: shape of one sample; None: that of the recipe's data set, if known without reading the data.
        classes: number of classes; None: likewise.
        overrides: parts of the recipe to change, as for `ffcore.train`.

    Raises:
        UserError: when the recipe cannot be built, or the shape is not known.
    """
    resolved = loaded(recipe, overrides)
    if shape is None or classes is None:
        with blaming(UserError):
            known = make(resolved.data.dataset, "data").peek() if resolved.data.transform is None else None
        if known is None:
            raise UserError(
                f"shape, classes: give both; the data of {resolved.name} have to be read to know them"
            )
        shape, classes = shape or known[0], classes or known[1]
    expect("shape", shape, Sequence, "the shape of one sample, such as (1, 28, 28)")
    expect("classes", classes, int, "the number of classes")
    if classes < 1 or not all(isinstance(side, Integral) and int(side) > 0 for side in shape):
        raise UserError(f"shape, classes: should be positive integers, not {tuple(shape)} and {classes}")
    module = assemble(resolved, tuple(map(int, shape)), int(classes))
    # a run leaves the precision to Lightning's trainer
    if resolved.trainer.precision == "64-true":
        module.double()
    if resolved.trainer.precision == "bf16-mixed":
        module.net.autocast = torch.bfloat16
    return net_of(module)


def net_of(module: ForwardOnly) -> Network:
    """Return the network of a LightningModule with its optimisers; the module should not be used again."""
    module.configure_optimizers()
    module.network.record = None
    module.network.observers.clear()
    return module.net
