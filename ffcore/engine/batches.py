"""Conversion of a loader's batches to `Batch`. N samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Batch, Ranks, Task
from ffcore.interfaces.structure import rows, tensors
from ffcore.interfaces.task import targets_of
from ffcore.network import Network


def as_batch(given: Any, ranks: Ranks, net: Network, first_of_epoch: bool = False) -> Batch:
    """Return a `Batch` for a pair (x, y), a mapping with the keys "x" and "y", or a `Batch`.

    Args:
        given: x is (N, *shape), y the targets of the task, such as (N,) classes. Without targets also x
            alone; a y is then not used.
        ranks: the ranks that share each batch; the global batch has their rows in the order of the ranks.
        net: the network, with its task.
        first_of_epoch: check the values of y on a GPU too, which waits for the device.

    Raises:
        UserError: when the batch has another form, or x and y do not fit each other.
    """
    if isinstance(given, Batch):
        return given
    task = net.task
    if task.target == "none":
        given = _without_targets(given, task)
    if isinstance(given, Mapping) and {"x", "y"} <= given.keys():
        x, y = given["x"], given["y"]
    elif isinstance(given, tuple | list) and len(given) == 2:
        x, y = given
    else:
        raise UserError(f"a batch should be a pair (x, y), or a mapping with 'x' and 'y', not {_what(given)}")
    if not isinstance(y, Tensor):
        raise UserError(f"a batch should be two tensors (x, y), not {_what((x, y))}")
    try:
        n = rows(x)
    except (TypeError, StopIteration) as error:
        raise UserError(f"a batch should be two tensors (x, y), not {_what((x, y))}") from error
    if task.target == "class" and not y.is_floating_point():
        y = y.long()
    if not n or not y.dim() or len(y) != n:
        raise UserError(
            f"a batch of {n} samples and y {y.dtype} {tuple(y.shape)}: y should be their {n} targets"
        )
    task.refuse(y, n, values=first_of_epoch or y.device.type == "cpu")
    sizes = ranks.objects(n)
    first = sum(sizes[: ranks.rank])
    index = torch.arange(first, first + n, device=y.device)
    return Batch(x, task.standardised(y), index, first, sum(sizes))


def _without_targets(given: Any, task: Task) -> Any:
    """Return a pair (x, y) with the empty y of a task without targets, of a batch of any form."""
    if isinstance(given, Mapping) and "x" in given:
        given = given["x"]
    elif isinstance(given, tuple | list) and 1 <= len(given) <= 2:
        given = given[0]
    try:
        return given, targets_of(task, None, next(tensors(given)))
    except (TypeError, StopIteration) as error:
        raise UserError(f"a batch should be samples x, or a pair (x, y), not {_what(given)}") from error


def _what(given: Any) -> str:
    if isinstance(given, tuple | list):
        return f"{type(given).__name__} of {', '.join(type(each).__name__ for each in given) or 'nothing'}"
    if isinstance(given, Mapping):
        return f"a mapping with {', '.join(map(repr, given))}"
    return f"a {type(given).__name__}" + (f" {tuple(given.shape)}" if isinstance(given, Tensor) else "")
