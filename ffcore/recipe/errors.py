"""What is wrong with a recipe, one line for each problem."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ffcore.errors import UserError, closest
from ffcore.recipe import problems
from ffcore.recipe.tree import Path, Tree, dotted

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
            path = _written(one["loc"], tree.data)
            said.setdefault(path, []).append(_words(one))
        lines = [
            f"{tree.origin(path)}  {dotted(path)}: {', or '.join(dict.fromkeys(messages))}"
            for path, messages in said.items()
        ]
        more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
        return cls("\n".join(lines[:MOST] + more))


def _written(loc: Path, data: Any) -> Path:
    """The part of a path that the user could have written: without the names of union members."""
    path: list[str | int] = []
    node = data
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
        else:
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
            return f"unknown key {key!r}" + (f"; {hint}" if hint else closest(key, context.get("known", [])))
        case problems.WRONG_KIND:
            return str(context["message"])
        case "missing":
            return "is missing"
        case "value_error":
            return f"{value}: {context['error']}"
        case "literal_error":
            known = [
                str(name) for name in context["expected"].replace("'", "").replace(" or ", ", ").split(", ")
            ]
            return f"{value} should be {context['expected']}{_near(one['input'], known)}"
        case _:
            return f"{value}: {one['msg']}".replace(": Input should", " should")


def _near(value: object, known: list[str]) -> str:
    hint = closest(str(value), known)
    return hint if hint.startswith("; did") else ""
