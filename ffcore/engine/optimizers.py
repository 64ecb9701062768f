"""The one optimiser that Lightning sees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch


class BlockOptimizers(torch.optim.Optimizer):
    """Holds every block's optimiser; its own ``step`` only marks that a batch has been learned.

    Lightning counts an optimiser's steps as ``global_step``; with one container that is the number of
    batches, whatever the number of blocks. State is kept by the block's name.

    Attributes:
        heard: whether anybody's ``on_before_optimizer_step`` wants to be called.

    Args:
        optimizers: the blocks' optimisers by name; blocks step them themselves.
    """

    def __init__(self, optimizers: Mapping[str, torch.optim.Optimizer]) -> None:
        self.optimizers = dict(optimizers)
        self.heard = True
        super().__init__([{"params": group["params"]} for group in self._groups()], {})
        self.param_groups = self._groups()

    def _groups(self) -> list[dict[str, Any]]:
        """The blocks' own groups, so that whoever sets a learning rate here reaches them."""
        return [group for optimizer in self.optimizers.values() for group in optimizer.param_groups]

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Mark a batch; the blocks have stepped already. The closure is Lightning's and calls its hooks."""
        if closure is not None and self.heard:
            closure()

    step.hooked = True  # type: ignore[attr-defined]  # so torch does not wrap it in its profiler, each step

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Drop all gradients."""
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """The blocks' states by name."""
        return {"blocks": {name: o.state_dict() for name, o in self.optimizers.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give every block its state back.

        Raises:
            ValueError: when the state belongs to other blocks.
        """
        blocks = state_dict["blocks"]
        if blocks.keys() != self.optimizers.keys():
            raise ValueError(f"optimiser state of blocks {sorted(blocks)}, not of {sorted(self.optimizers)}")
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(blocks[name])
        self.param_groups = self._groups()  # torch makes new ones
