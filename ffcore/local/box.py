"""The stage of a black box in a network. R rows."""

from __future__ import annotations

import inspect
import math
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from threading import get_ident
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from ffcore.blame import reported
from ffcore.errors import FOREIGN, BoxError, RunError, UserError, a
from ffcore.interfaces import BlackBox, Context, dense
from ffcore.local.box_use import UNDER_WAY, Caller, counted_as
from ffcore.local.current import current
from ffcore.options import ByName
from ffcore.parts import part
from ffcore.private import version

Fit = Literal["start", "finished"] | int
"""When a box is fitted again: never, after the blocks before it have finished learning, or at an epoch."""


class FunctionBox(BlackBox):
    """A Python function from rows (R, *shape) to rows, as a black box.

    Args:
        function: takes a tensor, and returns a tensor or an array with as many rows.
    """

    def __init__(self, function: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Any:
        """Return the function's result."""
        return self.function(x)


class ReachedError(Exception):
    """Ends a pass at a black box and carries the input of the box (R, *shape)."""

    def __init__(self, x: Tensor) -> None:
        super().__init__()
        self.x = x


class BoxStage(nn.Module, Caller):
    """Calls a black box without a graph and checks its output.

    Args:
        box: the box, its kind with options, or a function of rows.
        name: its name in the recipe.
        where: name and path in the recipe, for messages; None: the name.
        fit: when the box is fitted again, after the fit at the start of the run.
        movable: whether every rank may have its own copy; ignored if the box is not movable.
        overlap: whether a call runs in a thread while the blocks after the box learn from the batch before;
            see `ffcore.local.overlap`. The box should not draw from global random generators.

    Attributes:
        use: what the calls have cost, by purpose.
    """

    fits: Tensor
    settled: Tensor

    def __init__(
        self,
        box: BlackBox | Callable[[Tensor], Any] | ByName,
        name: str = "black box",
        where: str | None = None,
        fit: Fit = "start",
        movable: bool = True,
        overlap: bool = False,
    ) -> None:
        super().__init__()
        self.name = name
        self.where = where if where is not None else name
        self.box: BlackBox = box if isinstance(box, BlackBox) else part("blackbox", box, self.where)
        self.fit_at = fit
        self.movable = movable and self.box.movable
        self.overlap = overlap
        self.shape: tuple[int, ...] | None = None
        self.placed = False
        self.use = {}
        # buffers, so that a resumed run does not fit the box again
        self.register_buffer("fits", torch.zeros((), dtype=torch.int64))  # number of fits so far
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))  # whether no fit will follow
        self._catching = False

    def place(self, context: Context) -> None:
        """Set the box up. Only the first call has an effect.

        Raises:
            UserError: when the box refuses the shape of its input.
        """
        if self.placed:
            return
        self.placed = True
        self._check_attributes()
        task = context.task
        if self.box.reads_targets and task is not None and task.target == "none":
            raise UserError(f"{self.where}: it is fitted to targets, but the task has none; use another box")
        try:
            self.box.setup(context)
        except ValueError as error:
            raise UserError(f"{self.where}: {error}") from error

    def _check_attributes(self) -> None:
        limit: Any = self.box.limit
        if limit is not None and (type(limit) is not int or limit < 1):
            raise UserError(f"{self.where}: limit is {limit!r}; it should be None or an integer from 1")
        for name in ("movable", "reads_targets"):
            value = getattr(self.box, name)
            if type(value) is not bool:
                raise UserError(f"{self.where}: {name} is {value!r}; it should be True or False")

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        """Run the box in calls of at most ``box.limit`` rows, (R, *shape) → (R, *shape').

        Raises:
            BoxError: when the box raises any exception or its output is invalid.
        """
        rows = dense(x).detach()
        if self._catching:
            raise ReachedError(rows)
        here = current()
        if here is not None and here.plan and self.box.adapts and not self.fits:
            raise UserError(
                f"{self.where}: it has not been fitted; in a loop of your own call "
                "net.fit_boxes(batches) before the first batch"
            )
        if here is not None and here.entering is not None:
            here.entering()
        limit = self.box.limit
        if limit is None or len(rows) <= limit:
            made = self._made(rows)
        else:
            # Each part is copied: a box may return the same memory from every call.
            made = torch.cat([self._made(part).clone() for part in torch.split(rows, limit)])
        if here is not None and here.views.learns and self.box.observes:
            with self._errors_of("its observe"):
                self.box.observe(rows[: here.views.samples], here.views.y)
        return made

    @property
    def adapts(self) -> bool:
        """Whether the box is fitted."""
        return self.box.adapts

    def fit_if_due(self, epoch: int, finished: bool, batches: Callable[[], Iterable[Any]]) -> bool:
        """Fit the box if a fit is due, at the beginning of an epoch; return whether it was.

        Args:
            epoch: number of epochs learned so far.
            finished: whether all blocks before the box have stopped learning.
            batches: returns a new iterable of batches, as `BlackBox.fit` reads them, with each call.

        Raises:
            BoxError: when the box raises any exception.
        """
        again = finished if self.fit_at == "finished" else self.fit_at != "start" and epoch >= self.fit_at
        if not self.adapts or self.settled or (self.fits > 0 and not again):
            return False
        began, known, rows = time.perf_counter(), dict(self.box.counts), 0

        def counted() -> Iterator[Any]:
            nonlocal rows
            for batch in batches():
                rows += len(batch[0] if self.box.reads_targets else batch)
                yield batch

        with self._errors_of("its fit"), torch.no_grad(), counted_as("fitting"):
            self.box.fit(counted())
        self.count(rows, began, self._counted_since(known), "fitting")
        self.fits += 1
        self.settled.fill_(again or self.fit_at == "start")
        return True

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Within the context, a pass that reaches the box ends with `ReachedError`."""
        self._catching = True
        try:
            yield
        finally:
            self._catching = False

    def _made(self, rows: Tensor) -> Tensor:
        before, known = version(rows), dict(self.box.counts)
        thread = get_ident()
        UNDER_WAY.calls[thread] = began = time.perf_counter()
        try:
            with self._errors_of("its forward"):
                raw = self.box(rows)
        finally:
            del UNDER_WAY.calls[thread]
        self.count(len(rows), began, self._counted_since(known))
        if version(rows) != before:  # observers and other stages may hold the same tensor
            raise BoxError(f"{self.where}: it has changed its input in place; it should work on a copy")
        try:
            made = _dense(raw)
        except ValueError as error:
            raise BoxError(f"{self.where}: {error}") from None
        if made.dim() == 0 or len(made) != len(rows):
            raise BoxError(
                f"{self.where}: it returned shape {tuple(made.shape)} for {len(rows)} rows; it should return "
                "one row for each"
            )
        if made.dim() == 1:
            made = made.unsqueeze(1)  # one number a row is one feature
        if self.shape is None:
            if len(made) and not made.numel():
                raise BoxError(f"{self.where}: it returned shape {tuple(made.shape)}: rows without values")
            self.shape = tuple(made.shape[1:])
        elif made.shape[1:] != self.shape:
            raise BoxError(
                f"{self.where}: it returned samples of shape {tuple(made.shape[1:])}, earlier ones had "
                f"{self.shape}; the shape should not change"
            )
        output = made.to(rows.device, _dtype(rows, made))
        # On a GPU the check would wait for the device; there a non-finite output shows in the next loss.
        if output.device.type == "cpu" and not _finite(output):
            raise BoxError(f"{self.where}: its output has non-finite values")
        return output

    def _counted_since(self, known: Mapping[str, int]) -> Mapping[str, int]:
        now = self.box.counts
        return Counter(now) - Counter(known) if now else {}

    def close(self) -> None:
        """Close the box: it may hold processes and files."""
        self.box.close()

    @contextmanager
    def _errors_of(self, what: str) -> Iterator[None]:
        """Turn any exception into a BoxError of one line with the box's name."""
        try:
            yield
        except (RunError, UserError) as error:
            raise BoxError(f"{self.where}: {error}") from error
        except FOREIGN as error:
            raise BoxError(f"{self.where}: {what} raised {reported(error)}") from error


