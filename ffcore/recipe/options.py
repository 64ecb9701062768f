"""The options of a component: a model made from its constructor's signature.

| annotation | what a recipe writes |
|---|---|
| numbers, strings, booleans, ``Literal``; lists, tuples and mappings of these; ranges | the value |
| a contract class, such as ``LabelCode`` | a component: a kind, or a mapping with the key ``kind`` |
| ``Annotated[nn.Module, Part("handoff")]`` | a component of that noun |
| ``Annotated[Any, FunctionTarget()]`` | ``module:function`` |

Members of a union that no recipe can write, such as ``Tensor``, are left out, and so are arguments of whose
type or default the same is true.
"""

from __future__ import annotations

import functools
import inspect
import math
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationInfo, create_model, field_validator
from pydantic.fields import FieldInfo

from ffcore.errors import UserError, closest, first_line
from ffcore.options import FLOAT32, MOST_SEED, FunctionTarget, Part
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.plugin.signature import REQUIRED, Signature, imported_signature, source_signature
from ffcore.plugin.source import UnreadableError, is_within, path_of_outside
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
            allowed = {*_members(cls.model_fields[info.field_name].annotation)}
            if allowed & {int, float} and bool not in allowed:
                raise ValueError("should be a number")
        return value


class FurtherOptions(Options):
    """Options of a constructor with ``**kwargs``, which checks the further ones itself."""

    model_config = ConfigDict(extra="allow")


def values_of(options: BaseModel) -> dict[str, Any]:
    """The keyword arguments that a recipe writes; nested components stay a `Spec`.

    The constructor supplies what the recipe does not write, so that its defaults are its own.
    """
    fields = type(options).model_fields
    named = {_name(key, fields): getattr(options, key) for key in options.model_fields_set if key in fields}
    return {**named, **(options.model_extra or {})}


def described(model: type[BaseModel]) -> dict[str, FieldInfo]:
    """The options of a component by name."""
    return {_name(key, model.model_fields): field for key, field in model.model_fields.items()}


def _name(key: str, fields: Mapping[str, FieldInfo]) -> str:
    return fields[key].alias or key


def options_of(entry: Entry) -> type[BaseModel]:
    """The model that validates the options of a component.

    Raises:
        UserError: an argument of its constructor has no type, or one that no recipe can write.
    """
    supplied = tuple(NOUNS[entry.noun].supplied)
    if not entry.plugin:
        # what a recipe names is imported when the recipe is run: its constructor checks the options then
        known = peek_target(entry.target) is not None
        try:
            signature = entry.signature() if known else source_signature(entry.target, supplied)
            return _model(entry.noun, signature)
        except (UnreadableError, UserError):
            return FurtherOptions
    signature = entry.signature()
    try:
        return _model(entry.noun, signature)
    except UserError as error:
        if signature.imported:
            raise UserError(f"{entry.title}: {error}") from error
    try:  # what the source does not show
        return _model(entry.noun, imported_signature(entry.load(), supplied))
    except UserError as error:
        raise UserError(f"{entry.title}: {error}") from error


@functools.cache
def _model(noun: str, signature: Signature) -> type[BaseModel]:
    fields: dict[str, Any] = {}
    for arg in signature.arguments:
        annotation = recipe_type(arg.annotation)
        if annotation is not None and arg.default is None and type(None) not in _members(annotation):
            annotation |= None  # ``a: float = None``
        if annotation is None or not _is_writable(annotation, arg.default):
            if not signature.imported and _unknown(arg.annotation):
                raise UserError(
                    f"argument {arg.name!r} of {signature.name} has a type that has to be imported"
                )
            if arg.default is not REQUIRED:
                continue  # only Python can give it
            raise UserError(
                f"argument {arg.name!r} of {signature.name} is of a type that no recipe can write"
            )
        default = ... if arg.default is REQUIRED else arg.default
        parts = _holds_parts(annotation) and default is not ...
        clashes = hasattr(BaseModel, arg.name) or arg.name.startswith("_")
        fields[f"option_{arg.name}" if clashes else arg.name] = (
            annotation,
            Field(
                default,
                description=arg.description,
                validate_default=parts,
                alias=arg.name if clashes else None,
            ),
        )
    names = {arg.name for arg in signature.arguments}
    if clash := sorted(NOUNS[noun].reserved & names):
        raise UserError(f"option {clash[0]!r} of {signature.name} has a name that recipes use themselves")
    base = FurtherOptions if signature.takes_more else Options
    try:
        model: type[BaseModel] = create_model(signature.name, __base__=base, __module__=__name__, **fields)
    except Exception as error:  # what pydantic raises at names and types of others
        reason = first_line(error)
        raise UserError(f"the arguments of {signature.name} do not fit into a recipe: {reason}") from error
    return model


