"""The observer that makes blocks learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from ffcore.interfaces import Block, Input, Out, Views, ranks
from ffcore.local.block import LocalBlock
from ffcore.local.passing import current

Record = Callable[[Block, Mapping[str, Tensor], int], None]
"""Told a block, the detached terms of its loss, and the number of samples they are a mean over."""


class Updater:
    """Collects the blocks of a window and lets its rule learn when the window's last block has run.

    This happens before any later block runs, so that a block's activations are gone when the next begins.

    Args:
        record: told the terms of each block's loss.
    """

    def __init__(self, record: Record | None = None) -> None:
        self.record = record
        self._window: list[tuple[Block, tuple[Input, ...], Out]] = []

    def __call__(self, block: Block, inputs: tuple[Input, ...], out: Out, views: Views) -> None:
        """See `ffcore.interfaces.Observer`."""
        here = current()
        assert here is not None, "observers are called within a pass"
        place = here.plan.get(block)
        if place is None:
            return
        self._window.append((block, inputs, out))
        if place.last:
            window, self._window = self._window, []
            assert isinstance(block, LocalBlock)
            terms = block.rule.learn(window, views)
            if self.record is not None and not ranks().idle:
                for (seen, _, _), of_block in zip(window, terms, strict=True):
                    self.record(seen, of_block, views.samples)

    def close(self) -> None:
        """End of a pass: every window must have been completed.

        Raises:
            RuntimeError: when a window's last block never ran, so that its blocks did not learn.
        """
        if self._window:
            names = ", ".join(getattr(block, "name", "?") for block, _, _ in self._window)
            self._window = []
            raise RuntimeError(f"the blocks {names} ran, but the last block of their window did not")
