"""A component in a recipe: its kind with validated options, or a Python object."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import UserError, closest
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.recipe.objects import (
    Absent,
    Named,
    Validated,
    as_kind,
    is_object,
    is_record,
    is_target,
    misfit,
    record,
)
from ffcore.recipe.options import Options, described, options_of
from ffcore.recipe.problems import explained, wrong, wrong_kind


@dataclass(frozen=True, slots=True)
class Spec(Validated):
    """One component of a recipe.

    Args:
        noun: what sort of component.
        kind: the name under which it is registered; of an object, its class.
        options: its validated options; an object has none.
        object: the component itself, where the recipe was given an object (or its record).
    """

    noun: str
    kind: str
    options: BaseModel
    object: Any = None

    def dump(self) -> dict[str, Any]:
        """Returns ``{"kind": kind, **options}``, with nested components; of an object its record."""
        if self.object is not None:
            return record(self.object)
        return {"kind": self.kind, **self.options.model_dump(mode="json", by_alias=True)}

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle a registered component by its kind: the class of its options exists in this process only."""
        if self.object is not None:
            return Spec, (self.noun, self.kind, self.options, self.object)
        options = self.options.model_dump(mode="json", by_alias=True, exclude_unset=True)
        return _again, (self.noun, {"kind": self.kind, **options})


def _again(noun: str, given: Mapping[str, Any]) -> Spec:
    return Kind(noun).validate(given)


def entry_of(noun: str, kind: str, also: Iterable[str] = ()) -> Entry:
    """The component of a kind: a registered name, or ``package.module:Class``.

    Raises:
        UserError: no plugin registered the name; ``also`` lists further valid ones for the message.
    """
    if is_target(kind):
        return Entry(noun, kind, kind, "")
    return manager.current().registry.get(noun, kind, also)


@dataclass(frozen=True, slots=True)
class Kind:
    """Marks a field that holds a component: ``labels: Annotated[Spec, Kind("label")]``.

    The field takes ``{kind: overlay, …}``, or only ``overlay``, or from Python the component itself, or a
    `Spec`. The kind is looked up when the value is validated, so plugins that are loaded later count too.

    Args:
        noun: what sort of component.
        also: further valid kinds, for the message about an unknown kind.
    """

    noun: str
    also: tuple[str, ...] = ()

    def validate(self, value: object) -> Spec:
        """Validates the value of a field and returns its `Spec`.

        Raises:
            ValidationError: the kind is not known, or its options are wrong; it keeps the path.
            ValueError: the value is no component at all.
        """
        article = NOUNS[self.noun].article
        if isinstance(value, Spec):
            if value.noun != self.noun:
                raise ValueError(f"{value.kind!r} is {NOUNS[value.noun].article}, not {article}")
            return value
        said = as_kind(value)
        if not isinstance(said, Mapping):
            raise ValueError(f"should be {article}: a kind, or a mapping with the key 'kind'")
        if (given := self._object(said)) is not None:
            return given
        registry = manager.current().registry
        if not isinstance(said.get("kind"), str):
            known = [*registry.names(self.noun), *self.also]
            raise wrong_kind(
                f"should say which {self.noun.replace('_', ' ')}{closest('', known)}", said.get("kind")
            )
        try:
            schema = options_of(entry_of(self.noun, said["kind"], self.also))
        except UserError as error:
            raise wrong_kind(str(error), said["kind"]) from error
        try:
            options = schema.model_validate({key: said[key] for key in said if key != "kind"})
        except ValidationError as error:
            raise explained(error, described(schema), {}) from None
        return Spec(self.noun, said["kind"], options)

    def _object(self, said: Mapping[str, Any]) -> Spec | None:
        """Returns the component if the kind is an object, or the record of one; else None."""
        kind, rest = said.get("kind"), {key: said[key] for key in said if key != "kind"}
        thing: Any = kind
        if is_record(said):
            thing = Absent(rest.pop("is"))
        elif self.noun == "blackbox" and is_target(kind):
            thing = Named(str(kind))
        elif not is_object(kind):
            return None
        elif (problem := misfit(kind, self.noun)) is not None:
            raise wrong(problem)
        try:
            options = Options.model_validate(rest)
        except ValidationError as error:
            hints = dict.fromkeys(rest, "an object has its options already")
            raise explained(error, (), hints) from None
        return Spec(self.noun, kind if isinstance(kind, str) else type(kind).__name__, options, thing)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(Spec.dump)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # `ffcore.recipe.json_schema` replaces this marker by all installed components of the noun
        return {"x-component": self.noun, "description": NOUNS[self.noun].what}


@dataclass(frozen=True, slots=True)
class Function:
    """Marks an option that is a function: ``target: Annotated[Any, Function()]``.

    The option takes ``module:name``, which stays text, or from Python the function itself.
    """

    @staticmethod
    def validate(value: object) -> Any:
        """Accept a target, a function, or the record of one.

        Raises:
            ValueError: it is something else.
        """
        if is_record(value):
            return Absent(value["is"])
        if not isinstance(value, str | Absent) and not callable(value):
            raise ValueError("should be module:function, or from Python a function")
        return value

    @staticmethod
    def dump(value: Any) -> Any:
        """Returns the target for YAML, or the record of a function without one."""
        if isinstance(value, str):
            return value
        said = record(value)
        return said if is_record(said) else said["kind"]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(self.dump)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {"type": "string"}