def _is_writable(annotation: Any, default: Any) -> bool:
    """Whether a recipe can hold the default: plain, finite data of that type."""
    if default is REQUIRED or _holds_parts(annotation):
        return default is REQUIRED or isinstance(default, str | Mapping | list | tuple | None)
    if not _is_plain(default):
        return False
    try:
        TypeAdapter(annotation).validate_python(default)
    except Exception:  # of the default, or of a type that pydantic does not know
        return False
    return True


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, str | int | bool | Enum | Path)


def _unknown(annotation: Any) -> bool:
    """Whether an annotation has a class of which the source alone does not show what it is."""
    path = path_of_outside(annotation)
    known = ("torch", "numpy", "ffcore.interfaces", "ffcore.data.images")
    return (path is not None and not is_within(path, known)) or any(map(_unknown, get_args(annotation)))


def recipe_type(hint: Any) -> Any:
    """The annotation with contract classes replaced by nested components; None if no recipe can write it."""
    from ffcore.recipe.spec import Function, Kind, Spec  # spec validates nested components with options_of

    if (noun := _noun_of(hint)) is not None:
        return Annotated[Spec, Kind(noun)]
    origin, args = get_origin(hint), get_args(hint)
    if (part := _part_of(hint)) is not None:
        if part.noun not in NOUNS:
            near = closest(part.noun, NOUNS)
            raise UserError(f"Part({part.noun!r}): there is no such sort of component{near}")
        component = Annotated[Spec, Kind(part.noun)]
        return component | None if type(None) in get_args(args[0]) else component
    if hint in (int, float):
        origin, args = Annotated, (hint,)
    if origin is Annotated:
        inner, *marks = args
        inner = _bounded(inner, marks) if inner in (int, float) else recipe_type(inner)
        marks = [Function() if isinstance(mark, FunctionTarget) else mark for mark in marks]
        return Annotated[(inner, *marks)] if marks and inner is not None else inner
    if origin in (Union, types.UnionType):
        members = [made for arg in args if (made := recipe_type(arg)) is not None]
        if any(_noun_of(arg) or _part_of(arg) for arg in args):
            # a string and a mapping are how a component is written: they are no types of their own
            members = [made for made in members if made is not str and get_origin(made) is not Mapping]
        return Union[tuple(members)] if members and members != [type(None)] else None  # noqa: UP007
    if origin is Iterable:
        origin = list  # what is read more than once, or recorded
    if origin in _CONTAINERS:
        made = [arg if arg is ... else recipe_type(arg) for arg in args]
        return None if None in made else origin[tuple(made)]
    plain = hint in _PLAIN or hint in _CONTAINERS or hint is None or origin is Literal
    return hint if plain or _is_model(hint) else None


def _bounded(number: Any, marks: Iterable[Any] = ()) -> Any:
    """The type of a number, with the bounds of int64 and float32 where its marks have none."""
    ranges = [each for mark in marks for each in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    limit = MOST_SEED if number is int else FLOAT32
    least = None if any(isinstance(each, Ge | Gt) for each in ranges) else -limit
    most = None if any(isinstance(each, Le | Lt) for each in ranges) else limit
    return Annotated[number, Field(ge=least, le=most)]


def _part_of(hint: Any) -> Part | None:
    """The mark in ``Annotated[…, Part("handoff")]``."""
    marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
    return next((mark for mark in marks if isinstance(mark, Part)), None)


def _is_model(hint: Any) -> bool:
    """Whether it is a class that pydantic makes from plain data."""
    fields = hasattr(hint, "__dataclass_fields__")
    return inspect.isclass(hint) and (issubclass(hint, BaseModel | Enum) or fields)


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
