"""Checks of what is registered: target, contract, config and documentation."""

from __future__ import annotations

import inspect

from pydantic_core import PydanticUndefined

from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.signature import config_from_signature
from ffcore.plugin.targets import load_target
from ffcore.testing.example import Example, examples_of
from ffcore.testing.types import fits

_NO_OPTIONS = ("recipe", "report_section", "command")


def check_entry_target_can_be_imported(example: Example) -> None:
    """And is what its noun's contract asks for."""
    entry = example.entry
    target = entry.load()
    base = NOUNS[entry.noun].base
    if base:
        contract = load_target(base)
        assert inspect.isclass(target), f"{target!r} is no class"
        assert issubclass(target, contract), f"{target.__name__} does not inherit from {contract.__name__}"
    else:
        assert entry.noun == "recipe" or callable(target), f"{target!r} cannot be called"


def check_entry_says_what_it_is(example: Example) -> None:
    """A summary for ``ffcore ls``, a docstring for readers of the source."""
    entry = example.entry
    if entry.noun == "recipe":  # its title and description are in the file
        return
    assert entry.summary.strip(), f"{entry.title} has no summary"
    assert (getattr(entry.load(), "__doc__", None) or "").strip(), f"{entry.title} has no docstring"


def check_entry_options_are_described(example: Example) -> None:
    """In the config, or in the docstring's ``Args:``."""
    if example.entry.noun in _NO_OPTIONS:
        return
    silent = [name for name, o in example.entry.schema().model_fields.items() if not o.description]
    assert not silent, f"options without a description: {', '.join(silent)}"


def check_entry_config_agrees_with_the_constructor(example: Example) -> None:
    """The same names, the same defaults, and no value that the constructor's types do not allow."""
    entry = example.entry
    if entry.config is None:
        return
    built = config_from_signature(entry.load())
    mine, right = entry.config.model_fields, built.model_fields
    assert mine.keys() == right.keys(), f"config has options {sorted(mine)}, the constructor {sorted(right)}"
    schema, wanted = entry.config.model_json_schema(), built.model_json_schema()
    for name, option in mine.items():
        here, there = schema["properties"][name], wanted["properties"][name]
        assert fits(here, there, schema, wanted), f"{name}: {here} is not what the constructor takes, {there}"
        if right[name].default is PydanticUndefined:
            # a constructor cannot have one as a default
            component = any("x-component" in part for part in here.get("anyOf", [here]))
            assert option.is_required() or component, f"{name}: optional, but the constructor requires it"
        else:
            same = not option.is_required() and option.default == right[name].default
            assert same, f"{name}: default {option.default!r}, in the constructor {right[name].default!r}"


def check_entry_options_can_be_tried(example: Example) -> None:
    """There is an example of each required option, and the config accepts all examples."""
    entry = example.entry
    if entry.noun in (*_NO_OPTIONS, "dataset"):
        return
    for options in examples_of(entry) if not example.options else [example.options]:
        entry.schema().model_validate(dict(options))
