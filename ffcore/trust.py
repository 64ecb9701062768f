"""Whether pickles inside checkpoints may be opened: opening one can run any code.

torch reads checkpoints without pickles. Black boxes that are objects of another library (scikit-learn's) keep
one as bytes inside, which are opened only where somebody has said that they trust its maker.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ffcore.errors import UserError

_trusting: ContextVar[bool] = ContextVar("ffcore_trust", default=False)


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """In here pickles are opened, if ``trust``."""
    token = _trusting.set(trust or _trusting.get())
    try:
        yield
    finally:
        _trusting.reset(token)


def trust() -> None:
    """From here on pickles are opened."""
    _trusting.set(True)


def trusted() -> bool:
    """Whether somebody has said that pickles may be opened."""
    return _trusting.get()


def refuse_untrusted(what: str) -> None:
    """Raise unless somebody trusts.

    Raises:
        UserError: how to say so.
    """
    if not trusted():
        raise UserError(
            f"{what} is a pickle inside the checkpoint, and opening one can run any code: if you trust its "
            "maker, say ffcore --trust VERB …, or trust=True from Python"
        )
