"""Builds the network of the ``network``, ``block`` and ``readouts`` parts of a recipe."""

from __future__ import annotations

import os
import re
import shutil
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from ffcore.blame import explain, located
from ffcore.build.attributes import ITEM, head_item, imposed_block
from ffcore.build.block import local_block
from ffcore.build.components import make
from ffcore.build.memory import Limited, refuse, size
from ffcore.build.model import LocalModel, built
from ffcore.build.names import refuse_reserved
from ffcore.build.optimizers import check_optimizer
from ffcore.errors import RunError, UserError, at_path, closest, first_line
from ffcore.interfaces import (
    Algorithm,
    BlackBox,
    Circuit,
    Context,
    Items,
    LocalLoss,
    Readout,
    Task,
    Views,
)
from ffcore.interfaces.structure import rows, shapes, tensors
from ffcore.local import BoxStage, LocalBlock, LocalNetwork, Residual
from ffcore.local.passes import called
from ffcore.local.returned import can_follow, described, dtype, refuse_calls
from ffcore.parts import refuse_uncallable
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.network import (
    BlockConfig,
    BlockItem,
    BoxItem,
    BuiltItem,
    CircuitItem,
    ModelItem,
    NetItem,
    NetworkItem,
    ResidualItem,
    merged,
)
from ffcore.recipe.objects import as_kind
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.schema import Recipe
from ffcore.recipe.tree import Tree

MOST_ITEMS = 1000
"""Maximum number of items of a named network, as of ``repeat``."""

_NO_LOSS: dict[str, Any] = {"goodness": None, "objective": None, "penalties": {}, "loss": None}

_COMPILERS = (os.environ.get("CXX"), "g++", "clang++", "c++", "cl")


