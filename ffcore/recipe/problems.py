"""Adds information to pydantic's validation errors.

Their paths are converted to those that the user has written, and errors of unknown keys get the names of the
known keys. `ffcore.recipe.errors` makes messages from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import get_args

from pydantic import ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

UNKNOWN_KEY = "unknown_key"
WRONG_KIND = "wrong_kind"

_PYDANTICS_OWN = frozenset(get_args(ErrorType))


def wrong_kind(message: str, value: object) -> ValidationError:
    """Returns the error of a missing or unknown ``kind``, with the path of the key ``kind``."""
    return _error([InitErrorDetails(type=wrong(message), loc=("kind",), input=value)])


def wrong(message: str) -> PydanticCustomError:
    """Returns an error whose message is complete: the value is not added to it."""
    return PydanticCustomError(WRONG_KIND, "{message}", {"message": message})


def explained(error: ValidationError, known: Iterable[str], hints: Mapping[str, str]) -> ValidationError:
    """Returns the error with the known keys added to errors of unknown keys on the top level."""
    names = sorted(known)

    def change(one: ErrorDetails) -> ErrorDetails:
        if one["type"] == "extra_forbidden" and len(one["loc"]) == 1:
            hint = hints.get(str(one["loc"][0]), "")
            one["type"], one["ctx"] = UNKNOWN_KEY, {"known": names, "hint": hint}
        return one

    return _changed(error, change)


def lifted(error: ValidationError, inner: str, known: Iterable[str]) -> ValidationError:
    """Returns the error with the paths of a `Flat` mapping, which has the keys of ``inner`` itself."""
    names = set(known)

    def change(one: ErrorDetails) -> ErrorDetails:
        if one["loc"][:1] == (inner,):
            one["loc"] = one["loc"][1:]
            if one["type"] == UNKNOWN_KEY and len(one["loc"]) == 1:
                one["ctx"] = {**one["ctx"], "known": sorted({*one["ctx"]["known"], *names})}
        return one

    return _changed(error, change)


def untagged(error: ValidationError, tags: Iterable[str]) -> ValidationError:
    """Returns the error without the tag that pydantic inserts into the path of a union."""
    known = set(tags)

    def change(one: ErrorDetails) -> ErrorDetails:
        if one["loc"] and one["loc"][0] in known:
            one["loc"] = one["loc"][1:]
        return one

    return _changed(error, change)


def _changed(error: ValidationError, change: Callable[[ErrorDetails], ErrorDetails]) -> ValidationError:
    return _error([_init(change(one)) for one in error.errors(include_url=False)])


def _error(details: list[InitErrorDetails]) -> ValidationError:
    return ValidationError.from_exception_data("recipe", details)


def _init(one: ErrorDetails) -> InitErrorDetails:
    name, context = one["type"], dict(one.get("ctx", {}))
    kind: str | PydanticCustomError = name
    # pydantic accepts only its own types by name; others must be custom errors
    if name not in _PYDANTICS_OWN:
        kind = PydanticCustomError(name, "{message}", {"message": one["msg"], **context})
    return InitErrorDetails(type=kind, loc=one["loc"], input=one["input"], ctx=context)
