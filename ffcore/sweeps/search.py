"""A search: what is searched, as ``summary.json`` of its sweep holds it. Does not import Optuna or torch."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, field_validator, model_validator

from ffcore.errors import UserError
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import dump, load
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import parse, parse_value
from ffcore.recipe.trainer import WHERE, WHERE_DATA
from ffcore.run.places import absolute
from ffcore.sweeps.grid import SweepRun, check, loads_as_one, path_of, several_values
from ffcore.sweeps.ranges import Range, choice, known, looks, parse_range

Whole = Annotated[int, Field(strict=True, ge=0)]
State = Literal["done", "pruned", "failed", "running"]
SAMPLERS = ("tpe", "random")
CHOSEN = ("trials", "prune", "sampler", "seed", "storage", "study")
"""The fields of `Search` that are options of the command, and arguments of `ffcore.sweep`."""
_ABOUT = ("name", "title", "reference", "paper", "description", "seed")
"""Keys of a recipe that do not change what is searched."""
_PASSWORD = re.compile(
    r"(?<=://)([^:/@\s]*):\S*@|([?&]\w*(?:passw|pwd|secret|token)\w*)=[^&\s]*", re.IGNORECASE
)
HIDDEN = "***"


class Trial(BaseModel):
    """A trial of a study, by any worker.

    Attributes:
        number: its number in the study, from 0.
        state: "done", "pruned", "failed" or "running".
        value: the validation error in percent, or the headline of another task; if pruned, the last one.
        values: the value of each parameter, as in an override.
        worker: host and directory of another worker; None for our own trials.
        error: why it has failed, if no run of it was started or its runs have no value.
    """

    number: Whole
    state: State
    value: float | None = None
    values: dict[str, str]
    worker: str | None = None
    error: str | None = None


class Search(BaseModel):
    """What a search tries, and what its study has found.

    Attributes:
        ranges: the range of each parameter, as on the command line.
        overrides: the other overrides.
        seeds: the seeds of every trial; empty for that of the recipe.
        trials: number of trials of the study, by all workers together.
        prune: whether trials that are worse than the median are stopped.
        sampler: "tpe" or "random".
        seed: seed of the sampler.
        storage: URL without a password; None for ``study.db`` in the directory of the sweep.
        url: URL with its password; not written to files.
        study: name of the study.
        headline: the headline of the task; None for the error in percent.
        lower: whether smaller values are better.
        digest: of the recipe with its overrides, without the ranges.
        found: the trials of the study.
        importance: of each parameter, their sum 1; None if there are too few trials.
    """

    ranges: Annotated[dict[str, str], Field(min_length=1)]
    overrides: tuple[str, ...] = ()
    seeds: tuple[Whole, ...] = ()
    trials: Annotated[int, Field(strict=True, ge=1)]
    prune: Annotated[bool, Field(strict=True)] = False
    sampler: Literal["tpe", "random"] = "tpe"
    seed: Whole = 0
    storage: str | None = None
    url: str | None = Field(default=None, exclude=True)
    study: str
    headline: str | None = None
    lower: bool = True
    digest: str = ""
    found: list[Trial] = []
    importance: dict[str, float] | None = None

    @field_validator("ranges")
    @classmethod
    def _readable(cls, ranges: dict[str, str]) -> dict[str, str]:
        for path, text in ranges.items():
            parse_range(path, text)
        return ranges

    @model_validator(mode="after")
    def _complete(self) -> Search:
        for trial in self.found:
            if trial.value is not None and (missing := self.ranges.keys() - trial.values.keys()):
                raise ValueError(f"trial {trial.number} has no value of {min(missing)}")
        return self

    def parsed(self) -> dict[str, Range]:
        """Returns the ranges by path."""
        return {path: parse_range(path, text) for path, text in self.ranges.items()}

    def identity(self, recipe: str) -> dict[str, Any]:
        """Returns what all workers of a study have in common."""
        return {
            "recipe": recipe,
            "ranges": dict(self.ranges),
            "seeds": list(self.seeds),
            "digest": self.digest,
        }

    @property
    def best(self) -> Trial | None:
        """The finished trial with the best validation value; test results are not used."""
        done = [trial for trial in self.found if trial.state == "done" and trial.value is not None]
        sign = 1 if self.lower else -1
        return min(done, key=lambda trial: sign * (trial.value or 0.0)) if done else None

    @property
    def measure(self) -> str:
        """The name of what is compared, with its unit."""
        return "validation error (%)" if self.headline is None else f"validation {self.headline}"

    def runs(self, number: int, values: Mapping[str, str], base: Path) -> list[SweepRun]:
        """Returns the runs of a trial, one for each seed, with their recipes.

        Args:
            number: the number of the trial.
            values: the value of each parameter.
            base: the recipe of the search, without its overrides.

        Raises:
            UserError: the values do not fit the recipe.
        """
        point = tuple(f"{path}={value}" for path, value in values.items())
        made = []
        for seed in self.seeds or (None,):
            own = () if seed is None else (f"seed={seed}",)
            name = f"trial-{number:04d}" + (f"+seed-{seed}" if len(self.seeds) > 1 else "")
            run = SweepRun(name, point, ordered((*self.overrides, *point, *own)), trial=number)
            recipe = absolute(load(str(base), run.overrides))
            run.seed, run.recipe = recipe.seed, dump(recipe)
            made.append(run)
        return made


def without_password(text: str) -> str:
    """Returns a storage URL, or a command line with one, without its password.

    >>> without_password("postgresql://me:secret@host/db")
    'postgresql://me:***@host/db'
    >>> without_password("mysql://host/db?user=me&password=secret")
    'mysql://host/db?user=me&password=***'
    """
    return _PASSWORD.sub(lambda m: f"{m[2]}={HIDDEN}" if m[2] else f"{m[1]}:{HIDDEN}@", text)


def plan(name: str, overrides: Sequence[str]) -> tuple[dict[str, Range], tuple[str, ...]]:
    """Returns the ranges of a search by path, and the other overrides.

    Args:
        name: name or path of the recipe.
        overrides: ranges such as ``optimizer.lr=log:1e-4:1e-1``, lists of values as in a grid, and others.

    Raises:
        UserError: a range is not valid, or its path is set twice.
    """
    found = {i: _range(one) for i, one in enumerate(overrides) if known(one)}
    # with the first value of each range, the other overrides can be read as one value or as several
    firsts = list(overrides)
    for i, searched in found.items():
        firsts[i] = f"{searched.path}={searched.tried()[0]}"
    for i, values in several_values(name, firsts).items():
        found[i] = choice(path_of(overrides[i]), [value.partition("=")[2] for value in values])
        firsts[i] = values[0]
    for i, one in enumerate(overrides):
        if i not in found and looks(one) and not loads_as_one(name, firsts, firsts, i):
            _range(one)  # raises: the word is unknown
    paths = [path_of(one) for one in overrides]
    for searched in found.values():
        if paths.count(searched.path) > 1:
            raise UserError(f"{searched.path}: is searched, and is set by a second override")
    rest = tuple(one for i, one in enumerate(overrides) if i not in found)
    return {found[i].path: found[i] for i in sorted(found)}, rest


def ordered(overrides: Iterable[str]) -> tuple[str, ...]:
    """Returns overrides with those of components first: a new component begins with its own options.

    >>> ordered(["optimizer.lr=0.1", "optimizer=sgd"])
    ('optimizer=sgd', 'optimizer.lr=0.1')
    """
    return tuple(sorted(overrides, key=lambda one: path_of(one).removesuffix(".kind").count(".")))


def tried(searched: Mapping[str, Range], overrides: Sequence[str], seeds: Sequence[int]) -> list[SweepRun]:
    """Returns runs that are only checked: every value that is tried, with the first value of the others.

    One more run has the last value of every parameter.
    """
    values = {path: one.tried() for path, one in searched.items()}
    points = [
        {other: value if other == path else values[other][0] for other in values}
        for path in values
        for value in values[path]
    ]
    points.append({path: several[-1] for path, several in values.items()})
    own = [f"seed={seeds[0]}"] if seeds else []
    unique = dict.fromkeys(tuple(f"{path}={value}" for path, value in point.items()) for point in points)
    return [SweepRun("", point, ordered((*overrides, *point, *own))) for point in unique]


def checked(
    name: str, runs: Sequence[SweepRun], build: Callable[[Recipe], Any]
) -> tuple[str, str | None, bool]:
    """Check the recipes of `tried`.

    Returns:
        The ``name`` in the recipe, the headline of its task (None: the error), and whether lower is better.

    Raises:
        UserError: a recipe is not valid, or its data have no validation split.
    """
    facts: list[Any] = []

    def collect(recipe: Recipe) -> None:
        facts.append(build(recipe))
        if not facts[-1].validated:
            raise UserError(
                "a search compares runs by their validation, but data.validation is 0; write 0.1 or so"
            )

    own = check(name, runs, collect)
    measures = {(one.headline, one.lower) for one in facts}
    if len(measures) > 1:
        names = " and ".join(sorted(str(headline or "error") for headline, _ in measures))
        raise UserError(
            f"the points of the search have different measures, which cannot be compared: {names}"
        )
    headline, lower = measures.pop()
    return own, headline, headline is None or lower


def base_of(name: str, overrides: Sequence[str], first: SweepRun) -> str:
    """Returns the complete recipe, to which overrides and values are applied: its own file may change."""
    for given in ((), overrides):
        try:
            return dump(absolute(load(name, given)))
        except RecipeError:
            continue  # a recipe may be complete only with its overrides
    return dump(absolute(load(name, first.overrides)))


def fixed(overrides: Sequence[str], first: SweepRun) -> tuple[str, ...]:
    """Returns the overrides with absolute paths, as the recipe of a checked run has them."""
    assert first.recipe is not None
    whole = parse(first.recipe, "recipe").data
    made = []
    for override in overrides:
        path, _, text = override.partition("=")
        there: Any = whole
        for key in path.strip().split("."):
            there = there.get(key) if isinstance(there, dict) else None
        relative = isinstance(there, str) and there.startswith("/") and there != parse_value(text)
        made.append(f"{path}={json.dumps(there, ensure_ascii=False)}" if relative else override)
    return tuple(made)


def digest_of(first: SweepRun, searched: Sequence[str]) -> str:
    """Returns a digest of the recipe without the searched values, its name, and where it computes."""
    assert first.recipe is not None
    data = parse(first.recipe, "recipe").data
    for key in _ABOUT:
        data.pop(key, None)
    for group, keys in (("trainer", (*WHERE, "bar")), ("data", WHERE_DATA)):
        for key in keys:
            data[group].pop(key, None)
    text = json.dumps([data, sorted(searched)], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _range(override: str) -> Range:
    path, _, text = override.partition("=")
    return parse_range(path.strip(), text)


def short(override: str) -> str:
    """Returns an override for people: numbers with three digits.

    >>> short("optimizer.lr=0.0123456"), short("network.0.units=1234"), short("optimizer.kind=adam")
    ('optimizer.lr=0.0123', 'network.0.units=1234', 'optimizer.kind=adam')
    """
    path, _, text = override.partition("=")
    return f"{path}={short_value(text)}"


def short_value(text: str) -> str:
    """Returns the value of an override for people.

    >>> short_value("0.0123456"), short_value("1234"), short_value("adam")
    ('0.0123', '1234', 'adam')
    """
    try:
        int(text)
    except ValueError:
        try:
            return f"{float(text):.3g}"
        except ValueError:
            return text
    return text
