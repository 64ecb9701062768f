"""The results of a run: the content of ``results.json``. Does not import torch.

results = Results.read("runs/digits-ff-20250101-120000")
results.test.accuracy              # an attribute, of a known type
results["test"]["accuracy"]        # the same value by key
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, ClassVar, NoReturn, Self, get_type_hints

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import UserError
from ffcore.files import CONFIG, RESULTS, SUMMARY
from ffcore.reading import read_json

__all__ = ["Accuracies", "Block", "DataSummary", "Paper", "Record", "Results", "Source"]

FORMAT = 1
"""Version of the results, metrics and arrays of a run; a newer version cannot be read."""

# Strict: a string is not a number, and a boolean is not one either.
Whole = Annotated[int, Field(strict=True, ge=0, lt=2**63)]
Real = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Seconds = Annotated[float, Field(strict=True, ge=0, lt=1e15)]
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Percent = Annotated[float, Field(strict=True, ge=0, le=100)]


def _without_null(accuracies: Any, info: ValidationInfo) -> Any:
    """Returns the accuracies that were measured: older runs have null for the others."""
    if info.context and isinstance(accuracies, Mapping):
        return {name: value for name, value in accuracies.items() if value is not None}
    return accuracies


PerSource = Annotated[Mapping[str, Share], BeforeValidator(_without_null)]


def _square(rows: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    if any(len(row) != len(rows) for row in rows):
        raise ValueError("its rows and columns should be the classes")
    return rows


Counts = Annotated[
    tuple[tuple[Annotated[int, Field(strict=True, ge=0, lt=2**53)], ...], ...], AfterValidator(_square)
]


class Record(dict[str, Any]):
    """A read-only dictionary whose known keys are attributes too.

    Unknown keys, such as those of a newer version, are kept in the dictionary. It can be written as JSON.

    Args:
        content: a mapping of JSON values.
        partial: keys may be missing or null, as in older runs; their attributes are then missing too.

    Raises:
        UserError: a key without a default is missing, or a value has another type.
    """

    always: ClassVar[tuple[str, ...]] = ()
    """Keys that every version has written."""

    def __init__(self, content: Mapping[str, Any], *, partial: bool = False) -> None:
        super().__init__(content)
        # Nested records replace their plain mappings, both as attributes and under their keys.
        for name, (adapter, required) in _fields(type(self)).items():
            if name not in content:
                if required and (not partial or name in self.always):
                    raise UserError(f"{name!r} is missing")
                continue
            if partial and content[name] is None and name not in self.always:
                continue
            try:
                value = adapter.validate_python(content[name], context=partial)
            except ValidationError as error:
                raise UserError(_problem(name, error)) from error
            object.__setattr__(self, name, value)
            if isinstance(value, Record):
                super().__setitem__(name, value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Record):
                super().__setitem__(name, list(value))

    def _read_only(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read-only; make a copy with dict(…) to change it")

    __setitem__ = __delitem__ = __ior__ = _read_only
    update = pop = popitem = clear = setdefault = _read_only

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def made(content: dict[str, Any], info: ValidationInfo) -> Record:
            return cls(content, partial=bool(info.context))

        return core_schema.with_info_after_validator_function(
            made, core_schema.dict_schema(core_schema.str_schema())
        )


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Accuracies(Record):
    """Metrics of the selected weights on one split.

    Attributes:
        accuracy: from the combined evidence of all sources, as a fraction.
        error: 100 · (1 − accuracy), in percent.
        per_block_accuracy: from each single block or readout, by name.
        confusion: counts of samples; rows are true classes, columns are predicted classes.
    """

    accuracy: Share
    error: Percent
    per_block_accuracy: PerSource
    confusion: Counts = ()

    @property
    def measures(self) -> dict[str, float | None]:
        """The algorithm's own metrics by name; None for a metric that was not finite."""
        known = _fields(type(self))
        return {name: value for name, value in self.items() if name not in known}


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Block(Record):
    """A block of the network.

    Attributes:
        name: the name in the recipe, or from the builder.
        shape: shape of its output for one sample.
        parameters: number of parameters, with those of its head.
        head_parameters: parameters of its head: of the goodness and the penalties. This and the following are
            None for older runs, and for blocks whose costs could not be counted.
        multiplications: of the body, in matrix products and convolutions of a forward pass of one sample.
        head_multiplications: of the head.
        kept: bytes that autograd keeps for backward of the body, for one sample, without parameters; closed
            forms keep less.
        head_kept: the same for the head.
    """

    always = ("name",)

    name: str
    shape: tuple[Whole, ...] = ()
    parameters: Whole = 0
    head_parameters: Whole | None = None
    multiplications: Whole | None = None
    head_multiplications: Whole | None = None
    kept: Whole | None = None
    head_kept: Whole | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Source(Record):
    """A source of evidence.

    Attributes:
        name: name of the block or readout.
        kind: "block" or "readout".
    """

    always = ("name", "kind")

    name: str
    kind: str


