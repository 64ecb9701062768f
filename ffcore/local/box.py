"""A black box in its place between blocks."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ffcore.errors import RunError, UserError, typed
from ffcore.interfaces import BlackBox, Context, dense
from ffcore.private import version

Fit = Literal["start", "finished"] | int
"""When a box is fitted again: never, when no block before it learns any more, or after so many epochs."""


class FunctionBox(BlackBox):
    """A Python function from rows (R, *shape) to rows, as a black box.

    Args:
        function: takes a tensor, and returns a tensor or an array with as many rows.
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        """(R, *shape) → whatever the function makes of it."""
        return self.function(x)


class ReachedError(Exception):
    """A pass has come to a box that only wants to see its input."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


class BoxStage(nn.Module):
    """Calls a box without a graph, and makes sure of what comes back.

    Args:
        box: the box.
        name: its name in the recipe.
        where: name and place in the recipe, for messages; None: the name.
        fit: when it is fitted again, after it has been when the run began.
        movable: whether every rank may have one of its own, if the box itself does not object.
    """

    fits: Tensor
    settled: Tensor

    def __init__(
        self,
        box: BlackBox,
        name: str = "black box",
        where: str | None = None,
        fit: Fit = "start",
        movable: bool = True,
    ) -> None:
        super().__init__()
        self.box = box
        self.name = name
        self.where = where if where is not None else name
        self.fit_at = fit
        self.movable = movable and box.movable
        self.shape: tuple[int, ...] | None = None
        self.placed = False
        self.register_buffer("fits", torch.zeros((), dtype=torch.int64))  # how often it has been fitted
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))  # never again
        self._catching = False

    def place(self, context: Context) -> None:
        """Set the box up, the first time.

        Raises:
            UserError: when the box does not fit its place.
        """
        if self.placed:
            return
        self.placed = True
        try:
            self.box.setup(context)
        except ValueError as error:
            raise UserError(f"{self.where}: {error}") from error

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape').

        Raises:
            RunError: in one line, whatever the box has done.
        """
        rows = dense(x).detach()
        if self._catching:
            raise ReachedError(rows)
        limit = self.box.limit
        if limit is None or len(rows) <= limit:
            return self._made(rows)
        # copied one by one: a box may answer in the same memory every time
        return torch.cat([self._made(part).clone() for part in torch.split(rows, limit)])

    @property
    def adapts(self) -> bool:
        """Whether there is anything to fit."""
        return type(self.box).fit is not BlackBox.fit

    def fit_if_due(self, epoch: int, finished: bool, batches: Callable[[], Iterable[Tensor]]) -> bool:
        """Let the box adapt to inputs if it is time to, at the beginning of an epoch; whether it was.

        Args:
            epoch: how many have been learned.
            finished: whether no block before the box learns any more.
            batches: of inputs, anew.

        Raises:
            RunError: in one line, whatever the box has done.
        """
        again = finished if self.fit_at == "finished" else self.fit_at != "start" and epoch >= self.fit_at
        if not self.adapts or self.settled or (self.fits > 0 and not again):
            return False
        with self._told("to fit"), torch.no_grad():
            self.box.fit(batches())
        self.fits += 1
        self.settled.fill_(again or self.fit_at == "start")
        return True

    @contextmanager
    def catching(self) -> Iterator[None]:
        """In here a pass that comes to the box ends with `ReachedError`."""
        self._catching = True
        try:
            yield
        finally:
            self._catching = False

    def _made(self, rows: Tensor) -> Tensor:
        before = version(rows)
        with self._told("its forward"):
            raw = self.box(rows)
        if version(rows) != before:  # others hold them too
            raise RunError(f"{self.where}: it has changed its input in place; it should work on a copy")
        try:
            made = _dense(raw)
        except ValueError as error:
            raise RunError(f"{self.where}: {error}") from None
        if made.dim() == 0 or len(made) != len(rows):
            raise RunError(
                f"{self.where}: {len(rows)} rows went in and {tuple(made.shape)} came out; each should "
                "become one row"
            )
        if self.shape is None:
            self.shape = tuple(made.shape[1:])
        elif made.shape[1:] != self.shape:
            raise RunError(
                f"{self.where}: samples of shape {tuple(made.shape[1:])} came out, earlier ones had "
                f"{self.shape}; it should always be the same"
            )
        answer = made.to(rows)
        # a device is not waited for: what is no number there shows in the next loss
        if answer.device.type == "cpu" and not _finite(answer):
            raise RunError(f"{self.where}: what came out has numbers that are not finite")
        return answer

    @contextmanager
    def _told(self, what: str) -> Iterator[None]:
        """Put whatever happens into one line with the box's name."""
        try:
            yield
        except (RunError, UserError) as error:
            raise RunError(f"{self.where}: {error}") from error
        except Exception as error:
            raise RunError(f"{self.where}: {what} raised {typed(error, 300)}") from error


def _finite(t: Tensor) -> bool:
    """Whether all numbers are; a sum says so in a tenth of the time, unless it overflows."""
    return math.isfinite(float(t.sum())) or bool(t.isfinite().all())


def _dense(raw: Any) -> Tensor:
    """A dense tensor of real numbers."""
    if raw is None:
        raise ValueError("nothing came out")
    if hasattr(raw, "toarray"):  # SciPy's sparse ones
        raw = raw.toarray()
    if isinstance(raw, np.ndarray):
        if raw.dtype.kind not in "fiub":
            raise ValueError(f"numbers of type {raw.dtype} came out; they should be real")
        raw = torch.from_numpy(np.array(raw))  # a copy: a driver may use its memory again
    if not isinstance(raw, Tensor):
        raise ValueError(f"a {type(raw).__name__} came out; it should be a tensor or an array")
    if raw.is_complex():
        raise ValueError(f"numbers of type {raw.dtype} came out; they should be real")
    return (raw.to_dense() if raw.layout != torch.strided else raw).detach()
