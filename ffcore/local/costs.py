"""Costs of each block for one sample: of its body, and of the heads in its goodness and penalties.

A head is used to learn, and to predict only if the block's evidence counts. A network without its heads has
the costs of the bodies.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.interfaces import Out, Views
from ffcore.interfaces.modes import evaluating
from ffcore.local.block import LocalBlock, Takes
from ffcore.local.loss import PenaltyLoss
from ffcore.local.network import LocalNetwork
from ffcore.local.operations import OperationCounter

NEGLIGIBLE = 1_000_000
"""Multiplications of a head that take no time worth a message."""

_ROWS = 2


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a part of a block.

    Attributes:
        parameters: number of parameters, trainable or fixed.
        multiplications: in matrix products and convolutions of a forward pass of one sample, in all calls of
            the block. The blocks of a circuit are counted as in one of its steps.
        kept: bytes that autograd keeps for backward in the largest call, for one sample, without parameters.
            Closed forms of gradients keep less.
    """

    parameters: int
    multiplications: int
    kept: int


@dataclass(frozen=True, slots=True)
class BlockCost:
    """The costs of a block's body, and of its head: the parts of goodness and penalties with parameters."""

    body: Cost
    head: Cost


def costs(network: LocalNetwork) -> dict[str, BlockCost | None]:
    """Return the costs of every block by name, without those of readouts.

    None for a block whose body or head does not run on zeros.
    """
    return {block.name: _of_block(block, network) for block in network.blocks}


def large_heads(known: Mapping[str, BlockCost | None]) -> list[str]:
    """Return a message for each block whose head needs more than twice the multiplications of its body.

    Parameters say less: a pooled linear head on a first convolution has more of them than the convolution,
    and costs nothing beside it.
    """
    return [
        f"block {name}: its goodness and penalties have {cost.head.multiplications:,} multiplications for "
        f"each sample, its body {cost.body.multiplications:,}; smaller ones are faster"
        for name, cost in known.items()
        if cost is not None and cost.head.multiplications > max(2 * cost.body.multiplications, NEGLIGIBLE)
    ]


def _of_block(block: LocalBlock, network: LocalNetwork) -> BlockCost | None:
    bodies, heads = [], []
    for takes, calls in Counter(block.calls.values()).items():
        cost = _of_call(block, network, takes)
        if cost is None:
            return None
        bodies.append((cost.body, calls))
        heads.append((cost.head, calls))
    return BlockCost(_sum(bodies), _sum(heads))


def _sum(of: Sequence[tuple[Cost, int]]) -> Cost:
    """Return the cost of all calls: of each kind of call its cost and their number."""
    products = sum(cost.multiplications * calls for cost, calls in of)
    return Cost(of[0][0].parameters, products, max(cost.kept for cost, _ in of))


def _of_call(block: LocalBlock, network: LocalNetwork, takes: Takes) -> BlockCost | None:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    inputs = [torch.zeros(_ROWS, *shape, dtype=dtype, device=device) for shape, dtype in takes]
    y = torch.arange(_ROWS, device=device) % network.classes
    seen: dict[int, int] = {
        p.untyped_storage().data_ptr(): 0 for p in (*block.parameters(), *block.buffers())
    }
    try:
        with evaluating(block), torch.enable_grad():
            body = _Counting(seen)
            with body:
                made = block.body(*inputs)
            activity = made[0] if isinstance(made, tuple) else made
            handoff = block.handoff(activity) if block.loss is not None else activity
            head = _Counting(seen)
            with head:
                _run_head(
                    block,
                    Out(activity, handoff, None, tuple(inputs)),
                    Views(inputs[0], ("all",), (_ROWS,), y=y),
                )
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, ValueError, TypeError, LookupError, AttributeError):
        return None  # a body that needs other values than zeros, or a penalty that needs other views
    heads = [p for part in _heads(block) for p in part.parameters()]
    return BlockCost(
        body.cost(sum(p.numel() for p in block.body.parameters())),
        head.cost(sum(p.numel() for p in heads)),
    )


def _heads(block: LocalBlock) -> list[nn.Module]:
    """Return the parts of a block's goodness and loss that have parameters."""
    parts: list[nn.Module] = [] if block.goodness is None else [block.goodness]
    if isinstance(block.loss, PenaltyLoss):
        parts += block.loss.parts
    elif block.loss is not None:
        parts.append(block.loss)
    return [part for part in parts if next(part.parameters(), None) is not None]


def _run_head(block: LocalBlock, out: Out, views: Views) -> None:
    """Run the goodness, and the penalties with parameters."""
    if block.goodness is not None:
        out.goodness = block.judge(out.activity, views)
    if isinstance(block.loss, PenaltyLoss):
        heads = _heads(block)
        for penalty in block.loss.penalties.values():
            if penalty in heads:
                penalty(out, block, views)


class _Counting:
    """Counts multiplications, and the bytes that autograd keeps.

    Args:
        seen: sizes of the storages that have been counted, by address; shared by the parts of a block.
    """

    def __init__(self, seen: dict[int, int]) -> None:
        self._seen = seen
        self._before, self._bytes = sum(seen.values()), 0
        self._operations = OperationCounter()
        self._stack = ExitStack()
        self._kept: list[Tensor] = []  # alive until the end, so that no address is used twice

    def __enter__(self) -> None:
        hooks: Any = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda t: t)
        self._stack.enter_context(hooks)
        self._stack.enter_context(self._operations)

    def __exit__(self, *error: Any) -> None:
        self._stack.close()
        self._bytes = sum(self._seen.values()) - self._before

    def _keep(self, t: Tensor) -> Tensor:
        self._kept.append(t)
        self._seen.setdefault(t.untyped_storage().data_ptr(), t.untyped_storage().nbytes())
        return t

    def cost(self, parameters: int) -> Cost:
        """Return the cost of the part, for one sample."""
        return Cost(parameters, self._operations.multiplications // _ROWS, self._bytes // _ROWS)
