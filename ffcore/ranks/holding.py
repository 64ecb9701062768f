"""Frees parameters and buffers that another rank holds, and allocates them again.

A tensor that is not held is a meta tensor: it has a shape and no memory. It stays the same Python object, so
modules and optimisers keep referring to it. On a CPU some operations of torch read it without an error and
return garbage; therefore `guarded` modules refuse to run.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import swap_tensors


def free(tensors: Iterable[Tensor]) -> None:
    """Free the memory of parameters and buffers.

    >>> linear = nn.Linear(3, 2)
    >>> free(linear.parameters())
    >>> linear.weight.shape, linear.weight.device.type
    (torch.Size([2, 3]), 'meta')
    """
    for t in tensors:
        _exchange(t, torch.empty_like(t, device="meta"))


def allocate(tensors: Iterable[Tensor], device: torch.device) -> None:
    """Allocate the memory of tensors that are not held; their values are undefined."""
    for t in tensors:
        if t.is_meta:
            _exchange(t, torch.empty_like(t, device=device))


def guarded(module: nn.Module, rank: int, mine: Collection[nn.Module] = ()) -> list[Any]:
    """Let a module and its parts raise when they are called; return the handles that end this.

    Circuits call bodies of blocks too, not only blocks.

    Args:
        module: a stage of the network that is not held.
        rank: the rank that holds it, for the message.
        mine: parts that it shares with stages that are held.
    """

    def refuse(part: nn.Module, args: Any) -> None:
        raise RuntimeError(
            f"rank {rank} of the pipeline holds this {type(part).__name__}; with hold: all "
            "in trainer.strategy every rank holds all blocks"
        )

    return [part.register_forward_pre_hook(refuse) for part in module.modules() if part not in mine]


def held(tensors: Iterable[Tensor]) -> int:
    """Return the number of bytes of the tensors that are held."""
    return sum(t.numel() * t.element_size() for t in tensors if not t.is_meta)


def _exchange(t: Tensor, other: Tensor) -> None:
    if isinstance(t, nn.Parameter):
        other = nn.Parameter(other, requires_grad=t.requires_grad)
    t.grad = None
    kind, attributes = type(t), dict(vars(t))
    swap_tensors(t, other)  # type: ignore[no-untyped-call]
    t.__class__ = kind  # swapped too, as are the attributes
    vars(t).clear()
    vars(t).update(attributes)
