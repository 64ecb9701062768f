"""How a call of a foreign sub-module goes through a local block, whatever its arguments and results are."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from ffcore.errors import UserError
from ffcore.local import LocalBlock


class Inside(nn.Module):
    """The body of the block: the sub-module's own forward, with tensors put back into their places.

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
        """The first tensor that the sub-module makes; the others are kept, detached, in ``result``."""
        args, kwargs = filled(self.arguments, list(tensors))
        made: list[Tensor] = []
        result = emptied(self.call(*args, **kwargs), made)
        if not made:
            raise UserError(f"localize: no tensor comes out of {self.name}, but {result!r}")
        self.result = (result, [t.detach() for t in made[1:]])
        return made[0]


class Detour:
    """Stands in for a sub-module's forward; an object, so that a copy of the model has blocks of its own.

    Args:
        block: the local block.
        inside: its body.
    """

    def __init__(self, block: LocalBlock, inside: Inside) -> None:
        self.block, self.inside = block, inside
        self.before = vars(inside.module).get("forward")  # one that the user had put there

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the sub-module would return, with the block's handoff as its first tensor."""
        tensors: list[Tensor] = []
        self.inside.arguments = emptied((list(args), kwargs), tensors)
        if any(t.is_nested for t in tensors):
            raise UserError(
                f"localize: nested tensors reach {self.inside.name}; a TransformerEncoder makes none with "
                "enable_nested_tensor=False"
            )
        # the model's train() and eval() do not reach the block
        self.block.training = self.inside.training = self.inside.module.training
        handed_on: Tensor = self.block(*tensors)
        result, others = self.inside.result
        self.inside.result = None
        return filled(result, [handed_on, *others])


class _Hole:
    """Where a tensor was."""

    def __deepcopy__(self, memo: dict[int, Any]) -> _Hole:
        return self


_HOLE = _Hole()


def emptied(value: Any, tensors: list[Tensor]) -> Any:
    """The value without its tensors, which are added to the list; also those in tuples, lists, mappings."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _HOLE
    if isinstance(value, tuple | list):
        return _like(value, [emptied(each, tensors) for each in value])
    if isinstance(value, Mapping):
        return _with(value, {key: emptied(each, tensors) for key, each in value.items()})
    return value


def filled(value: Any, tensors: list[Tensor]) -> Any:
    """The value again; takes tensors from the front of the list."""
    if value is _HOLE:
        return tensors.pop(0)
    if isinstance(value, tuple | list):
        return _like(value, [filled(each, tensors) for each in value])
    if isinstance(value, Mapping):
        return _with(value, {key: filled(each, tensors) for key, each in value.items()})
    return value


def _like(value: Any, items: list[Any]) -> Any:
    """A list or tuple, also a named one, with other items."""
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _with(value: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    """A mapping, also of a class of its own, with other values."""
    if type(value) is dict:
        return items
    other: Any = copy.copy(value)
    for key, each in items.items():
        other[key] = each
    return other
