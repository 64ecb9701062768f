"""Whether ranks that should have the same parameters still do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn

from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, everywhere

_WORDS = {8: torch.int64, 4: torch.int32, 2: torch.int16, 1: torch.int8}


class Drift(L.Callback):
    """Compares the parameters of all ranks every so many steps, bit by bit: a checksum of each block.

    Args:
        every: steps between two comparisons.
    """

    def __init__(self, every: int) -> None:
        self.every = every

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Compare.

        Raises:
            RunError: on all ranks: which block has drifted apart.
        """
        assert isinstance(pl_module, ForwardOnly)
        group = pl_module.distribution.learning
        if group.world == 1 or trainer.global_step % self.every:
            return
        learners = pl_module.network.learners
        every = group.objects(checksums(list(learners.values())).tolist())
        for rank, sums in enumerate(every):
            for name, mine, first in zip(learners, sums, every[0], strict=True):
                if mine != first:
                    raise everywhere(
                        RunError(
                            f"ranks have drifted apart: after step {trainer.global_step} block {name} has "
                            f"other parameters on rank {rank} than on rank 0"
                        )
                    )


def checksums(blocks: Sequence[nn.Module]) -> Tensor:
    """(L,) int64: a number of each block that changes with any one bit of its parameters."""
    device = next((p.device for block in blocks for p in block.parameters()), None)
    return torch.stack([_checksum(list(block.parameters()), device) for block in blocks]).cpu()


def _checksum(parameters: Sequence[Tensor], device: torch.device | None) -> Tensor:
    total = torch.zeros((), dtype=torch.int64, device=device)
    for number, parameter in enumerate(parameters, 1):
        bits = parameter.detach().contiguous().view(_WORDS[parameter.element_size()])
        total += (2 * number - 1) * bits.sum(dtype=torch.int64)  # odd: the highest bit is not shifted out
    return total
