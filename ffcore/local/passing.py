"""A pass through the network: what the blocks that run in it can see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from types import TracebackType
from typing import Literal, NamedTuple

from ffcore.interfaces import Block, Input, Observer, Out, Views

_current: ContextVar[Pass | None] = ContextVar("ffcore_pass", default=None)


Begins = Literal["inputs", "activity", "goodness", "loss"]


class Place(NamedTuple):
    """A learning block's place: the window that it learns in, and whether it opens or closes the window.

    ``begins`` says where the graph of its loss has to begin, since closed forms do what lies before: at the
    inputs (no closed form), the activity (the body has one), the goodness (it has one too), or not before
    the loss is known (so has the objective: no graph at all).
    """

    window: int
    first: bool
    last: bool
    begins: Begins = "inputs"


class Pass:
    """Context in which blocks run: who observes them and which of them learn.

    Args:
        views: what goes through.
        observers: called after each block, in order.
        plan: places of the blocks that learn; all others are frozen.
        wants_goodness: whether blocks that do not learn work out their goodness too.
    """

    __slots__ = ("_places", "_token", "observers", "plan", "views", "wants_goodness", "window")

    def __init__(
        self,
        views: Views,
        observers: Sequence[Observer] = (),
        plan: Mapping[Block, Place] | None = None,
        wants_goodness: bool = False,
    ) -> None:
        self.views = views
        self.observers = tuple(observers)
        self.plan = plan or {}
        self.wants_goodness = wants_goodness
        self.window: int | None = None
        self._places: dict[Block, int] = {}

    def __enter__(self) -> Pass:
        self.views.upstream.clear()
        self._token = _current.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        _current.reset(self._token)

    def show(self, block: Block, inputs: tuple[Input, ...], out: Out) -> None:
        """Let everybody see what a block made."""
        out.upstream = tuple(self.views.upstream)
        for observer in self.observers:
            observer(block, inputs, out, self.views)
        if out.goodness is None:
            return
        upstream = self.views.upstream
        place = self._places.setdefault(block, len(upstream))
        upstream[place : place + 1] = [out.goodness.detach()]  # in its own place, or after the last


def current() -> Pass | None:
    """The pass that is under way here, or None."""
    return _current.get()
