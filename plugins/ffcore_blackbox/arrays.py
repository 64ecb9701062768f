"""Conversion of tensors to NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor


def array(x: Tensor) -> np.ndarray[Any, Any]:
    """Return a copy as a NumPy array; bfloat16, which NumPy does not have, becomes float32."""
    numbers = x.detach().cpu()
    full = numbers.float() if numbers.dtype == torch.bfloat16 else numbers
    return full.numpy().copy()


def some(batches: Iterable[Tensor], rows: int) -> Tensor:
    """Return the first ``rows`` rows of several batches, on the CPU."""
    parts: list[Tensor] = []
    for batch in batches:
        parts.append(batch.detach().cpu())
        if sum(map(len, parts)) >= rows:
            break
    return torch.cat(parts)[:rows]
