"""Permission to open pickles inside checkpoints. Opening a pickle can run any code.

ffcore loads checkpoints in torch's ``weights_only`` mode, which refuses pickled objects. A black box that
wraps an object of another library (scikit-learn's) stores a pickle as bytes. It is opened only if the user
has stated that they trust its author.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from ffcore.errors import UserError

_trusting: ContextVar[bool] = ContextVar("ffcore_trust", default=False)


@contextmanager
def trusting(trust: bool = True) -> Iterator[None]:
    """Allow pickles within the context, if ``trust``."""
    token = _trusting.set(trust or _trusting.get())  # an inner context cannot withdraw the permission
    try:
        yield
    finally:
        _trusting.reset(token)


def trust() -> None:
    """Allow pickles from now on."""
    _trusting.set(True)


def trusted() -> bool:
    """Return whether pickles may be opened."""
    return _trusting.get()


def refuse_untrusted(what: str) -> None:
    """Raise unless pickles are allowed.

    Raises:
        UserError: with the way to allow them.
    """
    if not trusted():
        raise UserError(
            f"{what} is a pickle inside the checkpoint, and opening a pickle can run any code: if you trust "
            "its author, use ffcore --trust VERB …, trust=True from Python, or for load_state_dict "
            "`with trusting():`, from ffcore.trust"
        )