def _dtype(rows: Tensor, made: Tensor) -> torch.dtype:
    """Return the dtype of an output: that of the input; of tokens int64, or the default for real numbers."""
    if rows.is_floating_point():
        return rows.dtype
    return torch.get_default_dtype() if made.is_floating_point() else torch.int64


def _finite(t: Tensor) -> bool:
    """Return whether all elements are finite. The sum takes a tenth of the time, but it may overflow."""
    return math.isfinite(float(t.sum())) or bool(t.isfinite().all())


def _dense(raw: Any) -> Tensor:
    """Return the output of a box as a dense tensor of real numbers; raises ValueError if it cannot be one."""
    if raw is None:
        raise ValueError("it returned None; it should return a tensor or an array")
    if hasattr(raw, "toarray"):  # a sparse matrix of SciPy
        raw = raw.toarray()
    if isinstance(raw, np.ndarray):
        if raw.dtype.kind not in "fiub":  # float, signed or unsigned integer, boolean
            raise ValueError(f"it returned numbers of type {raw.dtype}; they should be real")
        raw = torch.from_numpy(np.array(raw))  # a copy: a driver may reuse its memory
    if not isinstance(raw, Tensor):
        if inspect.iscoroutine(raw):
            raw.close()  # Python would warn that it was never awaited
        raise ValueError(f"it returned {a(type(raw).__name__)}; it should return a tensor or an array")
    if raw.is_meta:
        raise ValueError("it returned a tensor on the device meta, without values")
    if raw.is_complex():
        raise ValueError(f"it returned numbers of type {raw.dtype}; they should be real")
    return (raw.to_dense() if raw.layout != torch.strided else raw).detach()
