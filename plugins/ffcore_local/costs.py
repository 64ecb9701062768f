"""Compares the cost of heads with that of the blocks that they teach.

Parameters say little: a linear head on pooled features may have more than a first convolution, which uses
each of its weights at every position. Multiplications of one sample are compared instead.
"""

from __future__ import annotations

import warnings

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ffcore.interfaces import Network

NEGLIGIBLE = 100_000
"""Multiplications for one sample of a head that is never reported: it costs less than the calls around it."""


def multiplications(module: nn.Module, shape: tuple[int, ...]) -> int:
    """Return the multiplications of matrix products and convolutions for one sample of a shape.

    Running statistics do not change.
    """
    parameter = next(module.parameters(), None)
    if parameter is None:
        return 0
    training = {part: part.training for part in module.modules()}
    x = torch.zeros(1, *shape, dtype=parameter.dtype, device=parameter.device)
    counter = FlopCounterMode(display=False)
    module.eval()
    try:
        with torch.no_grad(), counter:
            module(x)
    finally:
        # part by part: a frozen part may have been in evaluation mode
        for part, mode in training.items():
            part.training = mode
    # a multiplication and an addition are two operations
    return counter.get_total_flops() // 2


def warn_of_large_heads(net: Network) -> None:
    """Warn once about the blocks whose goodness needs more than twice the multiplications of their body.

    The factor leaves out 1×1 convolutions to the classes on a first convolution of one channel, which cost as
    much as it does.
    """
    large = []
    for block in net.blocks:
        info = block.info
        if block.goodness is None or info is None or not any(True for _ in block.goodness.parameters()):
            continue
        try:
            body = multiplications(block.body, info.in_shape)
            head = multiplications(block.goodness, info.shape)
        except (TypeError, ValueError, RuntimeError):
            # A body with several inputs or with integer inputs: its cost is not known, and no error.
            continue
        if head > max(2 * body, NEGLIGIBLE) and body > 0:
            large.append(
                f"block {block.name}: its head has {head:,} multiplications for each sample, "
                f"its body {body:,}"
            )
    if large:
        warnings.warn(
            f"{'; '.join(large)}; a smaller head, or more pooling before it, is faster", stacklevel=2
        )
