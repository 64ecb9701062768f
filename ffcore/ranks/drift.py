"""Checks that ranks still have the same parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, everywhere

# Integer types by their number of bytes.
_INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


class Drift(L.Callback):
    """Compares checksums of the parameters of each block between all ranks.

    Args:
        every: steps between two comparisons.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare the checksums.

        Raises:
            RunError: parameters differ; raised on all ranks, with the name of the block.
        """
        assert isinstance(pl_module, ForwardOnly)
        group = pl_module.distribution.learning
        if group.world == 1 or trainer.global_step % self.every:
            return
        owns = pl_module.distribution.owns
        learners = {name: b for name, b in pl_module.network.learners.items() if owns(name)}
        all_sums = group.objects(checksums(list(learners.values())).tolist())
        for rank, sums in enumerate(all_sums):
            for name, own, first in zip(learners, sums, all_sums[0], strict=True):
                if own != first:
                    raise everywhere(
                        RunError(
                            f"the ranks have different parameters: after step {trainer.global_step} "
                            f"block {name} of rank {rank} differs from that of rank 0"
                        )
                    )


def checksums(blocks: Sequence[nn.Module]) -> Tensor:
    """Returns a checksum per block, (L,) int64, that changes with any single bit of its parameters."""
    device = next((p.device for block in blocks for p in block.parameters()), None)
    return torch.stack([_checksum(list(block.parameters()), device) for block in blocks]).cpu()


def _checksum(parameters: Sequence[Tensor], device: torch.device | None) -> Tensor:
    total = torch.zeros((), dtype=torch.int64, device=device)
    for number, parameter in enumerate(parameters, 1):
        bits = parameter.detach().contiguous().view(_INTEGERS[parameter.element_size()])
        # An odd factor is invertible modulo 2⁶⁴: with an even one, a change of the highest bit would vanish.
        total += (2 * number - 1) * bits.sum(dtype=torch.int64)
    return total
