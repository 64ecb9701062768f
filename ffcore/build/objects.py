"""Objects that a recipe was given from Python, made ready for one network."""

from __future__ import annotations

import copy
import functools
import inspect
from typing import Any

from torch import nn

from ffcore.errors import UserError, first_line, one_line
from ffcore.interfaces import BlackBox
from ffcore.local.box import FunctionBox
from ffcore.plugin.targets import load_target
from ffcore.recipe.objects import Absent, Named, a


def own(given: Any, path: str) -> Any:
    """The object for one use: a deep copy, or what a target names. Functions and classes are not copied.

    Args:
        given: an object, or how a recipe names one.
        path: its place in the recipe, for messages.

    Raises:
        UserError: with the path, when it cannot be copied or imported, or is only described.
    """
    if isinstance(given, Absent):
        raise UserError(f"{path}: {given.described} was given from Python; pass it again from Python")
    if isinstance(given, Named):
        try:
            return load_target(given.target)
        except (ImportError, AttributeError) as error:
            raise UserError(f"{path}: {given.target!r} cannot be imported: {first_line(error)}") from error
    if inspect.isroutine(given) or isinstance(given, functools.partial):
        return given  # also a method, whose object would be copied with it
    try:
        made = copy.deepcopy(given)
    except Exception as error:  # what an object's own code raises
        hint = "; give a function that calls it" if callable(given) and path.endswith("box") else ""
        said = f"{path}: {a(type(given).__name__)} cannot be copied: {one_line(error, 200)}{hint}"
        raise UserError(said) from error
    return made.cpu() if isinstance(made, nn.Module) else made


def component(noun: str, given: Any, path: str) -> Any:
    """A component that the recipe holds as an object.

    Args:
        noun: what sort of component.
        given: the object.
        path: its place in the recipe, for messages.

    Raises:
        UserError: as for `own`, or what a target names is no component.
    """
    if noun == "dataset" and not isinstance(given, Absent):
        return given  # data are read, never changed
    made = own(given, path)
    if noun == "blackbox" and isinstance(made, type) and issubclass(made, BlackBox):
        made = made()
    if noun != "blackbox" or isinstance(made, BlackBox):
        return made
    if isinstance(made, type) or not callable(made):
        raise UserError(f"{path}: {getattr(given, 'target', made)!r} is not a function")
    return FunctionBox(made)
