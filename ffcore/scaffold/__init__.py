"""First versions of what users write: a plugin package, a recipe, an example."""

from ffcore.scaffold.package import KINDS, new_example, new_plugin, new_recipe

__all__ = ["KINDS", "new_example", "new_plugin", "new_recipe"]