@dataclass(frozen=True, init=False, eq=False, repr=False)
class DataSummary(Record):
    """The data set.

    Attributes:
        name: name of the data set.
        shape: shape of one sample.
        classes: names of the classes.
        train: number of training samples, without the validation split.
        validation: number of validation samples; 0 without a validation split.
        test: number of test samples.
        provenance: origin and checksums of the files.
    """

    name: str
    shape: tuple[Whole, ...] = ()
    classes: tuple[str, ...] = ()
    train: Whole = 0
    validation: Whole = 0
    test: Whole = 0
    provenance: Mapping[str, Any] | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Paper(Record):
    """The result that a paper reports for this experiment.

    Attributes:
        test_error: in percent.
        source: table or page of the paper.
        known: how the value was obtained from the source.
        epochs: number of epochs in the paper.
    """

    test_error: Percent | None = None
    source: str = ""
    known: str | None = None
    epochs: Whole | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Results(Record):
    """All results of a finished run.

    Attributes:
        recipe: name of the recipe.
        title: title of the recipe.
        seed: seed of weights, sample order and random numbers.
        test: metrics on the test split.
        val: metrics on the validation split; None without a validation split.
        epochs: number of trained epochs.
        steps: number of steps.
        epoch_selected: the epoch whose weights were tested, from 1.
        selected: how the epoch was selected: "last" or "best".
        wall_s: seconds in total; of a resumed run, the sum over all its parts.
        train_s: seconds of training.
        samples_per_s: training samples per second of training.
        peak_memory: bytes; allocated on a GPU, otherwise resident in the process.
        parameters: number of parameters of the network.
        blocks: blocks in order of depth.
        sources: sources of evidence.
        contribution: kind of the layer contribution, which combines evidence.
        data: the data set.
        split: size, origin and seed of the validation split.
        paper: the result of the paper; None if the recipe has none.
        concluded: single numbers that the algorithm computed from the trained network.
        start: which weights of an earlier run were loaded; None without ``start``.
        resumed_after_steps: the steps after which the run was resumed.
        device: name of the device.
        threads: number of torch's threads on the CPU.
        ranks: number of ranks.
        strategy: how the ranks share the work.
        precision: Lightning's name of the precision.
        versions: versions of Python and the packages.
        git_commit: commit of ffcore's checkout; None outside a checkout.
        command: the command line that started the run; None for a run from Python.
        format: version of the files of the run; 0 for runs that have not recorded it.
    """

    recipe: str
    seed: Whole
    test: Accuracies
    epochs: Whole
    steps: Whole
    wall_s: Seconds
    train_s: Seconds
    parameters: Whole
    val: Accuracies | None = None
    title: str = ""
    epoch_selected: Whole | None = None
    selected: str | None = None
    samples_per_s: Seconds | None = None
    peak_memory: Whole | None = None
    blocks: tuple[Block, ...] = ()
    sources: tuple[Source, ...] = ()
    contribution: str | None = None
    data: DataSummary | None = None
    split: Mapping[str, Any] | None = None
    paper: Paper | None = None
    concluded: Mapping[str, Real] | None = None
    start: Mapping[str, Any] | None = None
    resumed_after_steps: tuple[Whole, ...] = ()
    device: str | None = None
    threads: Whole | None = None
    ranks: Whole = 1
    strategy: str | None = None
    precision: str | None = None
    versions: Mapping[str, str] | None = None
    git_commit: str | None = None
    command: str | None = None
    format: Whole = 0

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Results:
        """Read the results of a finished run.

        Args:
            path: the run directory, or a file such as ``results.json``.

        Raises:
            UserError: the directory does not exist, the run is not finished, or its results are damaged.
        """
        return _checked(path, partial=False)


def read_results(run_dir: str | os.PathLike[str]) -> dict[str, Any]:
    """Returns the content of ``results.json``; keys may be missing, as in older runs.

    Args:
        run_dir: the run directory, or the file itself.

    Raises:
        UserError: it is not the directory of a finished run, or the file is damaged or of a newer version.
    """
    return dict(_checked(run_dir, partial=True))


def _checked(run_dir: str | os.PathLike[str], *, partial: bool) -> Results:
    path = Path(run_dir)
    content = read_json(_file(path))
    try:
        results = Results(content, partial=partial)
    except UserError as error:
        raise UserError(f"{str(path)!r}: not the results of a run: {error}") from error
    if (content.get("format") or 0) > FORMAT:  # null in a damaged file
        raise UserError(
            f"{str(path)!r}: made by a newer version, in format {content['format']}; this version reads "
            f"formats up to {FORMAT}: install a newer ffcore"
        )
    return results


def _file(path: Path) -> Path:
    """Returns the file of the results; raises if it is missing."""
    try:
        if not path.exists():
            raise UserError(f"the run directory {str(path)!r} does not exist")
        file = path / RESULTS if path.is_dir() else path
        if file.exists():
            return file  # what is not a regular file is refused when it is read
        if (path / CONFIG).is_file():
            raise UserError(f"the run in {str(path)!r} is not finished: it has no {RESULTS}")
        if (path / SUMMARY).exists() and not (path / SUMMARY).is_file():
            raise UserError(f"{path / SUMMARY}: not a regular file")
        if (path / SUMMARY).is_file():
            raise UserError(f"{str(path)!r} is the directory of a sweep: name a run directory in it")
    except OSError as error:
        raise UserError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    raise UserError(f"{str(path)!r} is not a run directory: it has no {RESULTS}")


@functools.cache
def _fields(kind: type[Record]) -> dict[str, tuple[TypeAdapter[Any], bool]]:
    """Returns the validator of each field, and whether it is required. Cached: adapters are slow to make."""
    hints = get_type_hints(kind, include_extras=True)
    return {one.name: (TypeAdapter(hints[one.name]), one.default is MISSING) for one in fields(kind)}  # type: ignore[arg-type]


def _problem(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, (name, *first["loc"])))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
