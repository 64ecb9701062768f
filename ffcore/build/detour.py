"""Sends the call of a model's sub-module through a local block, for any arguments and results.

A block takes tensors and returns one tensor. The sub-module may take and return nested tuples, lists and
mappings. `emptied` takes the tensors out of such a structure, `filled` puts them back.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from ffcore.errors import UserError
from ffcore.local import LocalBlock


class Inside(nn.Module):
    """The body of the block. It calls the sub-module's own ``forward`` with its original arguments.

    Args:
        module: the sub-module.
        name: its name in the model.
    """

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module = module
        self.name = name
        self.call: Callable[..., Any] = module.forward
        self.arguments: Any = None
        self.result: Any = None

    def forward(self, *tensors: Tensor) -> Tensor:
        """Return the first tensor of the sub-module's result. ``result`` stores the others, detached."""
        args, kwargs = filled(self.arguments, list(tensors))
        made: list[Tensor] = []
        result = emptied(self.call(*args, **kwargs), made)
        if not made:
            raise UserError(f"localize: {self.name} should return a tensor, not {result!r}")
        self.result = (result, [t.detach() for t in made[1:]])
        return made[0]


class Detour:
    """Replaces a sub-module's ``forward``. It is an object, so a deep copy of the model copies its blocks.

    Args:
        block: the local block.
        inside: its body.
    """

    def __init__(self, block: LocalBlock, inside: Inside) -> None:
        self.block, self.inside = block, inside
        self.before = vars(inside.module).get("forward")  # a forward that the user has set on the instance

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the sub-module's result with the block's handoff as its first tensor."""
        tensors: list[Tensor] = []
        if any(isinstance(each, PackedSequence) for each in (*args, *kwargs.values())):
            raise UserError(
                f"localize: {self.inside.name} gets a packed sequence, whose rows are not samples; pass "
                "padded tensors"
            )
        self.inside.arguments = emptied((list(args), kwargs), tensors)
        if any(t.is_nested for t in tensors):
            raise UserError(
                f"localize: {self.inside.name} gets nested tensors; set enable_nested_tensor=False in a "
                "TransformerEncoder"
            )
        # the block is not a child of the model, so the model's train() and eval() do not reach it
        self.block.training = self.inside.training = self.inside.module.training
        handoff: Tensor = self.block(*tensors)
        result, others = self.inside.result
        self.inside.result = None  # release the tensors
        return filled(result, [handoff, *others])


class _Hole:
    """Marks the position of a tensor. It is compared by identity, so copies return the same object."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hole:
        return self


_HOLE = _Hole()


def emptied(value: Any, tensors: list[Tensor]) -> Any:
    """Return the value without its tensors, which are appended to the list; also in nested structures."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _HOLE
    if isinstance(value, tuple | list):
        return _like(value, [emptied(each, tensors) for each in value])
    if isinstance(value, Mapping):
        return _with(value, {key: emptied(each, tensors) for key, each in value.items()})
    return value


def filled(value: Any, tensors: list[Tensor]) -> Any:
    """Return the value with tensors from the front of the list; the inverse of `emptied`."""
    if value is _HOLE:
        return tensors.pop(0)
    if isinstance(value, tuple | list):
        return _like(value, [filled(each, tensors) for each in value])
    if isinstance(value, Mapping):
        return _with(value, {key: filled(each, tensors) for key, each in value.items()})
    return value


def _like(value: Any, items: list[Any]) -> Any:
    """Return a list, tuple or named tuple with other items."""
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _with(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """Return a mapping of the same class with other values."""
    if type(value) is dict:
        return items
    # A copy keeps the class and its attributes, as for ModelOutput of transformers.
    other: Any = copy.copy(value)
    for key, each in items.items():
        other[key] = each
    return other
