"""From a validated `Spec` to the object that it names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ffcore.errors import UserError
from ffcore.local.box import FunctionBox
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.targets import load_target
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.spec import Kind, Spec
from ffcore.recipe.tree import Tree


def make(spec: Spec, path: str, in_shape: tuple[int, ...] | None = None) -> Any:
    """Construct a component, and those nested in it.

    Args:
        spec: which component, with validated options.
        path: its place in the recipe, for messages.
        in_shape: shape of one input sample, for components whose constructor asks for it.

    Raises:
        UserError: with the path, when the component cannot be imported or refuses its options.
    """
    target = manager.current().registry.get(spec.noun, spec.kind).load()
    options = {
        name: _nested(getattr(spec.options, name), f"{path}.{name}")
        for name in type(spec.options).model_fields
    }
    if in_shape is not None and "in_shape" in inspect.signature(target).parameters:
        options["in_shape"] = in_shape
    try:
        return target(**options)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {spec.kind} refuses its options: {error}") from error


def _nested(value: Any, path: str) -> Any:
    if isinstance(value, Spec):
        return make(value, path)
    if isinstance(value, dict):
        return {key: _nested(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_nested(item, f"{path}.{i}") for i, item in enumerate(value))
    return value


def component(noun: str, value: Any, path: str) -> Any:
    """See `ffcore.parts.part`."""
    if isinstance(value, str | Mapping):
        try:
            return make(Kind(noun).validate(value), path)
        except ValidationError as error:
            data = {"kind": value} if isinstance(value, str) else dict(value)
            raise RecipeError.from_validation(error, Tree(data, {(): path})) from None
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    base = NOUNS[noun].base
    contract = load_target(base)
    if isinstance(value, contract):
        return value
    if noun == "blackbox" and callable(value) and not isinstance(value, type):
        return FunctionBox(value)
    article, name = NOUNS[noun].article, base.replace(":", ".")
    if isinstance(value, type) and issubclass(value, contract):
        raise UserError(f"{path}: give an instance of {value.__name__}, not the class: {value.__name__}(…)")
    raise UserError(
        f"{path}: a {type(value).__name__} is not {article}; give an instance of {name}, or its kind"
    )
