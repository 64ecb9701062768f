"""The ``trainer`` part of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import UserError
from ffcore.options import Count, NotBool, Positive, Threads
from ffcore.recipe.callbacks import Callback, Logger
from ffcore.recipe.problems import wrong
from ffcore.recipe.spec import Kind, Spec, entry_of
from ffcore.recipe.strict import Name, Strict
from ffcore.recipe.unions import ByKind


def _no_fp16(value: Any) -> Any:
    if str(value).startswith("16"):
        raise ValueError("fp16 needs a loss scaler per block, which ffcore does not have; use bf16-mixed")
    return value


@dataclass(frozen=True, slots=True)
class ComponentName:
    """Checks a name that stands for a component without options; "auto" is always valid."""

    noun: str

    def __call__(self, value: str) -> str:
        """The name, if it is registered or a target.

        Raises:
            PydanticCustomError: it is neither.
        """
        if value != "auto":
            try:
                entry_of(self.noun, value, ("auto",))
            except UserError as error:
                raise wrong(str(error)) from error
        return value


@dataclass(frozen=True, slots=True)
class KindOrAuto(Kind):
    """As `Kind`, for a field that also takes "auto"."""

    def validate(self, value: object) -> Any:
        """See `Kind.validate`."""
        return value if value == "auto" else Kind.validate(self, value)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: value if value == "auto" else value.dump()
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"anyOf": [{"const": "auto"}, Kind.__get_pydantic_json_schema__(self, schema, handler)]}


Processes = Annotated[int, Field(ge=1, le=100_000), NotBool]
"""Number of processes or machines."""

Precision = Annotated[Literal["32-true", "bf16-mixed", "64-true"], BeforeValidator(_no_fp16)]


WHERE = (
    "devices",
    "num_nodes",
    "accelerator",
    "strategy",
    "threads",
    "balance",
    "cut",
    "timeout",
    "compare_every",
    "sync_batchnorm",
)
"""Entries about the hardware and the distribution of a run; they may change when it is resumed."""


WHERE_DATA = ("root", "path", "cache")
"""Options of data sets that name their place; a resumed run checks that the files there are the same."""

WHERE_PATHS = (
    *(f"trainer.{name}" for name in WHERE),
    *(f"data.{name}" for name in WHERE_DATA),
)
"""The overrides that a resumed run takes."""


def says_where(override: str) -> bool:
    """Returns whether an override such as ``trainer.devices=2`` is one of `WHERE_PATHS`."""
    path = override.partition("=")[0]
    return path in WHERE_PATHS or path.startswith("trainer.strategy.")


def _whose(value: Any) -> str:
    return "blocks" if isinstance(value, Mapping) else "all"


ClipValue = Annotated[
    Annotated[Positive, Tag("all")] | Annotated[dict[str, Positive], Tag("blocks")],
    Discriminator(_whose),
    ByKind(("all", "blocks")),
]


class TrainerConfig(Strict):
    """How long and on what to train."""

    hints: ClassVar[Mapping[str, str]] = {
        "accumulate_grad_batches": "here it is called 'accumulate'",
        "gradient_clip_val": "here it is called 'clip'",
    }

    max_epochs: Count = Field(default=20, description="passes over the training set")
    max_steps: Count | None = Field(default=None, description="batches after which to stop; null: no limit")
    devices: Processes = Field(default=1, description="processes on each machine, one per device")
    num_nodes: Processes = Field(default=1, description="machines")
    accelerator: Annotated[str, AfterValidator(ComponentName("accelerator"))] = Field(
        default="auto", description="sort of device: cpu, gpu, mps, …, or module:Class; auto: gpu or cpu"
    )
    strategy: Annotated[Spec | Literal["auto"], KindOrAuto("strategy", also=("auto",))] = Field(
        default="auto",
        description="several devices share batches (ff_local), blocks (ff_pipeline) or both (ff_grid), or "
        "module:Class; auto: ff_local",
    )
    balance: Literal["counted", "measured"] = Field(
        default="counted",
        description="ff_pipeline, ff_grid: blocks are divided by multiplications, or by measured time",
    )
    cut: list[Name] | None = Field(
        default=None,
        description="ff_pipeline, ff_grid: first blocks of the further ranks of a line; null: by balance",
    )
    timeout: Annotated[float, Field(ge=60, le=1e7), NotBool] = Field(
        default=1800.0,
        description="seconds after which a rank gives up waiting for another, also at the start",
    )
    compare_every: Count | None = Field(
        default=100,
        description="ff_local, ff_grid: steps between comparisons of the ranks' parameters; null: none",
    )
    sync_batchnorm: bool = Field(
        default=True,
        description="ff_local, ff_grid: batch norm of the global batch; false: each rank's, as in torch",
    )
    precision: Precision = Field(default="32-true", description="number format of weights and products")
    accumulate: Count = Field(default=1, description="batches per optimiser step")
    clip: Positive | None = Field(
        default=None, description="largest gradient norm of a block; null: no limit"
    )
    clip_value: ClipValue | None = Field(
        default=None,
        description="largest size of a single number of a gradient; null: no limit; or a mapping from blocks "
        'to their own, in which "*" is for all others',
    )
    validate_every: Count = Field(default=1, description="epochs between validations")
    patience: Count | None = Field(
        default=None, description="validations without a better accuracy after which to stop; null: no limit"
    )
    checkpoint_every: Count | None = Field(
        default=None, description="batches between checkpoints within an epoch; null: at its end only"
    )
    select: Literal["last", "best"] = Field(
        default="last", description="weights to test: of the last epoch, or best on validation"
    )
    threads: Threads | None = Field(default=None, description="torch's threads; null: torch chooses")
    loggers: list[Logger] = Field(
        default=[],
        description="loggers that receive the metrics of every epoch: tensorboard, wandb, mlflow, …",
    )
    callbacks: list[Callback] = Field(
        default=[], description="Lightning's by name, or package.module:Class, with their options"
    )
    arrays: bool = Field(
        default=True,
        description="measure what only arrays.npz and the report show: goodness, receptive fields, mistakes",
    )
    bar: bool = Field(default=True, description="show a progress bar")
