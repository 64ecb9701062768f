"""``ffcore ls``: lists recipes, components and their options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from ffcore.cli.console import print_table
from ffcore.cli.verbs import VERBS
from ffcore.errors import UserError, closest
from ffcore.options import FLOAT32, LARGEST, MOST, MOST_SEED
from ffcore.plugin import manager
from ffcore.plugin.nouns import Noun, find_noun
from ffcore.plugin.registry import Entry


@click.command()
@click.argument("noun", default="recipe")
@click.argument("kind", required=False)
def command(noun: str, kind: str | None) -> None:
    """List recipes, components (`ls goodness`), or the options of one (`ls objective logistic`).

    A part of a name chooses recipes: `ls digits`.
    """
    try:
        sort = find_noun(noun)
    except UserError:
        if kind is not None or not ("/" in noun or _recipes(noun)):
            raise
        sort, kind = find_noun("recipe"), noun
    if sort.name == "recipe":
        _print_recipes(kind or "")
        return
    if sort.name == "command" and kind in VERBS:
        click.echo(f"`ffcore {kind} --help` shows its options")
        return
    if kind is not None:
        rows = _options(sort, kind)
        if rows:
            print_table(("option", "type", "default", "description"), rows)
        else:
            click.echo(f"{kind} has no options in a recipe")
        return
    components = [_component(entry) for entry in manager.current().registry.entries(sort.name)]
    if sort.name == "command":
        components = [(name, verb.help, "ffcore") for name, verb in VERBS.items()] + components
    print_table((sort.name.replace("_", " "), "summary", "plugin"), components)


def _recipes(part: str) -> list[str]:
    """Return the recipes that have a part in their name."""
    from ffcore.recipe.load import names  # the recipe's models take a third of this command's time

    return [name for name in names() if part in name]


def _print_recipes(part: str) -> None:
    """Print the recipes that have a part in their name.

    Raises:
        UserError: there is none.
    """
    if not (found := _recipes(part)):
        raise UserError(f"no recipe has {part!r} in its name{closest(part, _recipes(''), 'ffcore ls')}")
    print_table(("recipe", "title", "paper"), [_recipe(name) for name in found])
    if part in found:
        click.echo(f"`ffcore show {part}` prints the recipe")


def _component(entry: Entry) -> tuple[str, str, str]:
    try:
        return entry.name, entry.summary, entry.plugin
    except UserError as error:  # one broken component does not hide the others
        return entry.name, f"broken: {error}", entry.plugin


def _options(sort: Noun, kind: str) -> list[tuple[str, str, str, str]]:
    from ffcore.recipe.options import described, options_of
    from ffcore.recipe.spec import entry_of

    entry = entry_of(sort.name, kind)
    if not sort.has_options:
        return []
    model = options_of(entry)
    schemas = model.model_json_schema().get("properties", {})
    return [
        (
            name,
            type_of(schemas[name]),
            "(required)" if field.is_required() else str(field.default),
            field.description or "",
        )
        for name, field in described(model).items()
    ]


def type_of(schema: Mapping[str, Any]) -> str:
    """Returns what a recipe may write, in a few words.

    >>> type_of({"type": "number", "exclusiveMinimum": 0})
    'number > 0'
    >>> type_of({"anyOf": [{"enum": ["a", "b"]}, {"type": "null"}]})
    'a, b or null'
    """
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(map(type_of, schema["anyOf"])))
    if "enum" in schema or "const" in schema:
        return ", ".join(map(str, schema.get("enum", [schema.get("const")])))
    if "x-component" in schema:
        return str(schema["x-component"]).replace("_", " ")
    bounds = [
        f"{sign} {schema[key]:g}"
        for key, sign in _BOUNDS.items()
        if key in schema and abs(schema[key]) not in (MOST, LARGEST, FLOAT32, MOST_SEED)
    ]
    name = _TYPES.get(schema.get("type", ""), schema.get("type", "any"))
    if schema.get("type") == "array" and isinstance(schema.get("items"), Mapping):
        name = f"list of {type_of(schema['items'])}"
    return " ".join([str(name), *bounds])


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
_TYPES = {"array": "list", "object": "mapping", "boolean": "true or false", "string": "text"}


def _recipe(name: str) -> tuple[str, str, str]:
    """Returns a row. The recipe is not validated, so that one whose plugin is missing is listed too."""
    from ffcore.recipe.errors import RecipeError
    from ffcore.recipe.load import find, read

    try:
        data = read(find(name)).data
    except RecipeError as error:
        return name, f"cannot be read: {error}", ""
    paper = data.get("paper")
    test_error = paper.get("test_error") if isinstance(paper, dict) else None
    return name, str(data.get("title", "")), "" if test_error is None else f"{test_error} %"
