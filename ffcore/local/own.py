"""Whether a closed form may stand in for autograd."""

from __future__ import annotations


def belongs(part: object, form: str) -> bool:
    """Whether a part's closed form is of its own ``forward``, not of one that a subclass has replaced.

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
