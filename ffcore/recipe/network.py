"""The ``network`` and ``block`` parts of a recipe."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    SerializerFunctionWrapHandler,
    Tag,
    model_serializer,
)

from ffcore.options import Count, NotBool
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.objects import OBJECT, as_kind, is_function, is_instance
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.spec import Function, Kind, Spec
from ffcore.recipe.strict import Flat, Name, NullIsEmpty, Strict
from ffcore.recipe.unions import ByKind

Repeat = Annotated[int, Field(ge=1, le=1000), NotBool]
"""Number of equal items in a row."""

CONTAINERS = tuple(sorted(NOUNS["body"].taken))
"""Kinds of network items other than blocks."""


class BlockConfig(Strict):
    """The options of a block: how its body learns. The algorithm sets the defaults."""

    goodness: Annotated[Spec, Kind("goodness")] | None = Field(
        default=None, description="function of the activity that the block learns to make high or low"
    )
    objective: Annotated[Spec, Kind("objective")] | None = Field(
        default=None, description="term of the local loss that reads the goodness"
    )
    penalties: Annotated[dict[Name, Annotated[Spec, Kind("penalty")]], NullIsEmpty] = Field(
        default={}, description="further terms of the local loss, by names of your own"
    )
    loss: Annotated[Spec, Kind("loss")] | None = Field(
        default=None, description="the whole local loss, in place of objective and penalties"
    )
    handoff: Annotated[Spec, Kind("handoff")] | None = Field(
        default=None, description="function of the activity that gives the input of the next block"
    )
    rule: Annotated[Spec, Kind("rule")] | None = Field(
        default=None, description="learning rule; null: the gradient of the local loss"
    )
    optimizer: OptimizerConfig | None = Field(
        default=None, description="optimiser of this block; null: that of the recipe"
    )
    per_view: bool = Field(default=False, description="run the body once for each view")

    compile: bool = Field(
        default=False, description="compile the block with torch.compile; needs a C++ compiler"
    )

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # An explicit null overrides a default, a missing key does not: the dump must keep the difference.
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


def merged(defaults: BlockConfig, override: BlockConfig) -> BlockConfig:
    """Returns ``defaults`` with the fields that ``override`` sets, also those set to null.

    A loss replaces objective and penalties, and an objective the loss.
    """
    fields: dict[str, Any] = {name: getattr(override, name) for name in override.model_fields_set}
    if fields.get("loss") is not None:
        fields = {"objective": None, "penalties": {}, **fields}
    elif "objective" in fields:
        fields = {"loss": None, **fields}
    return defaults.model_copy(update=fields)


class BlockItem(Flat):
    """A local block: ``{kind: dense, units: 2000, repeat: 4}``."""

    inner: ClassVar[str] = "body"

    body: Annotated[Spec, Kind("body", also=CONTAINERS)] = Field(description="the module inside the block")
    repeat: Repeat = Field(default=1, description="number of such blocks in a row")
    name: Name | None = Field(default=None, description="name of the block; null: a number")
    block: BlockConfig = Field(
        default=BlockConfig(), description="options that differ from the recipe's block"
    )

    @property
    def kind(self) -> str:
        """The kind of the body."""
        return self.body.kind


class BoxItem(Strict):
    """A black box between blocks."""

    kind: Literal["blackbox"] = Field(default="blackbox", description="a black box between blocks")
    box: Annotated[Spec, Kind("blackbox")] = Field(description="the black box")
    fit: Literal["start", "finished"] | Count = Field(
        default="start",
        description="when a box that adapts is fitted: start: at the start of the run; finished: again when "
        "no block before it learns any more; a number: again after that number of epochs",
    )
    movable: bool = Field(
        default=True,
        description="whether each rank may have its own copy; false if only one can exist",
    )
    overlap: bool = Field(
        default=False,
        description="whether a call runs in a thread while the blocks after the box learn from the batch "
        "before; the weights are the same",
    )
    name: Name | None = Field(default=None, description="name of the box; null: a number")


class ModelItem(Strict):
    """Any torch model; some of its sub-modules become blocks. See `ffcore.localize`."""

    kind: Literal["model"] = Field(default="model", description="any torch model")
    target: Annotated[Any, Function()] = Field(
        description="package.module:name of the function or class that makes it"
    )
    options: dict[str, Any] = Field(
        default={},
        description="keyword arguments of the target; 'classes' is replaced by the number of classes",
    )
    at: list[str] | dict[str, BlockConfig | None] = Field(
        min_length=1,
        description="names of the sub-modules that become blocks, or patterns such as layers.*; or a mapping "
        "from these to options that differ from the recipe's block",
    )
    head: str | None = Field(
        default=None, description="the sub-module that computes class logits; it learns by cross-entropy"
    )
    name: Name | None = Field(default=None, description="goes before the names of all its blocks")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")


class NetItem(Flat):
    """A complete network by its name: ``{kind: resnet17, widths: [40, 80, 160, 320]}``."""

    inner: ClassVar[str] = "net"

    net: Annotated[Spec, Kind("network")] = Field(description="the network")
    name: Name | None = Field(default=None, description="goes before the names of all its items")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")


class CircuitItem(Flat):
    """Blocks that are connected to each other: ``{kind: recurrent, units: [2000, 2000, 2000]}``."""

    inner: ClassVar[str] = "circuit"

    circuit: Annotated[Spec, Kind("circuit")] = Field(description="the circuit")
    name: Name | None = Field(default=None, description="goes before the names of all its blocks")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")
    blocks: dict[Name, BlockConfig] = Field(
        default={}, description="options that differ for single blocks, by their names within the circuit"
    )

    @property
    def kind(self) -> str:
        """The kind of the circuit."""
        return self.circuit.kind


class ResidualItem(Strict):
    """Items with a shortcut around them."""

    kind: Literal["residual"] = Field(default="residual", description="items with a shortcut around them")
    merge: Literal["add", "concat", "concat-last"] = Field(
        default="add",
        description="how the shortcut is merged: added, or concatenated as first or as last channels; it is "
        "pooled if the items reduce the image",
    )
    items: list[NetworkItem] = Field(min_length=1, description="the items inside the shortcut")
    repeat: Repeat = Field(default=1, description="number of such stages in a row")
    name: Name | None = Field(default=None, description="name of the stage; null: a number")


def _as_item(value: Any) -> Any:
    """Convert a module to a block with it as body, and a function to a black box that calls it."""
    item = as_kind(value)
    if isinstance(item, dict):
        kind = item.get("kind")
        if is_function(kind) or is_instance(kind, NOUNS["blackbox"].base):
            return {**item, "kind": "blackbox", "box": kind}
    return item


def _tag(value: Any) -> str:
    if isinstance(value, BuiltItem | NetItem):
        return next(tag for tag, model in _ITEMS.items() if isinstance(value, model))
    kind = value.get("kind") if isinstance(value, dict) else None
    # The order matters: a kind of a container is not looked up among the registered components.
    if isinstance(kind, str) and kind in CONTAINERS:
        return kind
    for tag, noun in (("circuit", "circuit"), ("net", "network")):
        if is_instance(kind, NOUNS[noun].base):
            return tag
    if kind == OBJECT and "is" in value:  # the record of an object: the other keys show which item it was
        return "circuit" if "blocks" in value else "block" if "repeat" in value else "net"
    registry = manager.current().registry
    if kind in registry.names("circuit"):
        return "circuit"
    return "net" if kind in registry.names("network") else "block"


BuiltItem = ResidualItem | BoxItem | CircuitItem | ModelItem | BlockItem
"""The items of a network after networks by name have been replaced by theirs."""

_ITEMS = {
    "residual": ResidualItem,
    "blackbox": BoxItem,
    "net": NetItem,
    "circuit": CircuitItem,
    "model": ModelItem,
    "block": BlockItem,
}

NetworkItem = Annotated[
    Annotated[ResidualItem, Tag("residual")]
    | Annotated[BoxItem, Tag("blackbox")]
    | Annotated[NetItem, Tag("net")]
    | Annotated[CircuitItem, Tag("circuit")]
    | Annotated[ModelItem, Tag("model")]
    | Annotated[BlockItem, Tag("block")],
    Discriminator(_tag),
    BeforeValidator(_as_item),
    ByKind(tuple(_ITEMS)),
]

ResidualItem.model_rebuild()
