"""Checks of the samples that a caller gives to a network. N samples."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from ffcore.errors import RunError, UserError, first_line
from ffcore.interfaces.structure import shapes, tensors


def refuse_samples(x: Any, shape: Any, floats: bool = False) -> None:
    """Raise if samples (N, *shape) are not dense real tensors with the network's shape, or not ``floats``.

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
    if floats and (kinds := {str(t.dtype) for t in tensors(x) if not t.is_floating_point()}):
        raise UserError(f"x: samples are {min(kinds)}; the network was built for floats: x.float()")
    if len(counts) != 1 or shapes(x) != shape or not min(counts):
        count = min(counts, default=0)
        raise UserError(f"x: {count} samples of shape {shapes(x)}; the network was built for {shape}")


@contextmanager
def formats_named(x: Any, network: nn.Module) -> Iterator[None]:
    """Raise a clear UserError if samples and weights have different float dtypes or devices."""
    try:
        yield
    except (RunError, torch.OutOfMemoryError):  # both are RuntimeErrors
        raise
    except RuntimeError as error:
        # integers may be right: an embedding takes them
        floats: set[Any] = {t.dtype for t in tensors(x) if t.is_floating_point()}
        weights: set[Any] = {p.dtype for p in network.parameters()}
        devices, homes = {t.device for t in tensors(x)}, {p.device for p in network.parameters()}
        given, wanted, right = floats, weights, "x.float() or net.double()"
        if weights and floats <= weights:
            given, wanted, right = devices, homes, "x.to(device) or net.to(device)"
        if not wanted or given <= wanted:
            raise
        samples, own = (", ".join(sorted(map(str, each))) for each in (given, wanted))
        raise UserError(
            f"x: samples are {samples}, weights {own}; convert one of them, {right}: {first_line(error)}"
        ) from error
