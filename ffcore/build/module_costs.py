"""What a module costs that a run trains: its cost sheet, and the multiplications of its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ffcore.build.copied import all_windows
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


def products(
    module: ForwardOnly, form: Form, windows: Sequence[range], sheet: Mapping[str, Any]
) -> tuple[int, int] | None:
    """Return the multiplications of one sample while these windows learn; None if not counted.

    Those of the cost sheet are taken where it has counted the same windows.

    Args:
        module: the module.
        form: form of the samples.
        windows: which learn.
        sheet: the cost sheet of the module, as in ``results.json``.

    Returns:
        Those of learning, and those of filling the cache of the schedule: 0 without one.
    """
    schedule = module.schedule
    if not (schedule.cache or schedule.adaptive) and list(windows) == all_windows(module.net):
        return None if sheet["learn"] is None else (sheet["learn"], 0)
    counts = Counts()
    try:
        if refused(module.network.learners.values()) is None:
            counts.count(module.net, _own_optimizers(module), _random(form), windows)
    except FOREIGN:  # the sheet has the reason
        return None
    return None if counts.learn is None else (sum(counts.learn.values()), counts.cached)


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
