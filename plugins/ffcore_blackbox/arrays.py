"""Conversion of tensors to NumPy arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


def array(x: Tensor) -> np.ndarray[Any, Any]:
    """Return a copy as a NumPy array; bfloat16, which NumPy does not have, becomes float32."""
    numbers = x.detach().cpu()
    full = numbers.float() if numbers.dtype == torch.bfloat16 else numbers
    return full.numpy().copy()


def as_array(made: Any) -> np.ndarray[Any, Any]:
    """Return a copy of what a box or an estimator has returned: a tensor, an array or a sparse matrix."""
    if isinstance(made, Tensor):
        return array(made)
    return np.array(made.toarray() if hasattr(made, "toarray") else made)


def some(batches: Iterable[Sequence[Tensor]], rows: int) -> list[Tensor]:
    """Return the first ``rows`` rows of batches of one or more tensors, joined, on the CPU."""
    parts: list[Sequence[Tensor]] = []
    for batch in batches:
        parts.append([t.detach().cpu() for t in batch])
        if sum(len(part[0]) for part in parts) >= rows:
            break
    return [torch.cat(each)[:rows] for each in zip(*parts, strict=True)]
