"""Absolute paths for the files that a recipe names."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_args

from pydantic import AfterValidator, BaseModel
from pydantic.fields import FieldInfo

from ffcore.options import expanded, possible
from ffcore.recipe.schema import Recipe
from ffcore.recipe.spec import Spec
from ffcore.recipe.trainer import WHERE_DATA

_OF_FILES = (*WHERE_DATA, "run")
"""Names of options that are files or directories."""


def absolute(recipe: Recipe) -> Recipe:
    """Returns the recipe with absolute paths: a run can be resumed or evaluated from any directory."""
    return recipe.model_copy(update=_changes(recipe))


def _changes(model: BaseModel) -> dict[str, Any]:
    """Returns the fields of a model that hold a relative path, with an absolute one."""
    fields = {name: getattr(model, name) for name in type(model).model_fields}
    values = {**fields, **(model.model_extra or {})}
    fields_of_files = {name for name, field in type(model).model_fields.items() if _is_path(field)}
    changed = {
        name: _absolute(value) if name in fields_of_files else _changed(name, value)
        for name, value in values.items()
    }
    return {name: value for name, value in changed.items() if value is not values[name]}


def _is_path(field: FieldInfo) -> bool:
    """Whether the type of an option is `FilePath`, perhaps with None."""
    marks = [*field.metadata, *(mark for arg in get_args(field.annotation) for mark in get_args(arg))]
    return any(isinstance(mark, AfterValidator) and mark.func is possible for mark in marks)


def _changed(name: str, value: Any) -> Any:
    """Returns a value with absolute paths; the same object if it has no relative one."""
    if isinstance(value, Spec):
        options = _changes(value.options)
        return replace(value, options=value.options.model_copy(update=options)) if options else value
    if isinstance(value, BaseModel):
        changes = _changes(value)
        return value.model_copy(update=changes) if changes else value
    if name == "command":
        return _command(value)
    if isinstance(value, list | tuple):
        items = [_changed("", item) for item in value]
        same = all(new is old for new, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    if isinstance(value, Mapping):
        entries = {key: _changed(key, item) for key, item in value.items()}
        return value if all(entries[key] is value[key] for key in value) else entries
    return _absolute(value) if name in _OF_FILES else value


def _command(value: Any) -> Any:
    """Returns the words of a command, with absolute paths of the files among its arguments."""
    words = shlex.split(value) if isinstance(value, str) else value
    if not isinstance(words, list | tuple):
        return value
    # a program without a slash is looked up on the PATH, not in the working directory
    made = [
        _absolute(word) if os.path.isfile(word) and (index or "/" in word) else word
        for index, word in enumerate(words)
    ]
    if all(new is old for new, old in zip(made, words, strict=True)):
        return value
    return shlex.join(made) if isinstance(value, str) else type(value)(made)


def _absolute(named: Any) -> Any:
    """Returns the absolute path of an existing file; any other value unchanged."""
    if not isinstance(named, str) or os.path.isabs(named):
        return named
    path = expanded(named)
    return os.path.abspath(path) if "\0" not in path and os.path.exists(path) else named
