"""Unions that are discriminated by ``kind``, with readable errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ffcore.recipe.problems import untagged


@dataclass(frozen=True, slots=True)
class ByKind:
    """Wraps a discriminated union and removes pydantic's tags from the paths of errors.

    The discriminator of the union has to return a tag for every value.

    Args:
        tags: the tags of the union.
    """

    tags: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler(schema)
        # Nested alternatives are flattened: editors show the options of each kind directly.
        members = full.get("oneOf", [])
        if not any("anyOf" in member for member in members):
            return full
        return {"anyOf": [inner for member in members for inner in member.get("anyOf", [member])]}

    def _validate(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise untagged(error, self.tags) from None
