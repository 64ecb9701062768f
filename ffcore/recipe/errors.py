"""What is wrong with a recipe, one line for each problem."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ffcore.errors import UserError, closest
from ffcore.recipe import problems
from ffcore.recipe.tree import Path, Tree, before, dotted

MOST = 5


class RecipeError(UserError):
    """A recipe that cannot be read, or that says something it may not."""

    @classmethod
    def from_validation(cls, error: ValidationError, tree: Tree) -> RecipeError:
        """Put pydantic's errors into words: where, the path, the bad value, what would be right.

        Args:
            error: what pydantic raised for ``tree.data``.
            tree: the data with the place each value came from.
        """
        said: dict[Path, list[str]] = {}
        for one in error.errors(include_url=False):
            path = _written(one, tree.data)
            said.setdefault(path, []).append(_words(one))
        lines = [
            f"{before(tree.origin(path))}{dotted(path)}: {', or '.join(dict.fromkeys(messages))}"
            for path, messages in said.items()
        ]
        more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
        return cls("\n".join(lines[:MOST] + more))


def _written(one: ErrorDetails, data: Any) -> Path:
    """The part of a path that the user could have written: without the names of union members."""
    path: list[str | int] = []
    node = data
    loc = one["loc"]
    for depth, part in enumerate(loc):
        if isinstance(node, dict):
            after = loc[depth + 1] if depth + 1 < len(loc) else None
            if part not in node and after in node:
                continue
            node = node.get(part)
            path.append(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            path.append(part)
        elif node is None:  # inside something that is not written, such as a default
            path.append(part)
        else:  # what follows are union members, unless it is what is not there
            path += loc[depth:] if one["type"] == "missing" else ()
            break
    return tuple(path)


def _words(one: ErrorDetails) -> str:
    context: dict[str, Any] = one.get("ctx", {})
    value = repr(one["input"])
    value = value if len(value) <= 60 else f"{value[:57]}…"
    match one["type"]:
        case problems.UNKNOWN_KEY | "extra_forbidden":
            key = str(one["loc"][-1])
            hint = context.get("hint")
            said = f"unknown key {key!r}" + (f"; {hint}" if hint else closest(key, context.get("known", [])))
        case problems.WRONG_KIND:
            said = str(context["message"])
        case "missing":
            said = "is missing"
        case "value_error":
            said = _about(value, str(context["error"]))
        case "model_type" | "dict_type" | "model_attributes_type" | "mapping_type":
            said = f"{value} should be a mapping"
        case "literal_error":
            said = f"{value} should be {context['expected']}{_near(one['input'], context['expected'])}"
        case _:
            said = _about(value, one["msg"].removeprefix("Input "))
    return said


def _about(value: str, message: str) -> str:
    return f"{value}{'' if message.startswith('should') else ':'} {message}"


def _near(value: object, expected: str) -> str:
    """The nearest of ``'auto', 'cpu' or 'gpu'``, if one is near; the list itself is said already."""
    hint = closest(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
    return hint if hint.startswith("; did") else ""