class NetworkBuilder:
    """Builds a recipe's network item by item, and tracks shapes and names.

    Args:
        recipe: the validated recipe.
        algorithm: may replace entries of ``block`` and append a head.
        x: (2, *shape) zeros, in the form of the network's input.
        task: what the targets are.
        superclass_of: (K,) super-class of each class, if there are any.
    """

    def __init__(
        self,
        recipe: Recipe,
        algorithm: Algorithm,
        x: Any,
        task: Task,
        superclass_of: Tensor | None = None,
    ) -> None:
        self.recipe = recipe
        self.algorithm = algorithm
        self.task = task
        self.classes = task.columns
        self.superclass_of = superclass_of
        self.optimizers: dict[str, OptimizerConfig] = {}
        self.heads: list[str] = []
        self._to_compile: list[LocalBlock] = []
        self._memory = 0  # bytes of the stages built so far
        self._input = x
        self._x = x  # output of the items built so far, for an input of zeros
        self._numbers: dict[str, int] = {}
        self._taken: set[str] = set(recipe.readouts)

    def build(self) -> LocalNetwork:
        """Return the whole network, with its components set up.

        Raises:
            UserError: with the path in the recipe, when parts do not fit together.
        """
        imposed = imposed_block(self.algorithm)
        defaults = self.recipe.block
        try:
            stages = self._stages(self.recipe.network, "network", defaults, imposed)
        except RecursionError:
            raise UserError("network: items are nested too deeply; is one its own item?") from None
        if (item := head_item(self.algorithm, self.task)) is not None:
            stages |= self._stages([item], "the algorithm's head", merged(defaults, imposed), BlockConfig())
        if isinstance(last := next(reversed(stages.values())), BoxStage):
            raise UserError(
                f"{last.where}: no block comes after this black box, so its output is not used; leave it out"
            )
        readouts: dict[str, Readout] = {}
        check_optimizer(self.recipe.readout_optimizer, "readout_optimizer")
        for name, spec in self.recipe.readouts.items():
            refuse_reserved(name, f"readouts.{name}", block=False)
            readouts[name] = make(spec, f"readouts.{name}")
            if self.recipe.readout_optimizer is not None:
                self.optimizers[name] = self.recipe.readout_optimizer
        try:
            network = LocalNetwork(
                nn.Sequential(stages),
                shapes(self._input),
                self.task,
                readouts,
                self.superclass_of,
                self._input,
                heads=self.heads,
            )
        except UserError:
            raise
        except (ValueError, RuntimeError) as error:
            raise UserError(explain(error) or f"network: {first_line(error)}") from error
        if self._to_compile and not any(shutil.which(name) for name in _COMPILERS if name):
            raise UserError("block.compile: no C++ compiler found here; install one, or set it to false")
        for block in self._to_compile:  # after the dry runs, which run eagerly
            block.compile()
        return network

    def _stages(
        self, items: Sequence[NetworkItem], path: str, under: BlockConfig, over: BlockConfig
    ) -> OrderedDict[str, nn.Module]:
        """Return modules by name. An item's ``block`` overrides ``under``; ``over`` overrides the item's."""
        stages: OrderedDict[str, nn.Module] = OrderedDict()
        for i, item in enumerate(items):
            # items of a named network have the path of the item that names it
            here = f"{path}.{i}" if path == "network" or path.endswith("items") else path
            if isinstance(item, NetItem):
                try:
                    stages |= self._stages(_items(item, here), here, merged(under, item.block), over)
                except RecursionError:
                    kind = item.net.kind
                    raise UserError(
                        f"{here}: items of {kind} are nested too deeply; is {kind} its own item?"
                    ) from None
                continue
            for copy in range(item.repeat if isinstance(item, BlockItem | ResidualItem) else 1):
                name = self._name(item, copy)
                refuse_reserved(name, f"{here}.name")
                if name in self._taken:
                    raise UserError(f"{here}.name: {name!r} is taken; names are unique")
                self._taken.add(name)
                stages[name] = self._stage(item, name, here, under, over)
                with at_path(here):
                    # a residual is the sum of its items, which have been counted
                    self._memory += 0 if isinstance(item, ResidualItem) else size(stages[name])
                    refuse(self._memory, "the network up to here")
        return stages

    def _stage(
        self, item: BuiltItem, name: str, path: str, under: BlockConfig, over: BlockConfig
    ) -> nn.Module:
        if isinstance(item, BlockItem):
            _refuse_to_replace(item, path, over)
            return self._block(item, name, path, merged(merged(under, item.block), over))
        stage: nn.Module
        if isinstance(item, ResidualItem):
            x = self._x  # the items below replace it; the shortcut starts at its value before them
            stage = Residual(
                nn.Sequential(self._stages(item.items, f"{path}.items", under, over)), item.merge
            )
            self._x = x
        elif isinstance(item, ModelItem):
            stage = self._model(item, path, merged(merged(under, item.block), over))
        elif isinstance(item, CircuitItem):
            stage = self._circuit(item, name, path, merged(merged(under, item.block), over))
        else:
            stage = self._box(item, name, path)
        made: Any = self._run(stage, self._x, path)
        plain = isinstance(self._x, Tensor) and self._x.is_floating_point()
        like = self._x if plain else torch.zeros(rows(self._x), 1)
        if not isinstance(made, Tensor) or made.dim() < 2 or not can_follow(made, like):
            right = f"a tensor ({len(like)}, …) of {dtype(like)} with values, a row for each input"
            raise UserError(f"{path}: it returns {described(made)}; it should return {right}")
        self._x = made
        return stage

    def _context(self, shape: Any, name: str) -> Context:
        return Context(shape, self.classes, task=self.task, name=name, superclass_of=self.superclass_of)

    def _box(self, item: BoxItem, name: str, path: str) -> BoxStage:
        shape = shapes(self._x)
        where = f"{name}, {self.recipe.place(f'{path}.box')}"
        box: BlackBox = make(item.box, where, in_shape=shape)
        stage = BoxStage(box, name, where, item.fit, item.movable, item.overlap)
        stage.place(self._context(shape, name))
        return stage

    def _model(self, item: ModelItem, path: str, config: BlockConfig) -> LocalModel:
        """Return a PyTorch model whose blocks get the settings of the recipe's ``block``."""

        def local(
            body: nn.Module, name: str, where: str, own: BlockConfig | None, loss: LocalLoss | None
        ) -> LocalBlock:
            refuse_reserved(name, f"{where}.name", block=False)  # the model keeps its parts in a ModuleDict
            if name in self._taken:
                raise UserError(f"{where}.name: {name!r} is taken; name the model, which becomes a prefix")
            self._taken.add(name)
            mine = merged(config, own) if own is not None else config
            if loss is not None:
                self.heads.append(name)
                mine = mine.model_copy(update={**_NO_LOSS, "handoff": None})
                if self.recipe.readout_optimizer is not None:
                    mine = mine.model_copy(update={"optimizer": self.recipe.readout_optimizer})
            handoff = None
            if mine.handoff is not None:
                handoff = make(mine.handoff, f"{where}.block.handoff")
            return self._local(body, name, f"{where}.block", mine, loss, handoff)

        return built(item, path, self.classes, local)

    def _circuit(self, item: CircuitItem, name: str, path: str, config: BlockConfig) -> Circuit:
        """Return a circuit whose blocks get the settings of the recipe's ``block``."""
        if ".items." in path:
            raise UserError(f"{path}: {item.kind} is a circuit, which cannot be inside a residual")
        if config.handoff is not None:
            raise UserError(
                f"block.handoff: the circuit {item.kind} passes activities between its blocks itself; leave "
                "the handoff out"
            )
        if config.per_view:
            raise UserError("block.per_view: views of a circuit share rows; set it to false")
        known: set[str] = set()
        general = f"{path}.block" if item.block.model_fields_set else "block"

        def block(name: str, body: nn.Module, loss: LocalLoss | None = None) -> LocalBlock:
            if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
                what = f"setup of {type(circuit).__name__} names a block {name!r}"
                raise UserError(f"{path}: {what}; it should be letters, digits, _ and -")
            own = item.blocks.get(name, BlockConfig())
            where = f"{path}.blocks.{name}" if name in item.blocks else general
            full = f"{item.name}-{name}" if item.name is not None else name
            refuse_reserved(full, f"{path}.name")
            if full in self._taken:
                raise UserError(
                    f"{path}.name: {full!r} is taken; give the circuit a name, which becomes a prefix"
                )
            known.add(name)
            self._taken.add(full)
            mine = merged(config, own)
            if loss is not None:
                if set_ := own.model_fields_set & _NO_LOSS.keys():
                    raise UserError(f"{where}.{min(set_)}: the block {name} has a loss of its own")
                mine = mine.model_copy(update=_NO_LOSS)
            return self._local(body, full, where, mine, loss)

        shape = shapes(self._x)
        circuit: Circuit = make(item.circuit, path, in_shape=shape)
        try:
            with Limited():  # a circuit makes its blocks here
                circuit.setup(replace(self._context(shape, name), block=block))
        except UserError:
            raise
        except ValueError as error:
            raise UserError(f"{path}: {error}") from error
        refuse_calls(circuit, path)
        for unknown in item.blocks:
            if unknown not in known:
                raise UserError(f"{path}.blocks: there is no block {unknown!r}{closest(unknown, known)}")
        return circuit

    def _block(self, item: BlockItem, name: str, path: str, config: BlockConfig) -> LocalBlock:
        where = f"{path}.block" if item.block.model_fields_set else "block"
        body = make(item.body, path, in_shape=shapes(self._x))
        refuse_uncallable(body, path)
        if isinstance(body, LocalBlock):
            body.name = name
            self._x = self._run(body, self._x, path)
            return body
        made: Any = self._run(body, self._x, path)
        activity: Tensor = made[0] if isinstance(made, tuple) else made
        device = next(tensors(self._x)).device
        if not isinstance(activity, Tensor) or not activity.numel() or activity.device != device:
            right = "a tensor with at least one value a row, on the device of its input"
            raise UserError(f"{path}: it returns {described(activity)}; a body returns {right}")
        handoff = None
        if config.handoff is not None:
            handoff = make(config.handoff, f"{where}.handoff", in_shape=tuple(activity.shape[1:]))
        block = self._local(body, name, where, config, handoff=handoff)
        self._x = self._run(block, self._x, path)
        block.fixed_shape = tuple(activity.shape[1:])
        return block

    def _local(
        self,
        body: nn.Module,
        name: str,
        where: str,
        config: BlockConfig,
        loss: LocalLoss | None = None,
        handoff: nn.Module | None = None,
    ) -> LocalBlock:
        block = local_block(body, name, where, config, loss, handoff)
        if config.optimizer is not None:
            check_optimizer(config.optimizer, f"{where}.optimizer")
            self.optimizers[name] = config.optimizer
        if config.compile:
            self._to_compile.append(block)
        return block

    def _name(self, item: BuiltItem, copy: int) -> str:
        given = item.body.object if isinstance(item, BlockItem) else None
        if name := item.name or (given.name if isinstance(given, LocalBlock) else ""):
            many = isinstance(item, BlockItem | ResidualItem) and item.repeat > 1
            return f"{name}{copy + 1}" if many else name
        # the class name of a module from Python, or of a target such as torch.nn:Linear
        kind = item.kind.replace(":", ".").rpartition(".")[2].lower()
        while True:  # a named network may have taken some of the names
            self._numbers[kind] = self._numbers.get(kind, 0) + 1
            name = f"{kind}{self._numbers[kind]}"
            if name not in self._taken or name in self.recipe.readouts:  # `_stages` refuses a readout's name
                return name

    @staticmethod
    def _run(module: nn.Module, x: Any, path: str) -> Tensor:
        module.eval()
        try:
            with torch.no_grad():
                if isinstance(module, Circuit):
                    return cast(Tensor, module(x, Views(x, ("dry-run",), (rows(x),))))
                return cast(Tensor, called(module, x))
        except RunError as error:  # its message has the path already
            raise UserError(str(error)) from error
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        except (ValueError, RuntimeError, TypeError) as error:
            kinds = {t.dtype for t in tensors(x)} - {torch.float32}
            shape = f"{shapes(x)}{f' of {min(map(str, kinds))}' if kinds else ''}"
            line = f"{first_line(error)}{located(error)}"
            raise UserError(f"{path}: does not take an input of shape {shape}: {line}") from error
        finally:
            module.train()


