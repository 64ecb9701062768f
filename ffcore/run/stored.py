"""The schema of a checkpoint, and how its weights get into a module.

torch opens a checkpoint with ``weights_only``; what it returns is checked here before it is used. The states
of optimisers, loops and callbacks are checked by their owners, inside `restoring`.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from torch import Tensor

from ffcore.data import encodings
from ffcore.engine.module import ForwardOnly
from ffcore.errors import RunError, UserError, a, one_line, typed
from ffcore.files import CONFIG
from ffcore.reading import opened
from ffcore.report.values import Real, Seconds, Whole

MOST_VALUES = 2**31
"""Largest number of values of one sample, and of classes: larger ones would ask for terabytes of weights."""


STATES: Mapping[str, type] = {
    "state_dict": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "loops": dict,
    "epoch": int,
    "global_step": int,
    "pytorch-lightning_version": str,
}
"""Entries of Lightning's without which a run cannot be resumed, with their types."""


def _state(values: Any) -> Any:
    """Check that a state dict has tensors. Extra states of components may be of any type."""
    for name, value in values.items() if isinstance(values, Mapping) else ():
        if not isinstance(value, Tensor) and not str(name).endswith("_extra_state"):
            raise ValueError(f"{name} should be a tensor, not {type(value).__name__}")
    return values


class _Part(BaseModel):
    """Keys of newer versions are ignored."""

    model_config = ConfigDict(extra="ignore", arbitrary_types_allowed=True)


Sides = tuple[Annotated[Whole, Field(ge=1)], ...]
Shape = Sides | tuple[Sides, ...] | dict[str, Sides]
"""Shape of one sample; of several inputs a tuple or mapping of shapes."""


class _BeforeTransform(_Part):
    """Samples before the recipe's transform."""

    shape: Annotated[Shape, Field(min_length=1)]
    dtype: Any = None
    scale: Real


class DataMeta(_Part):
    """The data set of a run; see `ffcore.run.data.Data.meta`."""

    name: str
    shape: Annotated[Shape, Field(min_length=1)]
    dtype: Any = None
    task: dict[str, Any] | None = None
    classes: Annotated[tuple[str, ...], Field(min_length=1, max_length=MOST_VALUES)]
    groups: tuple[Whole, ...] | None = None
    scale: Real
    mean: Annotated[tuple[Real, ...], Field(min_length=1)]
    std: Annotated[tuple[Annotated[Real, Field(gt=0)], ...], Field(min_length=1)]
    provenance: dict[str, str] = {}
    stored: _BeforeTransform | None = None
    encoding: encodings.Stored | None = None

    @model_validator(mode="after")
    def _fits(self) -> Self:
        several = list(self.shape.values()) if isinstance(self.shape, dict) else list(self.shape)
        sides: Any = several if several and isinstance(several[0], tuple) else [self.shape]
        if sum(map(math.prod, sides)) > MOST_VALUES:
            raise ValueError(f"a sample of shape {self.shape} is too large")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (1, sides[0][0]):
                raise ValueError(f"{name} should have 1 or {sides[0][0]} values, not {len(values)}")
        if self.groups is not None and len(self.groups) != len(self.classes):
            raise ValueError(f"groups should have {len(self.classes)} values, not {len(self.groups)}")
        return self


class _Measured(_Part):
    accuracy: Annotated[float, Field(ge=0, le=1)] | None = None
    per_source: tuple[float, ...]
    measures: dict[str, float] = {}
    confusion: tuple[tuple[Whole, ...], ...] = ()


class Meta(_Part):
    """The data that ffcore adds to a checkpoint; see `Checkpoints.on_save_checkpoint`."""

    format: Whole = 0
    version: str = ""
    data: DataMeta
    learned: Annotated[bool, Field(strict=True)] = False
    epochs: Whole
    val: _Measured | None = None
    recipe: dict[str, Any] | None = None
    plugins: dict[str, str] = {}
    start: dict[str, Any] | None = None
    wall_s: Seconds = 0
    peak_memory: Whole = 0
    command: str | None = None
    commits: tuple[str | None, ...] = ()


class _Counts(_Part):
    ready: Whole
    completed: Whole


class _Steps(_Part):
    """The counts of Lightning's optimiser steps."""

    total: _Counts


class _Passes(_Counts):
    """Lightning raises these counts one after the other, for each epoch or batch."""

    started: Whole
    processed: Whole

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        counts = (self.completed, self.processed, self.started, self.ready)
        if sorted(counts) != list(counts) or self.ready > self.completed + 1:
            raise ValueError(f"ready, started, processed and completed do not fit: {counts[::-1]}")
        return self


class _Progress(_Part):
    total: _Passes
    current: _Passes


