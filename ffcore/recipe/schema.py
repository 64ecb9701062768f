"""What a recipe may say. Every field has a description; every unknown key is an error."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, PrivateAttr

from ffcore.options import Count, Natural, Number
from ffcore.recipe.data import DataConfig
from ffcore.recipe.lr import LRSchedule
from ffcore.recipe.network import BlockConfig, NetworkItem
from ffcore.recipe.optimizers import OptimizerConfig
from ffcore.recipe.spec import Kind, Spec
from ffcore.recipe.start import StartConfig
from ffcore.recipe.strict import Name, NullIsEmpty, Strict
from ffcore.recipe.trainer import TrainerConfig
from ffcore.recipe.tree import FROM_PYTHON, Tree, Written, origin


def _as_list(value: Any) -> Any:
    """A network of one item may be that item."""
    return value if isinstance(value, list | tuple) else [value]


class Paper(Strict):
    """What the paper reports, to compare with."""

    test_error: Annotated[Number, Field(ge=0, le=100)] = Field(description="test error in percent")
    source: str = Field(description="where the number is from and how well it is known, in plain words")
    known: Literal["text", "code", "secondary", "recalled"] | None = Field(
        default=None, description="read in the authors' text or code, in secondary sources, or from memory"
    )
    epochs: Count | None = Field(default=None, description="how many epochs the paper trained")


class Recipe(Strict):
    """One experiment."""

    name: str = Field(min_length=1, description="short name, also that of the run directory")
    title: str = Field(default="", description="one line")
    reference: str = Field(default="", description="the paper: authors, year, where")
    paper: Paper | None = Field(default=None, description="what the paper reports")
    description: str = Field(default="", description="what is done, and how it differs from the paper")
    seed: Natural = Field(default=1, description="seed of weights, order and draws")
    data: DataConfig = Field(description="the data set, and how it is dealt out")
    algorithm: Annotated[Spec, Kind("algorithm")] = Field(description="views of a batch, and class scores")
    network: Annotated[list[NetworkItem], BeforeValidator(_as_list)] = Field(
        min_length=1, description="blocks, circuits, shortcuts, black boxes, models; or a single one of them"
    )
    block: BlockConfig = Field(default=BlockConfig(), description="what all blocks have unless they say else")
    readouts: Annotated[dict[Name, Annotated[Spec, Kind("readout")]], NullIsEmpty] = Field(
        default={}, description="classifiers that listen to blocks, by a name of your own"
    )
    start: StartConfig | None = Field(
        default=None, description="weights to begin with, and blocks that do not learn"
    )
    schedule: Annotated[Spec, Kind("schedule")] | None = Field(
        default=None, description="which blocks learn when; null: as the algorithm has it"
    )
    optimizer: OptimizerConfig = Field(
        default={"kind": "adam"}, validate_default=True, description="the optimiser of every block"
    )
    readout_optimizer: OptimizerConfig | None = Field(
        default=None, description="the optimiser of readouts; null: the same"
    )
    lr_schedule: LRSchedule = Field(
        default={"kind": "constant"}, validate_default=True, description="how the learning rate changes"
    )
    contribution: Annotated[Spec, Kind("contribution")] = Field(
        default={"kind": "sum"}, validate_default=True, description="how the layers' evidence is combined"
    )
    trainer: TrainerConfig = Field(default=TrainerConfig(), description="how long and on what to train")

    _written: Written = PrivateAttr(default=Written({}))

    def located(self, tree: Tree) -> Recipe:
        """This recipe, knowing where each of its lines was written."""
        self._written = Written(tree.origins)
        return self

    def place(self, path: str) -> str:
        """A path such as ``network.1.box``, with the file and line where it was written if that is known."""
        parts = tuple(int(part) if part.isdecimal() else part for part in path.split("."))
        where = origin(self._written.origins, parts)
        return f"{path} ({where})" if where and where != FROM_PYTHON else path
