"""The results of a run: the content of ``results.json``. Does not import torch.

results = Results.read("runs/digits-ff-20250101-120000")
results.test.accuracy              # an attribute, of a known type
results["test"]["accuracy"]        # the same value by key
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from ffcore.errors import UserError
from ffcore.files import CONFIG, RESULTS, SUMMARY
from ffcore.plugin import manager
from ffcore.reading import read_json
from ffcore.report.cost_record import Costs
from ffcore.report.keyed import Record, fields_of
from ffcore.report.values import Counts, Percent, PerSource, Real, Seconds, Shape, Share, Whole

__all__ = ["Accuracies", "Block", "DataSummary", "Paper", "Record", "Results", "Source"]

FORMAT = 1
"""Version of the results, metrics and arrays of a run; a newer version cannot be read."""


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Accuracies(Record):
    """Metrics of the selected weights on one split.

    Another task than the classification of samples has its own measures in place of the first three, such as
    "r2" in `measures`, and `per_block`.

    Attributes:
        accuracy: from the combined evidence of all sources, as a fraction.
        error: 100 · (1 − accuracy), in percent.
        per_block_accuracy: from each single block or readout, by name.
        confusion: counts of samples; rows are true classes, columns are predicted classes.
        per_block: of another task, its headline from each single block or readout, by name.
    """

    of_classes: ClassVar[tuple[str, ...]] = ("accuracy", "error", "per_block_accuracy")

    accuracy: Share
    error: Percent
    per_block_accuracy: PerSource
    confusion: Counts = ()
    per_block: Mapping[str, Real | None] = dataclasses.field(default_factory=dict)

    def __init__(self, content: Mapping[str, Any], *, partial: bool = False) -> None:
        # results of another task have per_block, and no accuracy of samples
        super().__init__(content, partial=partial or "per_block" in content)

    def __getattr__(self, name: str) -> Any:
        if name in self.of_classes:
            raise AttributeError(f"the results of this task have no {name}; they have {', '.join(self)}")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def measures(self) -> dict[str, float | None]:
        """Measures of the task and metrics of the algorithm by name; None for one that was not finite."""
        known = ("per_block", "confusion") if "per_block" in self else tuple(fields_of(type(self)))
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
    shape: Shape = ()
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
        averages: what was tested in place of the weights of one step, if a callback took averages.
        wall_s: seconds in total; of a resumed run, the sum over all its parts.
        train_s: seconds of training.
        samples_per_s: training samples per second of training.
        peak_memory: bytes; allocated on a GPU, otherwise resident in the process.
        parameters: number of parameters of the network.
        blocks: blocks in order of depth.
        cost_sheet: `ffcore.cost_sheet` of the network, with ``data.batch_size``; None for older runs.
        sources: sources of evidence.
        boxes: ``calls, rows, seconds`` of each black box by purpose: fitting, learning, measuring; None
            without one.
        costs: what each phase has cost; None for older runs.
        stopped: after how many epochs validation has stopped each block; None without such a schedule.
        contribution: kind of the layer contribution, which combines evidence.
        data: the data set.
        task: name, headline and whether smaller headlines are better; None for the classification of samples.
        split: size, origin and seed of the validation split.
        paper: the result of the paper; None if the recipe has none.
        concluded: single numbers that the algorithm computed from the trained network.
        start: which weights of an earlier run were loaded; None without ``start``.
        resumed_after_steps: the steps after which the run was resumed.
        device: name of the device.
        threads: number of torch's threads on the CPU.
        ranks: number of ranks.
        strategy: how the ranks share the work.
        placement: ``rank, blocks, cost, parameters, whole`` of each rank, if ranks divided the blocks.
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
    averages: str | None = None
    samples_per_s: Seconds | None = None
    peak_memory: Whole | None = None
    blocks: tuple[Block, ...] = ()
    cost_sheet: Mapping[str, Any] | None = None
    sources: tuple[Source, ...] = ()
    boxes: Mapping[str, Any] | None = None
    costs: Costs | None = None
    stopped: Mapping[str, Any] | None = None
    contribution: str | None = None
    data: DataSummary | None = None
    task: Mapping[str, Any] | None = None
    split: Mapping[str, Any] | None = None
    paper: Paper | None = None
    concluded: Mapping[str, Real] | None = None
    start: Mapping[str, Any] | None = None
    resumed_after_steps: tuple[Whole, ...] = ()
    device: str | None = None
    threads: Whole | None = None
    ranks: Whole = 1
    strategy: str | None = None
    placement: tuple[Mapping[str, Any], ...] = ()
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
            again = manager.command("run", "--resume", str(path))
            raise UserError(
                f"the run in {str(path)!r} is not finished: it has no {RESULTS}; resume it with `{again}`"
            )
        if (path / SUMMARY).exists() and not (path / SUMMARY).is_file():
            raise UserError(f"{path / SUMMARY}: not a regular file")
        if (path / SUMMARY).is_file():
            raise UserError(f"{str(path)!r} is the directory of a sweep: name a run directory in it")
    except OSError as error:
        raise UserError(f"{str(path)!r}: cannot be read: {error.strerror}") from error
    raise UserError(f"{str(path)!r} is not a run directory: it has no {RESULTS}")
