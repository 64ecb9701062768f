"""The options of a component: a model made from its constructor's signature.

| annotation | what a recipe writes |
|---|---|
| numbers, strings, booleans, ``Literal``; lists, tuples and mappings of these; ranges | the value |
| a contract class, such as ``LabelCode`` | a component: a kind, or a mapping with the key ``kind`` |
| ``Annotated[nn.Module, Part("handoff")]`` | a component of that noun |
| ``Annotated[Any, FunctionTarget()]`` | ``module:function`` |

Members of a union that no recipe can write, such as ``Tensor``, are left out.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, create_model, field_validator
from pydantic.errors import PydanticUserError

from ffcore.errors import UserError, first_line
from ffcore.options import FunctionTarget, Part
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.plugin.signature import REQUIRED, Signature, imported_signature
from ffcore.plugin.source import path_of_outside
from ffcore.plugin.targets import peek_target

_PLAIN = (int, float, str, bool, type(None), Any, Path)
_CONTAINERS = (list, tuple, dict, Sequence, Mapping)


class Options(BaseModel):
    """What a recipe may write about one component, besides its ``kind``.

    Numbers are finite, and ``true`` is not a number.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_bool_for_a_number(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, bool) and info.field_name is not None:
            types = {*_members(cls.model_fields[info.field_name].annotation)}
            if types & {int, float} and bool not in types:
                raise ValueError("should be a number")
        return value


class FurtherOptions(Options):
    """Of a constructor with ``**kwargs``, which sees to the rest itself."""

    model_config = ConfigDict(extra="allow")


def values_of(options: BaseModel) -> dict[str, Any]:
    """The keyword arguments that validated options stand for; nested components stay a `Spec`."""
    named = {name: getattr(options, name) for name in type(options).model_fields}
    return {**named, **(options.model_extra or {})}


def options_of(entry: Entry) -> type[BaseModel]:
    """The model that validates the options of a registered component.

    Raises:
        UserError: an argument of its constructor has no type, or one that no recipe can write.
    """
    signature = entry.signature()
    try:
        return _model(entry.noun, signature)
    except UserError as error:
        if signature.imported:
            raise UserError(f"{entry.title}: {error}") from error
    try:  # what the source does not show
        return _model(entry.noun, imported_signature(entry.load(), tuple(NOUNS[entry.noun].supplied)))
    except UserError as error:
        raise UserError(f"{entry.title}: {error}") from error


@functools.cache
def _model(noun: str, signature: Signature) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for arg in signature.arguments:
        annotation = recipe_type(arg.annotation)
        if annotation is None:
            if arg.default is not REQUIRED:
                continue  # only Python can give it
            raise UserError(
                f"argument {arg.name!r} of {signature.name} is of a type that no recipe can write"
            )
        default = ... if arg.default is REQUIRED else arg.default
        parts = _holds_parts(annotation) and default is not ...
        fields[arg.name] = (annotation, Field(default, description=arg.description, validate_default=parts))
    if clash := sorted(NOUNS[noun].reserved & fields.keys()):
        raise UserError(f"option {clash[0]!r} of {signature.name} has a name that recipes use themselves")
    base = FurtherOptions if signature.takes_more else Options
    try:
        model: type[BaseModel] = create_model(signature.name, __base__=base, __module__=__name__, **fields)
    except (PydanticUserError, NameError) as error:
        reason = first_line(error)
        raise UserError(f"the arguments of {signature.name} do not fit into a recipe: {reason}") from error
    return model


def recipe_type(hint: Any) -> Any:
    """The annotation with contract classes replaced by nested components; None if no recipe can write it."""
    from ffcore.recipe.spec import Function, Kind, Spec  # spec validates nested components with options_of

    if (noun := _noun_of(hint)) is not None:
        return Annotated[Spec, Kind(noun)]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        inner, *marks = args
        if part := _part_of(hint):
            component = Annotated[Spec, Kind(part.noun)]
            return component | None if type(None) in get_args(inner) else component
        inner = recipe_type(inner)
        marks = [Function() if isinstance(mark, FunctionTarget) else mark for mark in marks]
        return None if inner is None else Annotated[(inner, *marks)]
    if origin in (Union, types.UnionType):
        members = [made for arg in args if (made := recipe_type(arg)) is not None]
        if any(
            _noun_of(arg) or _part_of(arg) for arg in args
        ):  # kind and mapping: how a component is written
            members = [made for made in members if made is not str and get_origin(made) is not Mapping]
        return Union[tuple(members)] if members and members != [type(None)] else None  # noqa: UP007
    if origin is Iterable:
        origin = list  # what is read more than once, or recorded
    if origin in _CONTAINERS:
        made = [arg if arg is ... else recipe_type(arg) for arg in args]
        return None if None in made else origin[tuple(made)]
    plain = hint in _PLAIN or hint in _CONTAINERS or hint is None or origin is Literal
    return hint if plain or _is_model(hint) else None


def _part_of(hint: Any) -> Part | None:
    """The mark in ``Annotated[…, Part("handoff")]``."""
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, Part)), None)


def _is_model(hint: Any) -> bool:
    """Whether it is a class that pydantic fills from a mapping."""
    return inspect.isclass(hint) and (issubclass(hint, BaseModel) or hasattr(hint, "__dataclass_fields__"))


def _noun_of(hint: Any) -> str | None:
    """The noun whose contract this is.

    Handoffs and bodies are both plain modules: ``nn.Module`` means a body, the later of the two in the table.
    """
    path = path_of_outside(hint)
    for noun in reversed(NOUNS.values()):
        module, _, name = noun.base.partition(":")
        if path is not None and path.startswith(f"{module}.") and path.endswith(f".{name}"):
            return noun.name
        if path is None and noun.base and inspect.isclass(hint) and peek_target(noun.base) is hint:
            return noun.name
    return None


def _holds_parts(annotation: Any) -> bool:
    """Whether a value of this type is or holds a component."""
    from ffcore.recipe.spec import Spec

    return Spec in {*_members(annotation)} or any(map(_holds_parts, get_args(annotation)))


def _members(annotation: Any) -> Iterator[Any]:
    """The members of a union, and what is inside ``Annotated``."""
    yield annotation
    if get_origin(annotation) in (Annotated, Union, types.UnionType):
        for inner in get_args(annotation):
            yield from _members(inner)
