"""The schema of recipes. Every field has a description; every unknown key is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from ffcore.options import Count, Number, Seed
from ffcore.recipe.data import DataConfig
from ffcore.recipe.lr import LRSchedule
from ffcore.recipe.network import BlockConfig, NetworkItem
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.spec import Kind, Spec
from ffcore.recipe.start import StartConfig
from ffcore.recipe.strict import Name, NullIsEmpty, Strict
from ffcore.recipe.strings import Label, Text
from ffcore.recipe.trainer import TrainerConfig
from ffcore.recipe.tree import FROM_PYTHON, Tree, Written, origin


def _as_list(value: Any) -> Any:
    """Convert a network of one item to a list."""
    return value if isinstance(value, list | tuple) else [value]


class Paper(Strict):
    """The result that the paper reports, for comparison."""

    test_error: Annotated[Number, Field(ge=0, le=100)] = Field(description="test error in percent")
    source: Text = Field(description="table or page of the paper, and how the number was read")
    known: Literal["text", "code", "secondary", "recalled"] | None = Field(
        default=None,
        description="source of the number: the authors' text or code, secondary sources, or memory",
    )
    epochs: Count | None = Field(default=None, description="number of epochs in the paper")


class Recipe(Strict):
    """A recipe: the description of one experiment."""

    name: Label = Field(min_length=1, description="short name, also part of the name of the run directory")
    title: Text = Field(default="", description="one line")
    reference: Text = Field(default="", description="the paper: authors, year, publication")
    paper: Paper | None = Field(default=None, description="the result of the paper")
    description: Text = Field(default="", description="the experiment, and how it differs from the paper")
    seed: Seed = Field(default=1, description="seed of weights, order of samples and random numbers")
    data: DataConfig = Field(description="the data set and its batches")
    algorithm: Annotated[Spec, Kind("algorithm")] = Field(description="views of a batch, and class scores")
    network: Annotated[list[NetworkItem], BeforeValidator(_as_list)] = Field(
        min_length=1,
        description="blocks, circuits, residual stages, black boxes, models; or a single one of them",
    )
    block: BlockConfig = Field(
        default=BlockConfig(), description="options of all blocks, unless a block sets its own"
    )
    readouts: Annotated[dict[Name, Annotated[Spec, Kind("readout")]], NullIsEmpty] = Field(
        default={}, description="classifiers on the handoffs of blocks, by names of your own"
    )
    start: StartConfig | None = Field(
        default=None, description="initial weights from another run, and blocks that do not learn"
    )
    schedule: Annotated[Spec, Kind("schedule")] | None = Field(
        default=None, description="which blocks learn at which time; null: that of the algorithm"
    )
    optimizer: OptimizerConfig = Field(
        default={"kind": "adam"}, validate_default=True, description="the optimiser of every block"
    )
    readout_optimizer: OptimizerConfig | None = Field(
        default=None, description="the optimiser of readouts; null: that of the blocks"
    )
    lr_schedule: LRSchedule = Field(
        default={"kind": "constant"}, validate_default=True, description="how the learning rate changes"
    )
    contribution: Annotated[Spec, Kind("contribution")] | None = Field(
        default=None,
        description="combines the evidence of blocks and readouts; null: that of the task, such as sum for "
        "classes",
    )
    trainer: TrainerConfig = Field(
        default=TrainerConfig(), description="length, devices and precision of the training"
    )

    _written: Written = PrivateAttr(default=Written({}))

    def located(self, tree: Tree) -> Recipe:
        """Store the file and line of each value of the recipe, for messages. Returns the recipe."""
        self._written = Written(tree.origins)
        return self

    def place(self, path: str) -> str:
        """Returns a path such as ``network.1.box``, with its file and line if they are known."""
        parts = tuple(int(part) if part.isdecimal() else part for part in path.split("."))
        where = origin(self._written.origins, parts)  # empty for a recipe that was made in Python
        return f"{path} ({where})" if where and where != FROM_PYTHON else path
