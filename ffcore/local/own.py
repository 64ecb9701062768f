"""Checks whether a closed form of a gradient belongs to the ``forward`` that is used."""

from __future__ import annotations


def belongs(part: object, form: str) -> bool:
    """Return whether a part's closed form is valid for its ``forward``.

    It is not if a subclass has replaced ``forward`` and inherits the closed form.

    >>> class Parent:
    ...     def forward(self): ...
    ...     def vjp(self): ...
    >>> class Child(Parent):
    ...     def forward(self): ...
    >>> belongs(Parent(), "vjp"), belongs(Child(), "vjp")
    (True, False)

    Args:
        part: a body, a goodness or an objective.
        form: name of the method.
    """
    for known in type(part).__mro__:
        if form in vars(known):
            return True
        if "forward" in vars(known):
            return False
    return False
