"""Channel-class ResNet-17, compared with backprop through the same network, and its data loading."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from measures import megabytes_kept
from turns import Times, alternate, loop

from ffcore.build.assemble import assemble
from ffcore.data.images import Split
from ffcore.data.loader import DeviceLoader
from ffcore.engine.module import ForwardOnly
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.schema import Recipe
from ffcore_std.augmentations import Flip, Shift

SHAPE, K, N = (3, 32, 32), 10, 32
LOCAL = {"objective": {"kind": "cross-entropy"}}
CONTESTANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "**local, channels that belong to classes**": (
        "channel-class",
        {**LOCAL, "goodness": {"kind": "channel-partition"}, "handoff": {"kind": "instance-norm"}},
    ),
    "local, channels that learn their classes": (
        "channel-class",
        {**LOCAL, "goodness": {"kind": "channel-assignment"}, "handoff": {"kind": "instance-norm"}},
    ),
    "backprop, the same norms": ("backprop", {"handoff": {"kind": "instance-norm"}}),
    "backprop, batch norm": ("backprop", {"handoff": {"kind": "batch-norm"}}),
}


def built(algorithm: str, block: dict[str, Any], widths: Sequence[int]) -> ForwardOnly:
    recipe = Recipe.model_validate(
        {
            "name": "bench",
            "data": {"kind": "digits", "validation": 0},
            "algorithm": {"kind": algorithm},
            "network": [{"kind": "resnet17", "widths": list(widths)}],
            "block": block,
            "optimizer": {"kind": "adamw"},
        }
    )
    module = assemble(recipe, SHAPE, K)
    module.configure_optimizers()
    return module


def batch(n: int = N) -> Batch:
    x, y = torch.rand(n, *SHAPE), torch.randint(K, (n,))
    return Batch(x, y, torch.arange(n), 0, n, BatchRNG(1, 0, 0, n, n))


def steps(widths: Sequence[int], rounds: int, threads: int = 2) -> dict[str, Times]:
    """Measure a step on a prepared batch of 32, all programs in one process."""
    modules = {name: built(*made, widths) for name, made in CONTESTANTS.items()}
    before, ready = torch.get_num_threads(), batch()
    torch.set_num_threads(threads)
    try:
        turns = {n: loop(lambda m=m: m.algorithm.learn(ready, m.network)) for n, m in modules.items()}
        return alternate(turns, rounds, 1)
    finally:
        torch.set_num_threads(before)


def kept(widths: Sequence[int]) -> dict[str, float]:
    """Returns the megabytes that autograd keeps at one time in such a step."""
    return {name: megabytes_kept(built(*made, widths), batch()) for name, made in CONTESTANTS.items()}


def crops(rounds: int, threads: int = 2) -> Times:
    """Measure a batch of 32 from the loader, cropped and mirrored."""
    random = np.random.default_rng(0)
    x = random.integers(256, size=(20_000, *SHAPE), dtype=np.uint8)
    split = Split(x, np.zeros(len(x), np.int64))
    loader = DeviceLoader(split, scale=1 / 255, batch_size=N, shuffle=True, mean=(0.5,) * 3, std=(0.25,) * 3)
    source, changes = iter(loader), (Shift(4), Flip())
    before = torch.get_num_threads()
    torch.set_num_threads(threads)

    def step() -> None:
        made, rng = next(source).x, BatchRNG(1, 0, 0, N, N)
        for change in changes:
            made = change(made, rng)

    try:
        return alternate({"crops": loop(step)}, rounds, 10)["crops"]
    finally:
        torch.set_num_threads(before)
