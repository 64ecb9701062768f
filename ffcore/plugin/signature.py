"""A config model read off a constructor."""

from __future__ import annotations

import functools
import inspect
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, Field, create_model
from pydantic.errors import PydanticUserError

from ffcore.errors import UserError, first_line
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.options import Options
from ffcore.plugin.targets import peek_target

SUPPLIED = frozenset({"self", "in_shape"})
"""Arguments that a recipe does not give: the builder does."""

_CONTAINERS = (list, tuple, dict, Sequence, Mapping)


@functools.cache
def config_from_signature(target: Callable[..., Any]) -> type[BaseModel]:
    """The options of a component, from the typed arguments of its constructor.

    An argument annotated with a contract class (``labels: LabelCode``) becomes a nested component,
    ``*args`` and ``**kwargs`` are passed over, and descriptions come from the docstring's ``Args:``.

    Raises:
        UserError: an argument has no annotation, or one that no YAML value can fill.
    """
    init: Any = target.__init__ if inspect.isclass(target) else target
    name = target.__name__
    try:
        hints = get_type_hints(init, include_extras=True)
    except Exception as error:  # a name that exists for type checkers only, most often
        raise UserError(f"the annotations of {name} cannot be read: {error}; give it a config") from error
    docs = _argument_docs(target)
    fields: dict[str, Any] = {}
    for arg in inspect.signature(init).parameters.values():
        if arg.name in SUPPLIED or arg.kind in (arg.VAR_POSITIONAL, arg.VAR_KEYWORD):
            continue
        if arg.name not in hints:
            raise UserError(f"argument {arg.name!r} of {name} has no type; annotate it or give a config")
        default = ... if arg.default is arg.empty else arg.default
        fields[arg.name] = (_recipe_type(hints[arg.name]), Field(default, description=docs.get(arg.name)))
    try:
        model: type[BaseModel] = create_model(name, __base__=Options, __module__=target.__module__, **fields)
    except (PydanticUserError, NameError) as error:
        reason = first_line(error)
        raise UserError(
            f"the arguments of {name} do not fit into a recipe: {reason}; give a config"
        ) from error
    return model


def _recipe_type(hint: Any) -> Any:
    """The annotation with every contract class replaced by a nested component."""
    from ffcore.recipe.spec import Kind, Spec  # spec looks kinds up in the registry, which stands on us

    noun = _noun_of(hint)
    if noun is not None:
        return Annotated[Spec, Kind(noun)]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        marked = next((mark for mark in args[1:] if isinstance(mark, Kind)), None)
        return hint if marked is None else Annotated[Spec, marked]
    if origin in (Union, types.UnionType):
        return Union[tuple(_recipe_type(arg) for arg in args)]  # noqa: UP007 (made at run time)
    if origin in _CONTAINERS:
        return origin[tuple(_recipe_type(arg) for arg in args)]
    return hint


def _noun_of(hint: Any) -> str | None:
    """The noun whose contract this is.

    Handoffs and bodies are both plain modules: ``nn.Module`` means a body, the later of the two in
    the table; ``Annotated[nn.Module, Kind("handoff")]`` says the other.
    """
    if not inspect.isclass(hint):
        return None
    bases = {noun.name: peek_target(noun.base) for noun in NOUNS.values() if noun.base}
    return next((name for name in reversed(bases) if bases[name] is hint), None)


def _argument_docs(target: Callable[..., Any]) -> dict[str, str]:
    """The ``Args:`` section of a Google-style docstring, by argument."""
    docs: dict[str, str] = {}
    parts = [target, target.__init__] if inspect.isclass(target) else [target]
    for part in parts:
        text = inspect.cleandoc(part.__doc__ or "")
        section = re.search(r"^Args:\n((?:[ \t]+.*\n?|\n)+)", text, re.MULTILINE)
        if section is None:
            continue
        lines = inspect.cleandoc("\n" + section[1])
        for item in re.split(r"\n(?=\S)", lines):
            found = re.match(r"(\w+)(?: \([^)]*\))?:\s*(.*)", item, re.DOTALL)
            if found:
                docs[found[1]] = " ".join(found[2].split())
    return docs
