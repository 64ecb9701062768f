"""Unique names of several runs, and the settings of their recipes that differ."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ffcore.report.record import RunRecord
from ffcore.report.text import NOTHING

DESCRIPTIVE = ("name", "title", "description", "reference", "paper")
"""Keys that describe a recipe and do not change the run."""


def names_of_runs(runs: Sequence[RunRecord]) -> list[str]:
    """Returns unique names: the recipe, or recipe and seed, or the directory, or directory and number."""
    recipes = [str(run.get("recipe") or run.path.name) for run in runs]
    seeds = [f"{name}, seed {run.get('seed')}" for name, run in zip(recipes, runs, strict=True)]
    folders = [run.path.resolve().name for run in runs]
    for names in (recipes, seeds, folders):
        if len(set(names)) == len(names):
            return names
    return [f"{name} ({i})" for i, name in enumerate(folders, 1)]


def differences(runs: Sequence[RunRecord]) -> dict[str, list[str]]:
    """Returns the settings that differ between runs, by dotted path: one value per run.

    Runs without a recipe are not compared.
    """
    settings = [dict(leaves({k: v for k, v in run.config.items() if k not in DESCRIPTIVE})) for run in runs]
    known = [own for own, run in zip(settings, runs, strict=True) if run.config]
    paths = dict.fromkeys(path for own in known for path in own)
    # Paths of one part of the recipe stay together, in the order of the recipe.
    parts = list(dict.fromkeys(path.split(".")[0] for path in paths))
    return {
        path: [own.get(path, NOTHING) for own in settings]
        for path in sorted(paths, key=lambda path: parts.index(path.split(".")[0]))
        if len({own.get(path) for own in known}) > 1
    }


def grouped(different: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, Sequence[str]]]:
    """Yield the rows of a table of differences; a part of the recipe with several gets a row of its own.

    >>> list(grouped({"seed": ["1", "2"], "block.goodness.kind": ["a", "b"], "block.rule.kind": ["–", "c"]}))
    [('seed', ['1', '2']), ('block', ()), ('goodness.kind', ['a', 'b']), ('rule.kind', ['–', 'c'])]
    """
    sizes = Counter(path.partition(".")[0] for path in different)
    last = ""
    for path, cells in different.items():
        part, _, rest = path.partition(".")
        if sizes[part] < 2 or not rest:
            yield path, cells
            continue
        if part != last:
            yield part, ()
        last = part
        yield rest, cells


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield the values of a nested setting with their dotted paths."""
    inside = dict(enumerate(value)) if isinstance(value, list) else value
    if isinstance(inside, dict) and inside:
        for key, item in inside.items():
            yield from leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
