"""Prepares objects that a recipe holds from Python for use in one network."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

from torch import nn

from ffcore.blame import located, reported
from ffcore.errors import FOREIGN, UserError, a, one_line
from ffcore.interfaces import BlackBox
from ffcore.local.box import FunctionBox
from ffcore.plugin.targets import load_target
from ffcore.recipe.objects import Absent, Named
from ffcore.recipe.spec import Spec, entry_of


def own(given: Any, path: str) -> Any:
    """Return the object for one use: a deep copy, or the import of a target.

    Functions and classes are not copied.

    Args:
        given: an object, or a target ``module:name``.
        path: its path in the recipe, for messages.

    Raises:
        UserError: with the path, when it cannot be copied or imported, or ``config.yaml`` only describes it.
    """
    if isinstance(given, Absent):
        raise UserError(f"{path}: {given.described} was given from Python; pass it again from Python")
    if isinstance(given, Named):
        try:
            return load_target(given.target)
        except (ImportError, AttributeError) as error:
            reason = f"{one_line(error, 300)}{located(error)}"
            raise UserError(f"{path}: {given.target!r} cannot be imported: {reason}") from error
        except FOREIGN as error:
            reason = reported(error)
            raise UserError(f"{path}: {given.target!r} cannot be imported: {reason}") from error
    if inspect.isroutine(given) or isinstance(given, functools.partial):
        return given  # copying a bound method would copy its object too
    try:
        made = copy.deepcopy(given)
    except FOREIGN as error:
        hint = "; give a function that calls it" if callable(given) and path.endswith("box") else ""
        message = f"{path}: {a(type(given).__name__)} cannot be copied: {one_line(error, 200)}{hint}"
        raise UserError(message) from error
    return made.cpu() if isinstance(made, nn.Module) else made


def loaded(spec: Spec, path: str) -> Any:
    """The class or function of a registered kind, or of a target.

    Args:
        spec: the component.
        path: its place in the recipe, for messages.

    Raises:
        UserError: with the path, when it cannot be imported.
    """
    try:
        return entry_of(spec.noun, spec.kind).load()
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def component(noun: str, given: Any, path: str) -> Any:
    """Return a component that the recipe holds as an object.

    Args:
        noun: the type of component.
        given: the object.
        path: its path in the recipe, for messages.

    Raises:
        UserError: as for `own`, or when a target is not a component.
    """
    if noun == "dataset" and not isinstance(given, Absent):
        return given  # not copied: data are only read
    made = own(given, path)
    if noun == "blackbox" and isinstance(made, type) and issubclass(made, BlackBox):
        made = made()
    if noun != "blackbox" or isinstance(made, BlackBox):
        return made
    if isinstance(made, type) or not callable(made):
        raise UserError(f"{path}: {getattr(given, 'target', made)!r} is not a function")
    return FunctionBox(made)
