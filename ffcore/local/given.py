"""Checks of the samples and labels that a caller gives to a network. N samples; K classes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces.structure import shapes, tensors


def refuse_labels(y: Tensor, classes: int) -> None:
    """Raise if labels (N,) are not classes 0..K-1; N is not 0.

    Raises:
        UserError: with their range.
    """
    if not 0 <= int(y.min()) <= int(y.max()) < classes:
        given = f"{int(y.min())} to {int(y.max())}"
        raise UserError(f"y: classes run from {given}; they should be 0 to {classes - 1}")


def refuse_samples(x: Any, shape: Any) -> None:
    """Raise if samples (N, *shape) are not dense real tensors with the shape of the network.

    Raises:
        UserError: with what was given.
    """
    try:
        if torch.compiler.is_exporting():  # the number of samples has no value then
            return
        counts = {len(t) for t in tensors(x)}
    except TypeError as error:
        raise UserError(f"x: {error}") from error
    if any(t.is_complex() or t.layout != torch.strided for t in tensors(x)):
        raise UserError("x: should be dense real numbers, not complex or sparse ones")
    if len(counts) != 1 or shapes(x) != shape or not min(counts):
        count = min(counts, default=0)
        raise UserError(f"x: {count} samples of shape {shapes(x)}; the network was built for {shape}")
