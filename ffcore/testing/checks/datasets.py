"""Checks of data sets and of recipes. Recipes are read, but not trained."""

from __future__ import annotations

import numpy as np

from ffcore.build.assemble import assemble
from ffcore.build.components import make
from ffcore.data.images import ImageSet
from ffcore.local.callers import close
from ffcore.recipe.load import dump, load
from ffcore.testing.example import Example


def check_dataset_loads_to_a_checked_set(example: Example) -> None:
    """`load` returns an `ImageSet`, whose constructor checks shapes, dtypes and labels."""
    loaded = example.make().load()
    assert isinstance(loaded, ImageSet), f"load() gives {type(loaded).__name__}, not ImageSet"
    assert loaded.provenance, "provenance is empty; it should name the source of the data"


def check_dataset_has_every_class_in_training(example: Example) -> None:
    """The training split has samples of every class."""
    loaded = example.make().load()
    missing = sorted(set(range(loaded.num_classes)) - set(np.unique(loaded.train.y).tolist()))
    assert not missing, f"no training sample of classes {missing}"


def check_dataset_loads_the_same_twice(example: Example) -> None:
    """Two calls of `load` return the same samples in the same order."""
    once, again = example.make().load(), example.make(seed=1).load()
    for part in ("train", "test"):
        one, other = getattr(once, part), getattr(again, part)
        assert np.array_equal(one.x, other.x), f"{part} samples differ"
        assert np.array_equal(one.y, other.y), f"{part} labels differ"


def check_recipe_network_is_built(example: Example) -> None:
    """The parts of the recipe fit each other and its data, if their shape is known without reading files."""
    recipe = load(example.entry.name)
    known = make(recipe.data.dataset, "data").peek() if recipe.data.transform is None else None
    if known is not None:
        shape, classes = known
        close(assemble(recipe, shape, classes).network)


def check_recipe_loads_and_survives_being_written(example: Example) -> None:
    """The recipe is valid, and the same after it has been written and read."""
    recipe = load(example.entry.name)
    assert recipe.name, "the recipe has no name"
    assert dump(recipe) == dump(type(recipe).model_validate(recipe.model_dump(mode="json")))
