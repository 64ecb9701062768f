"""Error messages about recipes, one line per problem."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from ffcore.errors import UserError, closest, shortened
from ffcore.recipe import problems
from ffcore.recipe.tree import Path, Tree, before, dotted

MOST = 5  # lines of one message


class RecipeError(UserError):
    """A recipe that cannot be read or is not valid."""

    several_lines = True

    @classmethod
    def from_validation(cls, error: ValidationError, tree: Tree) -> RecipeError:
        """Convert pydantic's errors to messages: file and line, path, bad value, what would be right.

        Args:
            error: the error of pydantic for ``tree.data``.
            tree: the data with the origin of each value.
        """
        messages_at: dict[Path, list[str]] = {}
        for one in error.errors(include_url=False):
            path = _written(one, tree.data)
            messages_at.setdefault(path, []).append(_message(one))
        lines = [
            f"{before(tree.origin(path))}{dotted(path)}: {', or '.join(dict.fromkeys(messages))}"
            for path, messages in messages_at.items()
        ]
        more = [f"and {len(lines) - MOST} more"] if len(lines) > MOST else []
        return cls("\n".join(lines[:MOST] + more))


def _written(one: ErrorDetails, data: Any) -> Path:
    """Returns the path as the user writes it: pydantic's ``loc`` without the names of union members."""
    path: list[str | int] = []
    node = data
    loc = one["loc"]
    for depth, part in enumerate(loc):
        if isinstance(node, dict):
            after = loc[depth + 1] if depth + 1 < len(loc) else None
            # a part that is not a key, followed by one that is: the name of a union member
            if part not in node and after in node:
                continue
            node = node.get(part)
            path.append(part)
        elif isinstance(node, list) and isinstance(part, int) and part < len(node):
            node = node[part]
            path.append(part)
        elif node is None:  # inside a value that the user has not written, such as a default
            path.append(part)
        else:  # the rest are union members, unless a key is missing
            path += loc[depth:] if one["type"] == "missing" else ()
            break
    return tuple(path)


def _message(one: ErrorDetails) -> str:
    context: dict[str, Any] = one.get("ctx", {})
    value = shortened(one["input"])
    match one["type"]:
        case problems.UNKNOWN_KEY | "extra_forbidden":
            key = str(one["loc"][-1])
            hint = context.get("hint")
            message = f"unknown key {key!r}" + (
                f"; {hint}" if hint else closest(key, context.get("known", []))
            )
        case problems.WRONG_KIND:
            message = str(context["message"])
        case "missing":
            message = "is missing"
        case "value_error":
            message = _about(value, str(context["error"]))
        case "model_type" | "dict_type" | "model_attributes_type" | "mapping_type":
            message = f"{value} should be a mapping"
        case "literal_error":
            message = f"{value} should be {context['expected']}{_near(one['input'], context['expected'])}"
        case _:
            message = _about(value, one["msg"].removeprefix("Input "))
    return message


def _about(value: str, message: str) -> str:
    return f"{value}{'' if message.startswith('should') else ':'} {message}"


def _near(value: object, expected: str) -> str:
    """Returns a hint to the nearest of ``'auto', 'cpu' or 'gpu'``; the message already has the list."""
    hint = closest(str(value), expected.replace("'", "").replace(" or ", ", ").split(", "))
    return hint if hint.startswith("; did") else ""
