"""The block optimisers of a network, in one container that training loops can save, load and schedule."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, cast
from weakref import ref

import torch
from torch import nn

from ffcore.errors import UserError, expect
from ffcore.interfaces import ALONE, Ranks
from ffcore.local.block_optimizer import BlockOptimizer
from ffcore.private import count_as_stepped, unwrapped

if TYPE_CHECKING:
    from ffcore.local.block import LocalBlock
    from ffcore.local.network import LocalNetwork

Make = Callable[..., torch.optim.Optimizer]
"""A torch optimiser class, or a function of a list of parameters."""


class BlockOptimizers(torch.optim.Optimizer):
    """Holds every block's optimiser. Its own ``step`` does not change parameters.

    The blocks step within `LocalNetwork.learn`, one after another. For training loops this object has the
    interface of an optimiser: ``param_groups`` (those of the blocks, so a torch learning-rate scheduler
    works), ``state_dict`` and ``load_state_dict``. Lightning counts calls of ``step`` as ``global_step``: one
    per batch, for any number of blocks. The state is stored by the block's name.

    Attributes:
        blocks: the block optimisers by name.
        heard: whether a callback has an ``on_before_optimizer_step``, which ``step`` then calls.

    Args:
        blocks: see above.
    """

    def __init__(self, blocks: Mapping[str, BlockOptimizer]) -> None:
        self.blocks = dict(blocks)
        self.heard = True
        self.network: ref[LocalNetwork] | None = None  # one whose passes may wait for a box
        super().__init__([{"params": group["params"]} for group in self._groups()], {})
        # options that the groups of all blocks have: schedulers of momentum ask for them
        first, *others = (getattr(each.optimizer, "defaults", {}) for each in self.blocks.values())
        self.defaults = {key: value for key, value in first.items() if all(key in each for each in others)}
        count_as_stepped(self)
        # torch's constructor copies the groups; share the blocks' own, so that schedulers change their rates
        self.param_groups = self._groups()

    def _groups(self) -> list[dict[str, Any]]:
        return [group for each in self.blocks.values() for group in each.optimizer.param_groups]

    @unwrapped
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Count a batch; the blocks have stepped already. Lightning's closure calls its hooks."""
        if closure is not None and self.heard:
            closure()

    def _settle(self) -> None:
        network = None if self.network is None else self.network()
        if network is not None:
            network.settle()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradients of all blocks."""
        for each in self.blocks.values():
            each.optimizer.zero_grad(set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the blocks' optimisers, by name, after all passes that have begun."""
        self._settle()
        return {"blocks": {name: each.optimizer.state_dict() for name, each in self.blocks.items()}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the state of every block's optimiser.

        Raises:
            ValueError: when the state is that of other blocks, or not one of `state_dict`.
        """
        self._settle()
        blocks = state_dict.get("blocks")
        if not isinstance(blocks, Mapping):
            raise ValueError("optimiser state: has no entry 'blocks' with the states of the block optimisers")
        if blocks.keys() != self.blocks.keys():
            raise ValueError(f"optimiser state of blocks {sorted(blocks)}, not of {sorted(self.blocks)}")
        for name, each in self.blocks.items():
            each.load_optimizer(blocks[name])
        self.param_groups = self._groups()  # load_state_dict of torch replaces the groups

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies: torch's own would leave out the block optimisers."""
        return {**super().__getstate__(), "blocks": self.blocks, "heard": self.heard}

    def __iter__(self) -> Iterator[BlockOptimizer]:
        return iter(self.blocks.values())

    def __repr__(self) -> str:
        lines = (f"  {name}: {type(each.optimizer).__name__}" for name, each in self.blocks.items())
        return "\n".join([f"{type(self).__name__} (", *lines, ")"])


def block_optimizers(
    network: LocalNetwork | nn.Module,
    make: Make | Mapping[str, Make],
    *,
    clip: float | None = None,
    clip_value: float | Mapping[str, float] | None = None,
    accumulate: int = 1,
    ranks: Ranks = ALONE,
    **options: Any,
) -> BlockOptimizers:
    """Make an optimiser for every block and readout with trainable parameters.

    Args:
        network: an `ffcore.Network`, or its `LocalNetwork`.
        make: a torch optimiser class, a function from a list of parameters to an optimiser, or a mapping from
            block names to these; its key "*" is for all other blocks.
        clip: maximum norm of a block's gradient; None for no limit.
        clip_value: maximum absolute value of an element of a gradient; None for no limit; or a mapping from
            block names to their own, whose key "*" is for all other blocks.
        accumulate: number of batches per step.
        ranks: the ranks that share each batch.
        options: for a class: ``lr=1e-3`` and so on. SGD, Adam and AdamW are ``fused`` by default,
            unless ``fully_shard`` has divided the parameters.

    Raises:
        UserError: when ``make`` is not such a function, does not return an optimiser of these parameters, or
            names a block that does not exist; when batches are accumulated for a rule that cannot.
    """
    blocks: Any = getattr(network, "local", network)
    if not hasattr(blocks, "learners"):
        raise UserError(
            f"optimizers: should be made for an ffcore.Network, not for a {type(network).__name__}"
        )
    of_blocks = dict(clip_value) if isinstance(clip_value, Mapping) else {"*": clip_value}
    limits = [("clip_value", value) for value in of_blocks.values()]
    for what, value in (("clip", clip), *limits, ("accumulate", accumulate)):
        if value is not None:
            right = "an integer from 1" if what == "accumulate" else "a number above 0"
            expect(what, value, int if what == "accumulate" else (int, float), right)
            if not value > 0:
                raise UserError(f"{what}: should be {right}, not {value!r}")
    by_name = dict(make) if isinstance(make, Mapping) else {"*": make}
    for place, named in (("optimizers", by_name), ("clip_value", of_blocks)):
        if unknown := sorted(named.keys() - {"*", *blocks.learners}):
            raise UserError(
                f"{place}: there is no block {unknown[0]!r}; there are {', '.join(blocks.learners)}"
            )
    if accumulate > 1:
        refuse_accumulated(blocks)
    in_circuits = blocks.in_circuits
    made = {}
    for name, block in blocks.learners.items():
        if not (parameters := block.trainable):
            continue
        _refuse_divided(block)
        _refuse_sparse(block)
        chosen = by_name[name] if name in by_name else by_name.get("*", ...)
        if chosen is ...:
            raise UserError(f"optimizers: block {name} has none; name it, or give one for '*'")
        if chosen is None:
            key = name if name in by_name else "*"
            raise UserError(
                f"optimizers: {key!r} is None, but block {name} has parameters that learn; give a torch "
                "optimiser class, or freeze the block before, with its method freeze()"
            )
        made[name] = BlockOptimizer(
            parameters,
            _made(chosen, parameters, name, options),
            *(clip, accumulate, ranks, of_blocks.get(name, of_blocks.get("*"))),
            overlaps=block not in in_circuits,  # blocks of a circuit read each other's parameters
        )
    if not made:
        raise UserError(
            "optimizers: no block has parameters that learn: requires_grad is False for all of them; leave "
            "those of one block or more with requires_grad_(True)"
        )
    return BlockOptimizers(made)


def no_optimizer(name: str) -> UserError:
    """Return the error of a block that learns by gradients and has no optimiser."""
    return UserError(
        f"block {name} has no optimiser, so it cannot learn; make optimisers with "
        "ffcore.optimizers(net, torch.optim.Adam, lr=1e-3) and pass them to net.learn"
    )


def refuse_others(optimizers: BlockOptimizers, blocks: LocalNetwork) -> None:
    """Raise if optimisers were made for another network, or for a copy of this one.

    Raises:
        UserError: when they are not `BlockOptimizers`, or one of them does not hold its block's parameters.
    """
    if not hasattr(optimizers, "blocks"):
        raise UserError(
            f"optimizers: a {type(optimizers).__name__} does not step block by block; make one for each "
            f"block with ffcore.optimizers(net, torch.optim.{type(optimizers).__name__}, …)"
        )
    for name, each in optimizers.blocks.items():
        block = blocks.learners.get(name)
        held = {id(parameter) for parameter in each.parameters}
        if block is None or not held >= {id(parameter) for parameter in block.trainable}:
            raise UserError(
                f"optimizers: that of block {name} holds parameters of another network; make new ones with "
                "ffcore.optimizers(net, …)"
            )


def refuse_accumulated(network: LocalNetwork) -> None:
    """Raise if a part of a network cannot learn from accumulated batches.

    Raises:
        UserError: with the block whose rule changes parameters with every batch, or the box that overlaps.
    """
    for name, block in network.learners.items():
        if block.trainable and not block.rule.accumulates:
            raise UserError(
                f"accumulate: block {name}: rule {type(block.rule).__name__} learns from every batch by "
                "itself; use larger batches in place of accumulated ones"
            )
    for box in network.boxes:
        if box.overlap:
            raise UserError(
                f"{box.where}: overlap: does not work with accumulated batches; set overlap to false"
            )


def _refuse_divided(block: LocalBlock) -> None:
    """Raise if ``fully_shard`` was called with a block, not with the modules inside.

    Raises:
        UserError: the block learns within its ``forward``, before the gradients of its weights are summed.
    """
    fsdp: Any = sys.modules.get("torch.distributed.fsdp")  # not imported: nothing is divided
    if fsdp is None:
        return
    # `ffcore.localize` redirects the forward of a sub-module to the block
    calls = [
        part for part in block.body.modules() if getattr(vars(part).get("forward"), "block", None) is block
    ]
    if any(isinstance(part, fsdp.FSDPModule) for part in (block, *calls)):
        raise UserError(
            f"optimizers: block {block.name}: fully_shard has divided the whole block, which learns within "
            "its forward; divide the modules inside, such as the layers of its body"
        )


def _refuse_sparse(block: LocalBlock) -> None:
    """Raise if a layer has sparse gradients.

    Raises:
        UserError: with the name of the layer.
    """
    for name, part in block.named_modules():
        sparse = isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.sparse
        if sparse and cast(nn.Embedding, part).weight.requires_grad:
            raise UserError(
                f"optimizers: block {block.name}: {name} has sparse gradients, which blocks do not take; "
                "make it with sparse=False"
            )


def _made(
    make: Make, parameters: list[nn.Parameter], name: str, options: dict[str, Any]
) -> torch.optim.Optimizer:
    if isinstance(make, torch.optim.Optimizer):
        kind = type(make).__name__
        raise UserError(
            f"optimizers: each block has an optimiser of its own: give the class and its options, as in "
            f"ffcore.optimizers(net, torch.optim.{kind}, lr=…), not an optimiser {kind}(…)"
        )
    if not callable(make):
        raise UserError(
            f"optimizers: block {name}: should be a torch optimiser class or a function of parameters, not "
            f"{make!r}"
        )
    known = inspect.isclass(make) and "fused" in inspect.signature(make).parameters
    # torch's fused SGD does not know parameters that fully_shard has divided
    plain = all(p.is_floating_point() and not hasattr(p, "device_mesh") for p in parameters)
    if known and "foreach" not in options and plain:
        options = {"fused": True, **options}
    try:
        optimizer = make(parameters, **options)
    except (TypeError, ValueError) as error:
        given = ", ".join(f"{key}={value!r}" for key, value in options.items() if key != "fused")
        called = f"{getattr(make, '__name__', type(make).__name__)}({given})"
        raise UserError(f"optimizers: block {name}: {called}: {error}") from error
    what = type(optimizer).__name__
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise UserError(f"optimizers: block {name}: should return a torch optimiser, not a {what}")
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise UserError(
            f"optimizers: block {name}: {what} computes the loss several times a step, by a closure; use an "
            "optimiser whose step needs gradients only"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if held != {id(p) for p in parameters}:
        raise UserError(f"optimizers: block {name}: the optimiser holds other parameters than the block's")
    return optimizer