def _refuse_to_replace(item: BlockItem, path: str, over: BlockConfig) -> None:
    """Raise if the recipe or the algorithm would change the parts of a local block from Python."""
    given = item.body.object
    if isinstance(given, LocalBlock):
        if not re.fullmatch(r"[\w-]*", given.name):
            raise UserError(f"{path}.name: {given.name!r} should be letters, digits, _ and -")
        if item.block.model_fields_set:
            raise UserError(f"{path}.block: a LocalBlock has its own parts; leave 'block' out")
        if over.model_fields_set:
            raise UserError(
                f"{path}: a LocalBlock has its own loss, but this algorithm replaces "
                f"block.{min(over.model_fields_set)}; give the body of the block instead"
            )


def _items(item: NetItem, path: str) -> list[NetworkItem]:
    """Return the items of a named network."""
    net: Items = make(item.net, path)
    given: Any = net.items()
    where = f"{path}: items of {item.net.kind}"
    if not isinstance(given, list | tuple) or not given:
        raise UserError(f"{where} returned {described(given)}; it should return a list of items")
    if len(given) > MOST_ITEMS:
        raise UserError(f"{where} returned {len(given)} items; it should return at most {MOST_ITEMS}")
    try:
        return [ITEM.validate_python(_named(each, item.name)) for each in given]
    except ValidationError as error:
        raise UserError(str(RecipeError.from_validation(error, Tree({}, {(): where})))) from error
    except (TypeError, ValueError) as error:
        raise UserError(f"{where} returned {given!r}: {first_line(error)}") from error


def _named(item: Mapping[str, Any], prefix: str | None) -> dict[str, Any]:
    """Return the item with a prefix before its name and the names of its own items."""
    named = dict(as_kind(item))
    if prefix is not None and "name" in named:
        named["name"] = f"{prefix}-{named['name']}"
    if "items" in named:
        named["items"] = [_named(each, prefix) for each in named["items"]]
    return named
