"""Checks of named networks."""

from __future__ import annotations

from pydantic import TypeAdapter

from ffcore.interfaces import Items
from ffcore.recipe.network import BlockItem, NetworkItem, ResidualItem
from ffcore.testing.example import Example


def check_network_lists_items_that_a_recipe_could_have(example: Example) -> None:
    """Every item is valid, and at least one is a block."""
    net: Items = example.make()
    adapter: TypeAdapter[NetworkItem] = TypeAdapter(NetworkItem)
    listed = [adapter.validate_python(dict(item)) for item in net.items()]
    assert any(isinstance(item, BlockItem | ResidualItem) for item in listed), "it does not list any block"


def check_network_lists_the_same_items_every_time(example: Example) -> None:
    """Two calls return the same items, since a resumed run builds the network again."""
    assert list(example.make().items()) == list(example.make().items()), "two lists differ"
