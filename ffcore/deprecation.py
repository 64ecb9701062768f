"""Deprecation of public names. The policy is in docs/api.md.

Mark a function or a class with the decorator of PEP 702, which type checkers understand too. They read the
message only if it is a literal. `tests/test_deprecation.py` checks its form::

    @deprecated("ffcore.old is deprecated since 0.3 and will be removed in 0.5: use ffcore.new")
    def old() -> None:
        '''… Deprecated since 0.3: use `new`.'''
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from typing_extensions import deprecated

__all__ = ["deprecated", "renamed_argument"]

P = ParamSpec("P")
R = TypeVar("R")


def renamed_argument(
    old: str, new: str, *, since: str, removal: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Return a decorator that passes the keyword `old` on as `new`, with a DeprecationWarning.

    Type checkers see only the new signature.

    Args:
        old: the deprecated keyword.
        new: the keyword that replaces it.
        since: the version that introduced the new keyword.
        removal: the version in which the old keyword becomes an error.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        name = function.__qualname__

        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            if old in kwargs:
                if new in kwargs:
                    raise TypeError(f"{name}() got {new!r} and its old name {old!r}")
                text = (
                    f"{name}({old}=) is deprecated since {since} and will be removed in {removal}: use {new}="
                )
                warnings.warn(text, DeprecationWarning, stacklevel=2)
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return call

    return decorate
