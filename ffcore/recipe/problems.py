"""Validation errors that know what would have been right.

pydantic raises them; here their places are turned into what the user wrote, and unknown keys get the
names that are known. `ffcore.recipe.errors` puts them into words.
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
    """The error of a ``kind`` that is missing or not known; it sits at the key ``kind``."""
    return _error([InitErrorDetails(type=wrong(message), loc=("kind",), input=value)])


def wrong(message: str) -> PydanticCustomError:
    """The error of a value that the message describes by itself."""
    return PydanticCustomError(WRONG_KIND, "{message}", {"message": message})


def explained(error: ValidationError, known: Iterable[str], hints: Mapping[str, str]) -> ValidationError:
    """The same error, its unknown keys on the top level knowing what keys there are."""
    names = sorted(known)

    def change(one: ErrorDetails) -> ErrorDetails:
        if one["type"] == "extra_forbidden" and len(one["loc"]) == 1:
            hint = hints.get(str(one["loc"][0]), "")
            one["type"], one["ctx"] = UNKNOWN_KEY, {"known": names, "hint": hint}
        return one

    return _changed(error, change)


def lifted(error: ValidationError, inner: str, known: Iterable[str]) -> ValidationError:
    """The same error, seen from a mapping into which the mapping ``inner`` has been poured."""
    names = set(known)

    def change(one: ErrorDetails) -> ErrorDetails:
        if one["loc"][:1] == (inner,):
            one["loc"] = one["loc"][1:]
            if one["type"] == UNKNOWN_KEY and len(one["loc"]) == 1:
                one["ctx"] = {**one["ctx"], "known": sorted({*one["ctx"]["known"], *names})}
        return one

    return _changed(error, change)


def untagged(error: ValidationError, tags: Iterable[str]) -> ValidationError:
    """The same error without the tag that pydantic puts before the path inside a union."""
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
    if name not in _PYDANTICS_OWN:
        kind = PydanticCustomError(name, "{message}", {"message": one["msg"], **context})
    return InitErrorDetails(type=kind, loc=one["loc"], input=one["input"], ctx=context)
