"""A component as a recipe names it: its kind, and options that its own schema has checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import UserError, closest
from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.problems import explained, wrong_kind


@dataclass(frozen=True, slots=True)
class Spec:
    """One component of a recipe.

    Args:
        noun: what sort of component.
        kind: the name under which it is registered.
        options: its validated options.
    """

    noun: str
    kind: str
    options: BaseModel

    def dump(self) -> dict[str, Any]:
        """As YAML has it: ``{"kind": kind, **options}``, nested components too."""
        return {"kind": self.kind, **self.options.model_dump(mode="json")}


@dataclass(frozen=True, slots=True)
class Kind:
    """Marks a field that holds a component: ``labels: Annotated[Spec, Kind("label")]``.

    The field takes ``{kind: overlay, …}``, or only ``overlay``, or a `Spec`. The kind is looked up when
    the value is validated, so plugins that are loaded later count too.

    Args:
        noun: what sort of component.
        also: kinds that somebody else handles, named in the error of an unknown kind.
    """

    noun: str
    also: tuple[str, ...] = ()

    def validate(self, value: object) -> Spec:
        """Turn what a recipe says into a `Spec`.

        Raises:
            ValidationError: the kind is not known, or its options are wrong; it keeps the path.
            ValueError: the value is no component at all.
        """
        article = NOUNS[self.noun].article
        if isinstance(value, Spec):
            if value.noun != self.noun:
                raise ValueError(f"{value.kind!r} is {NOUNS[value.noun].article}, not {article}")
            return value
        said = {"kind": value} if isinstance(value, str) else value
        if not isinstance(said, Mapping):
            raise ValueError(f"should be {article}: a kind, or a mapping with the key 'kind'")
        registry = manager.current().registry
        if not isinstance(said.get("kind"), str):
            known = [*registry.names(self.noun), *self.also]
            raise wrong_kind(f"should say which {self.noun}{closest('', known)}", said.get("kind"))
        try:
            schema = registry.get(self.noun, said["kind"], self.also).schema()
        except UserError as error:
            raise wrong_kind(str(error), said["kind"]) from error
        try:
            options = schema.model_validate({key: said[key] for key in said if key != "kind"})
        except ValidationError as error:
            raise explained(error, schema.model_fields, {}) from None
        return Spec(self.noun, said["kind"], options)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.validate, serialization=core_schema.plain_serializer_function_ser_schema(Spec.dump)
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # a marker, which `ffcore.recipe.json_schema` replaces by all installed components of this sort
        return {"x-component": self.noun, "description": NOUNS[self.noun].what}
