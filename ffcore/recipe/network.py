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

from ffcore.options import Count
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.objects import OBJECT, as_kind, is_function, is_instance
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.spec import Function, Kind, Spec
from ffcore.recipe.strict import Flat, Name, NullIsEmpty, Strict
from ffcore.recipe.unions import ByKind

CONTAINERS = tuple(sorted(NOUNS["body"].taken))
"""The kinds of network items that are not bodies."""


class BlockConfig(Strict):
    """What makes a body learn by itself. What is not set is left to the algorithm."""

    goodness: Annotated[Spec, Kind("goodness")] | None = Field(
        default=None, description="how good the block finds an activity"
    )
    objective: Annotated[Spec, Kind("objective")] | None = Field(
        default=None, description="the local loss made of goodness"
    )
    penalties: Annotated[dict[Name, Annotated[Spec, Kind("penalty")]], NullIsEmpty] = Field(
        default={}, description="terms added to the local loss, by a name of your own"
    )
    handoff: Annotated[Spec, Kind("handoff")] | None = Field(
        default=None, description="what happens to an activity on its way to the next block"
    )
    rule: Annotated[Spec, Kind("rule")] | None = Field(
        default=None, description="how the block learns; null: by the gradient of its loss"
    )
    optimizer: OptimizerConfig | None = Field(
        default=None, description="the block's own optimiser; null: the recipe's"
    )
    per_view: bool = Field(default=False, description="send the views through the body one by one")

    compile: bool = Field(
        default=False, description="compile what the block computes with torch.compile; needs a C++ compiler"
    )

    @model_serializer(mode="wrap")
    def _only_what_is_set(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # an explicit null overrides a default and an absent key does not: a dump keeps the difference
        return {key: value for key, value in handler(self).items() if key in self.model_fields_set}


def merged(defaults: BlockConfig, override: BlockConfig) -> BlockConfig:
    """``defaults`` with the fields that ``override`` sets; an explicit null counts as set."""
    return defaults.model_copy(update={name: getattr(override, name) for name in override.model_fields_set})


class BlockItem(Flat):
    """A local block: ``{kind: dense, units: 2000, repeat: 4}``."""

    inner: ClassVar[str] = "body"

    body: Annotated[Spec, Kind("body", also=CONTAINERS)] = Field(description="the module inside the block")
    repeat: Count = Field(default=1, description="how many such blocks in a row")
    name: Name | None = Field(default=None, description="name of the block; null: numbered")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")

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
        description="when a box that adapts does so again: finished: when no block before it learns any "
        "more; a number: after so many epochs; start: only when the run begins",
    )
    movable: bool = Field(
        default=True,
        description="whether each rank may have one of its own; false where there is only one",
    )
    name: Name | None = Field(default=None, description="name of the box; null: numbered")


class ModelItem(Strict):
    """A model from elsewhere, some of whose sub-modules learn by themselves; see `ffcore.localize`."""

    kind: Literal["model"] = Field(default="model", description="a model that knows nothing of ffcore")
    target: Annotated[Any, Function()] = Field(description="package.module:function or class that makes it")
    options: dict[str, Any] = Field(
        default={}, description="keyword arguments of the target; 'classes' stands for the number of classes"
    )
    at: list[str] | dict[str, BlockConfig | None] = Field(
        min_length=1,
        description="names of sub-modules, or patterns such as layers.*; or a mapping from these to what "
        "differs from the recipe's block",
    )
    head: str | None = Field(
        default=None, description="the sub-module that makes class logits; it learns by cross-entropy"
    )
    name: Name | None = Field(default=None, description="goes before the names of all its blocks")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")


class NetItem(Flat):
    """A whole network by its name: ``{kind: resnet17, widths: [40, 80, 160, 320]}``."""

    inner: ClassVar[str] = "net"

    net: Annotated[Spec, Kind("network")] = Field(description="the network")
    name: Name | None = Field(default=None, description="goes before the names of all its items")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")


class CircuitItem(Flat):
    """Blocks that see each other: ``{kind: recurrent, units: [2000, 2000, 2000]}``."""

    inner: ClassVar[str] = "circuit"

    circuit: Annotated[Spec, Kind("circuit")] = Field(description="the circuit")
    name: Name | None = Field(default=None, description="goes before the names of all its blocks")
    block: BlockConfig = Field(default=BlockConfig(), description="what differs from the recipe's block")
    blocks: dict[Name, BlockConfig] = Field(
        default={}, description="what differs for single blocks, by their names within the circuit"
    )

    @property
    def kind(self) -> str:
        """The kind of the circuit."""
        return self.circuit.kind


class ResidualItem(Strict):
    """Items with a shortcut around them."""

    kind: Literal["residual"] = Field(default="residual", description="items with a shortcut around them")
    merge: Literal["add", "concat"] = Field(
        default="add", description="how the shortcut comes back in, pooled if the items shrink the image"
    )
    items: list[NetworkItem] = Field(min_length=1, description="what the shortcut goes around")
    repeat: Count = Field(default=1, description="how many such groups in a row")
    name: Name | None = Field(default=None, description="name of the group; null: numbered")


def _as_item(value: Any) -> Any:
    """A module or a function is short for a block around the one, or a black box that calls the other."""
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
    if isinstance(kind, str) and kind in CONTAINERS:
        return kind
    for tag, noun in (("circuit", "circuit"), ("net", "network")):
        if is_instance(kind, NOUNS[noun].base):
            return tag
    if kind == OBJECT and "is" in value:  # a record, of which the keys beside it say what it was
        return "circuit" if "blocks" in value else "block" if "repeat" in value else "net"
    registry = manager.current().registry
    if kind in registry.names("circuit"):
        return "circuit"
    return "net" if kind in registry.names("network") else "block"


BuiltItem = ResidualItem | BoxItem | CircuitItem | ModelItem | BlockItem
"""What is left when networks by name are spelled out."""

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
    ByKind("", tuple(_ITEMS)),
]

ResidualItem.model_rebuild()
