"""A PyTorch model as a stage of a recipe's network."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any

from torch import nn

from ffcore.blame import placed, reported
from ffcore.build.detour import Detour, Inside
from ffcore.build.localize import PartsOf, block_name, matching, refuse_nested
from ffcore.build.objects import own
from ffcore.errors import FOREIGN, UserError
from ffcore.interfaces import LocalLoss
from ffcore.local import HeadLoss, LocalBlock
from ffcore.recipe.network import BlockConfig, ModelItem
from ffcore.recipe.objects import Named

MakeLocal = Callable[[nn.Module, str, str, BlockConfig | None, LocalLoss | None], LocalBlock]
"""Makes a block of: body, name, path in the recipe, overrides of the item's block, and an own loss."""


class LocalModel(nn.Module):
    """A model whose chosen sub-modules are local blocks, together with the other parts of these blocks.

    Args:
        model: the model.
        blocks: the blocks, by the names of their sub-modules.
    """

    def __init__(self, model: nn.Module, blocks: dict[str, LocalBlock]) -> None:
        super().__init__()
        self.model = model
        self.parts = nn.ModuleDict({block_name(name): PartsOf(block) for name, block in blocks.items()})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the model's output."""
        return self.model(*args, **kwargs)


def built(item: ModelItem, path: str, classes: int, local: MakeLocal) -> LocalModel:
    """Return the model as a stage, with a block for each chosen sub-module and then the head.

    Args:
        item: the recipe's item.
        path: its path in the recipe, for messages.
        classes: number of classes K.
        local: makes a block.

    Raises:
        UserError: with the path, when the target does not return a module, or a sub-module does not exist.
    """
    model = _made(item, path, classes)
    chosen: dict[str, BlockConfig | None] = {}
    try:
        for pattern, config in (item.at if isinstance(item.at, dict) else dict.fromkeys(item.at)).items():
            chosen |= dict.fromkeys(matching(model, pattern), config)
        heads = [] if item.head is None else matching(model, item.head)
        refuse_nested([*chosen, *heads])
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if len(heads) > 1 or not chosen.keys().isdisjoint(heads):
        raise UserError(f"{path}.head: {item.head!r} should be one sub-module that is not in at")
    prefix = f"{item.name}-" if item.name is not None else ""
    blocks: dict[str, LocalBlock] = {}
    for name, own_config in {**chosen, **dict.fromkeys(heads)}.items():
        inside = Inside(model.get_submodule(name), name)
        loss = HeadLoss() if name in heads else None
        block = local(inside, prefix + block_name(name), path, own_config, loss)
        model.get_submodule(name).forward = Detour(block, inside)
        blocks[name] = block
    return LocalModel(model, blocks)


def _made(item: ModelItem, path: str, classes: int) -> nn.Module:
    target = own(Named(item.target) if isinstance(item.target, str) else item.target, f"{path}.target")
    options = {key: classes if value == "classes" else value for key, value in item.options.items()}
    if not callable(target):
        raise UserError(f"{path}.target: {item.target!r} should be a function or class that makes a model")
    try:
        model = target(**copy.deepcopy(options))
    except FOREIGN as error:
        signature = inspect.signature(target) if inspect.isroutine(target) else ""
        raise UserError(f"{path}.target: it fails{signature}: {reported(error)}") from error
    if not isinstance(model, nn.Module):
        raise UserError(f"{path}.target: it returns a {type(model).__name__}, not a torch module")
    placed(model, f"{path}.target", f"model {getattr(target, '__name__', target)}")
    return model
