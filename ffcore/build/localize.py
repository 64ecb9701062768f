"""Local blocks for sub-modules of a model that knows nothing of ffcore.

R rows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from pydantic import TypeAdapter, ValidationError
from torch import Tensor, nn
from torch.optim import Optimizer

from ffcore.build.block import local_block
from ffcore.build.components import make
from ffcore.build.optimizers import Optimizers, check_optimizer
from ffcore.errors import UserError, closest
from ffcore.local import LocalBlock, LocalNetwork, Stepper
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.network import BlockConfig
from ffcore.recipe.objects import as_kind
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.tree import Tree


def localize(
    model: nn.Module,
    at: Sequence[str],
    *,
    shape: Sequence[int],
    classes: int,
    block: Mapping[str, Any],
    optimizer: str | Mapping[str, Any] | Callable[..., Optimizer] = "adam",
) -> LocalNetwork:
    """Let chosen sub-modules of a PyTorch model learn by themselves.

    From here on a call of such a sub-module goes through a local block: its inputs are detached, and in a
    pass that learns it learns before the next one runs. The model stays the object that it was, with the same
    keys in its ``state_dict``; what lies between the sub-modules (shortcuts, pooling, dropout) runs as it
    always did, in the mode that the model is in: call ``model.eval()`` before you predict.

    Args:
        model: any module from (R, *shape) to anything; rows come first (``batch_first`` in transformers).
        at: names of sub-modules as in ``model.named_modules()``, or patterns such as ``layers.*`` (which
            stands for the children of ``layers``). They make one tensor each, and none lies inside another.
        shape: shape of one input sample.
        classes: number of classes K.
        block: as the ``block`` of a recipe: ``{"goodness": …, "objective": …}``.
        optimizer: as the ``optimizer`` of a recipe; every block has one of its own.

    Returns:
        The network: ``learn``, ``goodness`` and the rest are its, and ``model`` is its ``body``.

    Raises:
        UserError: when a name is unknown, or the parts do not fit together.

    Warns:
        With the names of parameters that lie in no block and will not learn.
    """
    config = _validated(TypeAdapter(BlockConfig), dict(block), "block")
    given = config.optimizer or _validated(TypeAdapter(OptimizerConfig), as_kind(optimizer), "optimizer")
    check_optimizer(given, "localize: optimizer")
    makes = Optimizers(given, {})
    chosen = _chosen(model, at)
    for name, part in model.named_modules():
        if isinstance(vars(part).get("forward"), _Detour):
            raise UserError(f"localize: {name} of this model has a local block already; name all at once")
    blocks: dict[str, LocalBlock] = {}
    try:
        for name in chosen:
            blocks[name] = _through_block(model.get_submodule(name), name, config)
        network = LocalNetwork(model, shape, classes)
        for name, each in blocks.items():
            if each not in network.blocks:
                raise UserError(f"localize: {name} is never called in a pass of the model")
    except BaseException:
        for name in blocks:
            del model.get_submodule(name).forward  # the model as it was
        raise
    network.register_module("parts", nn.ModuleDict({_key(n): _Parts(b) for n, b in blocks.items()}))
    for each in network.blocks:
        if each.trainable:
            each.stepper = Stepper(each.trainable, makes(each, each.trainable))
    _tell_what_stays_outside(model, network.blocks)
    return network


class _Inside(nn.Module):
    """What a block's body calls: the sub-module's own forward, with tensors put back into their places."""

    def __init__(self, module: nn.Module, name: str) -> None:
        super().__init__()
        self.module = module
        self.name = name
        self.call: Callable[..., Any] = module.forward
        self.rest: Any = None

    def forward(self, *tensors: Tensor) -> Tensor:
        args, kwargs = _filled(self.rest, list(tensors))
        made = self.call(*args, **kwargs)
        if not isinstance(made, Tensor):
            what = type(made).__name__
            raise UserError(f"localize: a {what} comes out of {self.name}; a block makes one tensor")
        return made


class _Detour:
    """Stands in for a sub-module's forward; an object, so that a copy of the model has blocks of its own."""

    def __init__(self, block: LocalBlock, inside: _Inside) -> None:
        self.block, self.inside = block, inside

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor:
        tensors: list[Tensor] = []
        self.inside.rest = _emptied((list(args), kwargs), tensors)
        if any(t.is_nested for t in tensors):
            raise UserError(
                f"localize: nested tensors reach {self.inside.name}; a TransformerEncoder makes none with "
                "enable_nested_tensor=False"
            )
        # the model's train() and eval() do not reach the block
        self.block.training = self.inside.training = self.inside.module.training
        made: Tensor = self.block(*tensors)
        return made


class _Parts(nn.Module):
    """What a block has beside the sub-module: it belongs to the network, not to the model."""

    def __init__(self, block: LocalBlock) -> None:
        super().__init__()
        self.goodness, self.loss = block.goodness, block.loss
        self.handoff, self.rule = block.handoff, block.rule


class _Hole:
    """Where a tensor was."""


_HOLE = _Hole()


def _emptied(value: Any, tensors: list[Tensor]) -> Any:
    """Arguments without their tensors, which are added to the list; also those in lists, tuples, mappings."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return _HOLE
    if type(value) in (list, tuple):
        return type(value)(_emptied(each, tensors) for each in value)
    if type(value) is dict:
        return {key: _emptied(each, tensors) for key, each in value.items()}
    return value


def _filled(value: Any, tensors: list[Tensor]) -> Any:
    """The arguments again."""
    if value is _HOLE:
        return tensors.pop(0)
    if type(value) in (list, tuple):
        return type(value)(_filled(each, tensors) for each in value)
    if type(value) is dict:
        return {key: _filled(each, tensors) for key, each in value.items()}
    return value


def _key(name: str) -> str:
    return name.replace(".", "-")


def _through_block(module: nn.Module, name: str, config: BlockConfig) -> LocalBlock:
    inside = _Inside(module, name)
    handoff = make(config.handoff, "block.handoff") if config.handoff is not None else None
    block = local_block(inside, _key(name), "block", config, handoff=handoff)
    if config.compile:
        block.compile()
    module.forward = _Detour(block, inside)
    return block


def _chosen(model: nn.Module, at: Sequence[str]) -> list[str]:
    known = [name for name, _ in model.named_modules() if name]
    found: list[str] = []
    for pattern in at:
        depth = pattern.count(".")
        names = [name for name in known if name.count(".") == depth and fnmatchcase(name, pattern)]
        if not names:
            raise UserError(f"localize: the model has no sub-module {pattern!r}{closest(pattern, known)}")
        found += [name for name in names if name not in found]
    for outer in found:
        for inner in found:
            if inner.startswith(f"{outer}."):
                raise UserError(f"localize: {inner} lies inside {outer}; only one of them can be a block")
    return found


def _validated(adapter: TypeAdapter[Any], value: Any, what: str) -> Any:
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        raise RecipeError.from_validation(error, Tree(value, {(): f"localize: {what}"})) from None


def _tell_what_stays_outside(model: nn.Module, blocks: Sequence[LocalBlock]) -> None:
    inside = {id(p) for block in blocks for p in block.parameters()}
    outside = [name for name, p in model.named_parameters() if id(p) not in inside and p.requires_grad]
    if outside:
        warnings.warn(
            f"localize: these parameters lie in no block and will not learn: {', '.join(outside)}",
            stacklevel=3,
        )
