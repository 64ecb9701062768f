"""How public names go: the policy is in docs/api.md.

A function or a class is marked with PEP 702's decorator, which type checkers know as well. They read the
message only if it is a literal, so it is written out, in the form that `tests/test_deprecation.py` checks::

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
    """A decorator for functions: the keyword `old` is taken for `new`, with a DeprecationWarning.

    Type checkers see the new signature alone.

    Args:
        old: the keyword that goes.
        new: the keyword that takes its place.
        since: the version that brought the new one.
        removal: the version in which the old one is an error.
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
