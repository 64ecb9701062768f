"""Checks of a registration: target, contract, options and documentation."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import entry_points
from itertools import zip_longest

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from ffcore.plugin.manager import GROUP
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.plugin.signature import imported_signature, source_signature
from ffcore.plugin.source import UnreadableError
from ffcore.plugin.targets import load_target
from ffcore.recipe.options import described, options_of, recipe_type
from ffcore.testing.example import Example, examples_of


def check_entry_target_can_be_imported(example: Example) -> None:
    """The target can be imported and has the noun's base class."""
    entry = example.entry
    target = entry.load()
    base = NOUNS[entry.noun].base
    if base:
        contract = load_target(base)
        assert inspect.isclass(target), f"{target!r} is not a class"
        assert issubclass(target, contract), f"{target.__name__} does not inherit from {contract.__name__}"
    else:
        assert entry.noun == "recipe" or callable(target), f"{target!r} cannot be called"


def check_entry_plugin_imports_no_torch(example: Example) -> None:
    """The module with the hook of an installed plugin imports no torch, which takes seconds in every command.

    The module is imported in a process of its own, once for each plugin.
    """
    entry = example.entry
    points = [point for point in entry_points(group=GROUP) if point.name == entry.plugin]
    if not points or entry.noun == "recipe":
        return
    module = points[0].module
    assert not _imports_torch(module), f"{module} imports torch; name components in it as 'module:Name'"


@cache
def _imports_torch(module: str) -> bool:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    paths = os.pathsep.join(path for path in sys.path if path)
    done = subprocess.run(  # noqa: S603 (the module of an installed plugin)
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": paths},
        stderr=subprocess.DEVNULL,
        check=False,
    )
    return done.returncode == 1


def check_entry_says_what_it_is(example: Example) -> None:
    """The component has a summary for ``ffcore ls`` and a docstring."""
    entry = example.entry
    if entry.noun == "recipe":  # its title and description are in the file
        return
    assert entry.summary.strip(), f"{entry.title} has no summary"
    assert (getattr(entry.load(), "__doc__", None) or "").strip(), f"{entry.title} has no docstring"


def check_entry_options_are_described(example: Example) -> None:
    """Every option has a description in the docstring's ``Args:``."""
    if not NOUNS[example.entry.noun].has_options or _of_torch(example.entry):
        return
    undescribed = [name for name, o in described(options_of(example.entry)).items() if not o.description]
    assert not undescribed, f"options without a description: {', '.join(undescribed)}"


def check_entry_defaults_are_valid(example: Example) -> None:
    """A plain default has the type and the bounds of its option; otherwise recipes could not set it."""
    entry = example.entry
    if not NOUNS[entry.noun].has_options or _of_torch(entry):
        return
    for argument in entry.signature().arguments:
        annotation = recipe_type(argument.annotation)
        if annotation is None or not isinstance(argument.default, str | int | float):
            continue
        try:
            TypeAdapter(annotation).validate_python(argument.default)
        except ValidationError as error:
            reason = error.errors()[0]["msg"]
            raise AssertionError(f"{argument.name}: the default {argument.default!r}: {reason}") from error
        except PydanticSchemaGenerationError:  # a type that no recipe writes
            continue


def _of_torch(entry: Entry) -> bool:
    """Return whether the target is a class of torch, which torch documents."""
    return isinstance(entry.target, str) and entry.target.startswith("torch.")


def check_entry_source_reads_as_the_class(example: Example) -> None:
    """The options read from the source file, without an import, are those of the imported class."""
    entry = example.entry
    # arguments that the builder supplies, such as in_shape, are not options
    supplied = tuple(NOUNS[entry.noun].supplied)
    if not NOUNS[entry.noun].has_options or not isinstance(entry.target, str) or _of_torch(entry):
        return
    try:
        read = source_signature(entry.target, supplied)
    except UnreadableError:  # such a target is always imported
        return
    right = imported_signature(entry.load(), supplied)
    assert read.summary == right.summary, f"the source has {read.summary!r}, the class {right.summary!r}"
    for here, there in zip_longest(read.arguments, right.arguments):
        assert here is not None, f"the source has no argument {there.name!r}"
        assert there is not None, f"the class has no argument {here.name!r}"
        same = (here.name, here.default, here.description) == (there.name, there.default, there.description)
        assert same, f"the source has {here}, the class has {there}"
        assert repr(recipe_type(here.annotation)) == repr(recipe_type(there.annotation)), (
            f"{here} and {there} differ"
        )


def check_entry_options_can_be_tried(example: Example) -> None:
    """Every required option has an example, and all examples are valid."""
    entry = example.entry
    if entry.noun == "dataset" or not NOUNS[entry.noun].has_options:
        return
    for options in examples_of(entry) if not example.options else [example.options]:
        options_of(entry).model_validate(dict(options))
