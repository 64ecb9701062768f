"""The results of a run, as ``results.json`` holds them. Light: no torch.

results = Results.read("runs/digits-ff-20250101-120000")
results.test.accuracy              # an attribute, of a known type
results["test"]["accuracy"]        # the same figure by key
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, NoReturn, Self, get_type_hints

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import UserError
from ffcore.report.record import read_results

__all__ = ["Accuracies", "Block", "DataSummary", "Paper", "Record", "Results", "Source"]


class Record(dict[str, Any]):
    """A read-only dictionary whose known keys are attributes too.

    Unknown keys, such as those of a newer version, stay in the dictionary. It can be written as JSON.

    Args:
        content: a mapping, as JSON has it.

    Raises:
        UserError: a key without a default is missing, or a value has another type.
    """

    def __init__(self, content: Mapping[str, Any]) -> None:
        super().__init__(content)
        for name, (adapter, required) in _fields(type(self)).items():
            if name not in content:
                if required:
                    raise UserError(f"{name!r} is missing")
                continue
            try:
                value = adapter.validate_python(content[name])
            except ValidationError as error:
                raise UserError(_problem(name, error)) from error
            object.__setattr__(self, name, value)
            if isinstance(value, Record):
                super().__setitem__(name, value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Record):
                super().__setitem__(name, list(value))

    def _read_only(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read-only; dict(…) makes a copy that is not")

    __setitem__ = __delitem__ = __ior__ = _read_only
    update = pop = popitem = clear = setdefault = _read_only

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(cls, core_schema.dict_schema())


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Accuracies(Record):
    """Figures of the selected weights on one split.

    Attributes:
        accuracy: of all sources of evidence combined, as a fraction.
        error: 100 · (1 − accuracy), in percent.
        per_block_accuracy: of each block or readout alone, by name.
        confusion: counts of samples; a row each true class, a column each predicted class.
    """

    accuracy: float
    error: float
    per_block_accuracy: Mapping[str, float]
    confusion: tuple[tuple[int, ...], ...] = ()

    @property
    def measures(self) -> dict[str, float | None]:
        """The algorithm's own figures by name; None where one was not finite."""
        known = _fields(type(self))
        return {name: value for name, value in self.items() if name not in known}


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Block(Record):
    """A block of the network.

    Attributes:
        name: as the recipe or the builder calls it.
        shape: of its output for one sample.
        parameters: their number.
    """

    name: str
    shape: tuple[int, ...] = ()
    parameters: int = 0


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Source(Record):
    """A source of evidence about the class.

    Attributes:
        name: of the block or readout.
        kind: "block" or "readout".
    """

    name: str
    kind: str


@dataclass(frozen=True, init=False, eq=False, repr=False)
class DataSummary(Record):
    """The data set.

    Attributes:
        name: of the set.
        shape: of one sample.
        classes: names of the classes.
        train: samples that the run learned from.
        validation: samples of the validation split; 0 where there is none.
        test: samples of the test split.
        provenance: where the files are from, and their checksums.
    """

    name: str
    shape: tuple[int, ...] = ()
    classes: tuple[str, ...] = ()
    train: int = 0
    validation: int = 0
    test: int = 0
    provenance: Mapping[str, Any] | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Paper(Record):
    """The figure that a paper reports for this experiment.

    Attributes:
        test_error: in percent.
        source: where the figure is from.
        known: how well it is known.
        epochs: how many epochs the paper trained.
    """

    test_error: float | None = None
    source: str = ""
    known: str | None = None
    epochs: int | None = None


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Results(Record):
    """All figures of a finished run.

    Attributes:
        recipe: its name.
        title: one line about it.
        seed: of weights, order and random numbers.
        test: figures on the test split.
        val: figures on the validation split; None where there is none.
        epochs: how many were trained.
        steps: how many batches were learned.
        epoch_selected: the epoch whose weights were tested, from 1.
        selected: how it was chosen: "last" or "best".
        wall_s: seconds in all, over all parts of a resumed run.
        train_s: seconds of learning.
        samples_per_s: training samples per second of learning.
        peak_memory: bytes; allocated on a GPU, else resident in the process.
        parameters: number of parameters of the network.
        blocks: in order of depth.
        sources: what gives evidence about the class.
        contribution: how evidence is combined.
        data: the data set.
        split: how the validation split was cut.
        paper: the paper's figure; None where the recipe names none.
        concluded: single numbers that the algorithm draws from the trained network.
        start: what an earlier run's weights were used for; None where they were not.
        resumed_after_steps: the steps after which the run was resumed.
        device: in words.
        threads: of torch on the CPU.
        ranks: number of processes.
        strategy: how they share the work.
        precision: of the numbers, as Lightning calls it.
        versions: of Python and the packages.
        git_commit: of ffcore's checkout; None where ffcore was installed.
        command: the command line that made the run; None for a run from Python.
    """

    recipe: str
    seed: int
    test: Accuracies
    epochs: int
    steps: int
    wall_s: float
    train_s: float
    parameters: int
    val: Accuracies | None = None
    title: str = ""
    epoch_selected: int | None = None
    selected: str | None = None
    samples_per_s: float | None = None
    peak_memory: int | None = None
    blocks: tuple[Block, ...] = ()
    sources: tuple[Source, ...] = ()
    contribution: str | None = None
    data: DataSummary | None = None
    split: Mapping[str, Any] | None = None
    paper: Paper | None = None
    concluded: Mapping[str, float] | None = None
    start: Mapping[str, Any] | None = None
    resumed_after_steps: tuple[int, ...] = ()
    device: str | None = None
    threads: int | None = None
    ranks: int = 1
    strategy: str | None = None
    precision: str | None = None
    versions: Mapping[str, str] | None = None
    git_commit: str | None = None
    command: str | None = None

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Results:
        """Read the results of a finished run.

        Args:
            path: the run's folder, or a file such as ``results.json``.

        Raises:
            UserError: there is no such folder, the run has not finished, or its results are damaged.
        """
        content = read_results(path)
        try:
            return cls(content)
        except UserError as error:
            raise UserError(f"{os.fspath(path)!r}: not the results of a run: {error}") from error


@functools.cache
def _fields(kind: type[Record]) -> dict[str, tuple[TypeAdapter[Any], bool]]:
    """What validates each field, and whether the field is required."""
    hints = get_type_hints(kind)
    return {one.name: (TypeAdapter(hints[one.name]), one.default is MISSING) for one in fields(kind)}  # type: ignore[arg-type]


def _problem(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, (name, *first["loc"])))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
