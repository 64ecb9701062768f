"""A function of the user that changes all samples before anything else reads them: `data.transform`.

    x ← transform(scale · x)        of training, validation, test and predicted samples

N samples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.blame import reported
from ffcore.data.images import ImageSet, Split, arrays, mapped
from ffcore.errors import FOREIGN, UserError

_AT_ONCE = 1000

Transform = Callable[[Any], Any]
"""From samples to samples, tensors (N, *shape) → (N, *shape'), each sample by itself."""


def transformed(images: ImageSet, function: Transform) -> ImageSet:
    """Return a data set with changed samples, which are floats or integers that no loader scales.

    Raises:
        UserError: the function raises, or returns something else than samples.
    """

    def changed(split: Split) -> Split:
        return Split(apply(function, split.x, images.scale), split.y)

    _refuse_coupled(function, images.train.take(np.arange(min(2, len(images.train)))).x, images.scale)
    val = None if images.val is None else changed(images.val)
    return replace(images, train=changed(images.train), test=changed(images.test), val=val, scale=1.0)


def _refuse_coupled(function: Transform, x: Any, scale: float) -> None:
    """Raise if the function changes a sample in another way when it is alone.

    Raises:
        UserError: predictions of single samples would differ from those of a batch.
    """
    pair = [*arrays(apply(function, x, scale))]
    alone = [*arrays(apply(function, mapped(x, lambda each: each[:1]), scale))]
    for whole, single in zip(pair, alone, strict=True):
        if whole[:1].shape != single.shape or not np.allclose(whole[:1], single, rtol=1e-4, atol=1e-5):
            name = getattr(function, "__name__", type(function).__name__)
            raise UserError(
                f"data.transform: {name} changes a sample in another way when it is alone; it should read "
                "each sample by itself, without random numbers"
            )


def apply(function: Transform, x: Any, scale: float) -> Any:
    """Return the function's result for arrays of samples.

    Args:
        function: gets tensors: bytes and floats times ``scale``, others unchanged. Samples of several inputs
            are a tuple or mapping of tensors.
        x: an array (N, *shape), or a tuple or mapping of arrays.
        scale: factor of stored values.

    Raises:
        UserError: the function raises, or returns something else than samples.
    """
    name, count = getattr(function, "__name__", type(function).__name__), len(next(arrays(x)))
    parts = []
    for first in range(0, max(1, count), _AT_ONCE):
        given = mapped(x, lambda each: _tensor(each[first : first + _AT_ONCE], scale))  # noqa: B023 (called now)
        try:
            with torch.no_grad():
                made = function(given)
        except FOREIGN as error:
            raise UserError(f"data.transform: {name} raised {reported(error)}") from error
        parts.append(mapped(made, lambda each: _array(name, each, min(_AT_ONCE, count - first))))  # noqa: B023
    return parts[0] if len(parts) == 1 else _joined(parts)


def _tensor(x: np.ndarray, scale: float) -> Tensor:
    made = torch.from_numpy(np.ascontiguousarray(x))
    scaled = x.dtype.kind == "f" or x.dtype == np.uint8
    return made * scale if scaled and scale != 1 else made.clone()  # the function may work in place


def _array(name: str, made: Any, rows: int) -> np.ndarray:
    if not isinstance(made, Tensor) or not made.dim() or len(made) != rows:
        given = f"{tuple(made.shape)}" if isinstance(made, Tensor) else f"a {type(made).__name__}"
        raise UserError(f"data.transform: {name} returned {given}; it should be a tensor of {rows} samples")
    if made.is_complex():
        raise UserError(f"data.transform: {name} returned complex numbers; use their absolute values")
    if made.is_floating_point():
        made = made.float()
    elif made.dtype != torch.bool:
        made = made.long()
    array: np.ndarray = made.contiguous().numpy()
    return array


def _joined(parts: list[Any]) -> Any:
    """Join parts of the same structure."""
    first = parts[0]
    if isinstance(first, dict):
        return {name: _joined([part[name] for part in parts]) for name in first}
    if isinstance(first, tuple):
        return tuple(_joined([part[i] for part in parts]) for i in range(len(first)))
    return np.concatenate(parts)
