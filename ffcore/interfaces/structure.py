"""Inputs of a model: one tensor, or a (nested) tuple, list or mapping of tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor


def tensors(x: Any) -> Iterator[Tensor]:
    """Yield the tensors of an input, in order.

    >>> import torch
    >>> [len(t) for t in tensors({"tokens": torch.zeros(2, 5), "mask": torch.ones(2, 5)})]
    [2, 2]

    Raises:
        TypeError: when it contains anything else.
    """
    if isinstance(x, Tensor):
        yield x
    elif isinstance(x, Mapping):
        for each in x.values():
            yield from tensors(each)
    elif isinstance(x, tuple | list):
        for each in x:
            yield from tensors(each)
    else:
        raise TypeError(
            f"an input should be a tensor, or a tuple or mapping of tensors, not a {type(x).__name__}"
        )


def mapped(x: Any, change: Callable[[Any], Any]) -> Any:
    """Apply a function to each tensor of an input; return the results in the same structure.

    >>> import torch
    >>> mapped((torch.zeros(2, 5), torch.ones(2, 3)), lambda t: t[:1])[1]
    tensor([[1., 1., 1.]])
    """
    if isinstance(x, Mapping):
        return {name: mapped(each, change) for name, each in x.items()}
    if isinstance(x, tuple | list):
        make = getattr(type(x), "_make", type(x))  # a named tuple takes its values one by one
        return make(mapped(each, change) for each in x)
    return change(x)


def rows(x: Any) -> int:
    """Return the number of rows of an input: that of its first tensor."""
    return next(tensors(x)).shape[0]  # not len(): torch.export would fix the number


def shapes(x: Any) -> Any:
    """Return the shape of one sample, in the structure of the input."""
    if isinstance(x, Mapping):
        return {name: shapes(each) for name, each in x.items()}
    if isinstance(x, tuple | list):
        return tuple(shapes(each) for each in x)
    return tuple(x.shape[1:])
