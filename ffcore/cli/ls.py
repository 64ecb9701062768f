"""``ffcore ls``: lists recipes, components and their options."""

from __future__ import annotations

import click

from ffcore.cli.console import print_table
from ffcore.plugin import manager
from ffcore.plugin.nouns import find_noun
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import find, names, read
from ffcore.recipe.options import options_of


@click.command()
@click.argument("noun", default="recipe")
@click.argument("kind", required=False)
def command(noun: str, kind: str | None) -> None:
    """List recipes, components (`ls goodness`), or the options of one (`ls objective logistic`)."""
    sort = find_noun(noun)
    if kind is not None:
        print_table(("option", "default", "description"), _options(sort.name, kind))
        return
    if sort.name == "recipe":
        print_table(("recipe", "title", "paper"), [_recipe(name) for name in names()])
        return
    entries = manager.current().registry.entries(sort.name)
    rows = [(entry.name, entry.summary, entry.plugin) for entry in entries]
    print_table((sort.name.replace("_", " "), "summary", "plugin"), rows)


def _options(noun: str, kind: str) -> list[tuple[str, str, str]]:
    fields = options_of(manager.current().registry.get(noun, kind)).model_fields
    return [
        (name, "" if field.is_required() else str(field.default), field.description or "")
        for name, field in fields.items()
    ]


def _recipe(name: str) -> tuple[str, str, str]:
    """Returns a row. The recipe is not validated, so that one whose plugin is missing is listed too."""
    try:
        data = read(find(name)).data
    except RecipeError as error:
        return name, f"cannot be read: {error}", ""
    paper = data.get("paper")
    test_error = paper.get("test_error") if isinstance(paper, dict) else None
    return name, str(data.get("title", "")), "" if test_error is None else f"{test_error} %"
