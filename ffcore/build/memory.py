"""A limit on memory while a network is built: torch would end the process, or the system would."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from ffcore.reading import memory

_FACTORIES = (torch.empty, torch.zeros, torch.ones, torch.full, torch.rand, torch.randn)
"""Functions that make a tensor of the size in their first arguments."""


class Limited(TorchFunctionMode):
    """Within it, a new tensor that is larger than `ffcore.reading.memory` is refused before it is made."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        options = dict(kwargs or {})
        # tensors of other devices do not use this memory, and those of "meta" none
        if func in _FACTORIES and torch.device(options.get("device") or "cpu").type == "cpu":
            given = options.get("size", args)
            size = given[0] if given and isinstance(given[0], Sequence) else given
            if all(isinstance(side, int) for side in size):
                dtype = options.get("dtype") or torch.get_default_dtype()
                refuse(math.prod(size) * dtype.itemsize, f"a tensor of {' × '.join(map(str, size))} numbers")
        return func(*args, **options)


def size(module: nn.Module) -> int:
    """Returns the number of bytes of a module's parameters and buffers."""
    return sum(part.numel() * part.element_size() for part in (*module.parameters(), *module.buffers()))


def refuse(size: int, what: str) -> None:
    """Raise if a number of bytes is larger than the memory of this machine or its container.

    Raises:
        ValueError: it is.
    """
    if size > (most := memory()):
        raise ValueError(f"{what} needs {size / 2**30:.1f} GiB; this process can have {most / 2**30:.1f}")
