"""What a module costs that a run trains: its cost sheet, and the multiplications of its steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from ffcore.build.cost_sheet import Counts, cost_sheet, refused
from ffcore.build.form import Form
from ffcore.engine.module import ForwardOnly
from ffcore.errors import FOREIGN
from ffcore.interfaces.structure import mapped
from ffcore.local import BlockOptimizers, block_optimizers
from ffcore.local.cost_sheet import CostSheet


def of_module(module: ForwardOnly, batch_size: int, form: Form) -> CostSheet:
    """Return the cost sheet of a module that is not trained yet.

    Args:
        module: the module; the optimisers that it would make are counted.
        batch_size: number of samples of a batch.
        form: form of the samples.
    """
    return cost_sheet(module.net, batch_size, _own_optimizers(module), example=_random(form))


def products(module: ForwardOnly, form: Form, windows: Sequence[range]) -> int | None:
    """Return the multiplications to learn one sample while these windows learn; None if not counted."""
    counts = Counts()
    try:
        if refused(module.network.learners.values()) is None:
            counts.count(module.net, _own_optimizers(module), _random(form), windows)
    except FOREIGN:  # the sheet has the reason
        return None
    return None if counts.learn is None else sum(counts.learn.values())


def _own_optimizers(module: ForwardOnly) -> BlockOptimizers:
    made = module.make_optimizers
    if isinstance(made, BlockOptimizers):
        return made
    return block_optimizers(module.network, made, accumulate=module.accumulate, **module.options)


def _random(form: Form) -> Any:
    """Return samples of random numbers, and of the form's own integers."""
    chance = torch.Generator().manual_seed(0)
    return mapped(
        form.example(),
        lambda t: torch.rand(t.shape, generator=chance) if t.is_floating_point() else t,
    )
