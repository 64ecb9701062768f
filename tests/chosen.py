"""Recipes that stand for others."""

from ffcore.recipe.load import names


def of_each_name() -> list[str]:
    """Return one recipe of each name, such as digits/ff for mnist/ff, which differs in data and sizes."""
    chosen: dict[str, str] = {}
    for recipe in sorted(names(), key=lambda each: not each.startswith("digits/")):
        chosen.setdefault(recipe.partition("/")[2], recipe)
    return sorted(chosen.values())