class _Batches(_Progress):
    last: Annotated[bool, Field(strict=True, alias="is_last_batch")]


class _FitLoop(_Part):
    """The states of the fit loop that Lightning skips in silence if they are missing."""

    epochs: _Progress = Field(alias="epoch_progress")
    batches: _Batches = Field(alias="epoch_loop.batch_progress")
    steps: _Steps = Field(alias="epoch_loop.manual_optimization.optim_step_progress")


class _Loops(_Part):
    fit_loop: _FitLoop


class Content(_Part):
    """A checkpoint."""

    ffcore: Meta
    state_dict: Annotated[dict[str, Any], BeforeValidator(_state)]
    global_step: Whole
    callbacks: dict[str, Any] = {}


def refuse_packed(path: Path) -> None:
    """Check that a checkpoint is a regular file whose members are not compressed, as torch writes them.

    A compressed member could unpack to any size.

    Raises:
        UserError: it is not.
    """
    with opened(path) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except Exception as error:  # of many types for a damaged file
            raise UserError(f"{path}: the checkpoint cannot be loaded: {one_line(error, 99)}") from error
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise UserError(f"{path}: the checkpoint cannot be loaded: it is compressed, which torch does not do")


def check(path: Path, content: Mapping[str, Any]) -> None:
    """Check the types of a checkpoint's content.

    Raises:
        UserError: a part is missing or has another type; the message names it.
    """
    try:
        Content.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: not a checkpoint of a run: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Returns the place and the message of the first error."""
    first = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg'].removeprefix('Value error, ')}"


def refuse_incomplete(path: Path, content: Mapping[str, Any]) -> None:
    """Check that a checkpoint has the states without which Lightning begins again, or ends, in silence.

    Raises:
        UserError: one is missing or has another type; the message names it.
    """
    refused = f"{path}: the run cannot be resumed from this checkpoint"
    for name, kind in STATES.items():
        if not isinstance(content.get(name), kind):
            given = a(type(content[name]).__name__) if name in content else "missing"
            raise UserError(f"{refused}: {name} is {given}; it should be {a(kind.__name__)}")
    # one for all blocks; Lightning would restore nothing from an empty list
    if len(content["optimizer_states"]) != 1:
        count = len(content["optimizer_states"])
        raise UserError(f"{refused}: optimizer_states has {count} entries; it should have one")
    try:
        loop = _Loops.model_validate(content["loops"]).fit_loop
    except ValidationError as error:
        raise UserError(f"{refused}: loops.{_first(error)}") from error
    for name, count in (
        ("epoch", loop.epochs.current.completed),
        ("global_step", loop.steps.total.completed),
    ):
        # Lightning resumes at the counts of the loop; ffcore reads these entries
        if content[name] != count:
            raise UserError(f"{refused}: {name} is {content[name]}, but loops.fit_loop has {count}")


def load_weights(
    module: ForwardOnly, content: Mapping[str, Any], path: Path, *, is_given: bool = False
) -> None:
    """Load the weights of a checkpoint into a module.

    Args:
        module: gets the weights.
        content: of the checkpoint.
        path: of the checkpoint.
        is_given: whether the network of the module was given from Python, and not made from the recipe.

    Raises:
        UserError: they do not fit.
    """
    own, where = module.state_dict(), f"{path.parent.parent}: {path.name} does not fit {CONFIG}"
    if is_given:
        where = f"net: does not fit {path}; make it in the same way as that of the run"
    for name, value in content["state_dict"].items():
        # torch would drop the imaginary part with a warning
        if isinstance(value, Tensor) and value.is_complex() and not _is_complex(own.get(name)):
            raise UserError(f"{where}: {name} is complex; it should be real")
    try:
        module.load_state_dict(content["state_dict"])
    except UserError:  # a pickle of a black box that the user has not trusted
        raise
    except Exception as error:  # states of components may be of any type
        raise UserError(f"{where}: {one_line(error, 300)}") from error


def _is_complex(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_complex()


@contextmanager
def restoring(path: Path | None, begun: Callable[[], bool] = lambda: False) -> Iterator[None]:
    """Name the checkpoint in errors of its states: optimisers, loops, callbacks, the partial epoch.

    Args:
        path: the checkpoint; None: nothing is restored, and errors are not changed.
        begun: returns whether all states have been restored.

    Raises:
        UserError: instead of an error of another type, before training has begun.
    """
    try:
        yield
    except (UserError, RunError):
        raise
    except Exception as error:
        if path is None or begun():
            raise
        refused = UserError(f"{path}: the run cannot be resumed from this checkpoint: {typed(error, 200)}")
        refused.unwritten = True
        raise refused from error
