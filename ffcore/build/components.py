"""Constructs the component of a validated `Spec`."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError
from torch import nn

from ffcore.blame import located, placed, reported
from ffcore.build.memory import Limited
from ffcore.build.objects import component, loaded, own
from ffcore.errors import FOREIGN, UserError, one_line
from ffcore.local.box import FunctionBox
from ffcore.parts import refuse_bare
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.targets import load_target
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.objects import Absent, misfit
from ffcore.recipe.options import values_of
from ffcore.recipe.spec import Kind, Spec, entry_of
from ffcore.recipe.tree import Tree


def make(spec: Spec, path: str, in_shape: tuple[int, ...] | None = None) -> Any:
    """Construct a component and the components nested in it. An object in the recipe is deep-copied.

    Args:
        spec: kind and validated options of the component, or an object.
        path: its path in the recipe, for messages.
        in_shape: shape of one input sample, for components whose constructor has this argument.

    Raises:
        UserError: with the path, when the component cannot be imported or refuses its options, or its
            constructor fails.
    """
    if spec.object is not None:
        refuse_bare(spec.object, path)
        given = component(spec.noun, spec.object, path)
        return placed(given, path, f"{spec.noun.replace('_', ' ')} {spec.kind}", foreign=True)
    target = loaded(spec, path)
    base = NOUNS[spec.noun].base
    # A kind "package.module:Class" is not registered by a plugin, so its class is checked here.
    if base and not (isinstance(target, type) and issubclass(target, load_target(base))):
        contract = base.replace(":", ".")
        raise UserError(f"{path}: {spec.kind!r} is not {NOUNS[spec.noun].article}, a subclass of {contract}")
    inner = {spec.noun: in_shape}  # a component around another of its noun has the same input
    given = values_of(spec.options).items()
    options = {name: _nested(value, f"{path}.{name}", inner) for name, value in given}
    if in_shape is not None and "in_shape" in inspect.signature(target).parameters:
        options["in_shape"] = in_shape
    try:
        with Limited():
            made = target(**options)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except (ValueError, TypeError) as error:
        reason = f"{one_line(error)}{located(error)}"
        raise UserError(f"{path}: {spec.kind} refuses its options: {reason}") from error
    except FOREIGN as error:
        reason = reported(error)
        raise UserError(f"{path}: {spec.kind} cannot be constructed: {reason}") from error
    refuse_bare(made, path)
    return placed(made, path, entry_of(spec.noun, spec.kind).title, foreign=":" in spec.kind)


def _nested(value: Any, path: str, in_shape: Mapping[str, tuple[int, ...] | None]) -> Any:
    if isinstance(value, Spec):
        return make(value, path, in_shape.get(value.noun))
    if isinstance(value, dict):
        return {key: _nested(item, f"{path}.{key}", in_shape) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_nested(item, f"{path}.{i}", in_shape) for i, item in enumerate(value))
    return own(value, path) if isinstance(value, Absent) or callable(value) else value


def part(noun: str, value: Any, path: str, in_shape: tuple[int, ...] | None = None) -> Any:
    """See `ffcore.parts.part`."""
    if isinstance(value, str | Mapping):
        try:
            return make(Kind(noun).validate(value), path, in_shape)
        except ValidationError as error:
            data = {"kind": value} if isinstance(value, str) else dict(value)
            raise RecipeError.from_validation(error, Tree(data, {(): path})) from None
        except UserError:  # is a ValueError, and has the path already
            raise
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
    if (problem := misfit(value, noun)) is not None:
        raise UserError(f"{path}: {problem}")
    return value if isinstance(value, nn.Module) else FunctionBox(value)
