"""Checks of the samples that a caller gives to a network. N samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ffcore.errors import RunError, UserError, first_line
from ffcore.interfaces.structure import shapes, tensors


def refuse_samples(x: Any, shape: Any, floats: bool | None = None) -> None:
    """Raise if samples (N, *shape) are not dense real tensors of the network's shape, or not ``floats``.

    Samples that are not one tensor of floats need the same number of dimensions only.

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
        raise UserError(_not_floats(kinds))
    # tokens, and the parts of several inputs, may have another length than those of the example
    fixed = floats is not False and isinstance(x, Tensor)
    fits = shapes(x) == shape if fixed else _ranks(shapes(x)) == _ranks(shape)
    if counts == {0}:
        raise UserError("x: has no samples; give at least one")
    if len(counts) != 1 or not fits:
        count = min(counts, default=0)
        raise UserError(f"x: {count} samples of shape {shapes(x)}; the network was built for {shape}")


def finite(scores: Tensor) -> Tensor:
    """Return scores, which a prediction can be made from.

    Raises:
        RunError: a sample has a score that is NaN.
    """
    if torch.compiler.is_compiling() or not (nan := scores.isnan()).any():
        return scores
    first = int(nan.flatten(1).any(1).int().argmax())
    raise RunError(
        f"predict: the scores of sample {first} are NaN: its values, weights or running statistics are not "
        "finite"
    )


def _not_floats(kinds: set[str]) -> str:
    right = "x / 255, as ffcore.fit scales bytes" if kinds == {"torch.uint8"} else "x.float()"
    return f"x: samples are {min(kinds)}; the network was built for floats: {right}"


def _ranks(shape: Any) -> Any:
    """Return the number of dimensions of each input, in the structure of the shapes."""
    if isinstance(shape, Mapping):
        return {name: _ranks(each) for name, each in shape.items()}
    several = any(isinstance(each, tuple | list | Mapping) for each in shape)
    return tuple(map(_ranks, shape)) if several else len(shape)


@contextmanager
def formats_named(x: Any, network: Any) -> Iterator[None]:
    """Raise a clear UserError if samples and weights have different float dtypes or devices.

    Also if samples of another length than the example's do not fit the network.
    """
    try:
        yield
    except (RunError, torch.OutOfMemoryError):  # both are RuntimeErrors
        raise
    except RuntimeError as error:
        kinds = {str(t.dtype) for t in tensors(x) if not t.is_floating_point()}
        if kinds and getattr(network, "floats", False):
            raise UserError(_not_floats(kinds)) from error
        # integers may be right: an embedding takes them
        floats: set[Any] = {t.dtype for t in tensors(x) if t.is_floating_point()}
        weights: set[Any] = {p.dtype for p in network.parameters()}
        devices, homes = {t.device for t in tensors(x)}, {p.device for p in network.parameters()}
        given, wanted, right = floats, weights, "x.float() or net.double()"
        if weights and floats <= weights:
            given, wanted, right = devices, homes, "x.to(device) or net.to(device)"
        if not wanted or given <= wanted:
            if shapes(x) == network.shape:
                raise
            built = f"the network was built for {network.shape}"
            raise UserError(f"x: samples of shape {shapes(x)}; {built}: {first_line(error)}") from error
        samples, own = (", ".join(sorted(map(str, each))) for each in (given, wanted))
        raise UserError(
            f"x: samples are {samples}, weights {own}; convert one of them, {right}: {first_line(error)}"
        ) from error
