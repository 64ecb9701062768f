"""Unions that are discriminated by ``kind``, with readable errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import closest
from ffcore.recipe.problems import untagged, wrong_kind


@dataclass(frozen=True, slots=True)
class ByKind:
    """Wraps a discriminated union and removes pydantic's tags from the paths of errors.

    Args:
        what: name of the union in messages; empty if the discriminator always returns a tag.
        tags: the tags of the union.
    """

    what: str
    tags: tuple[str, ...]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_wrap_validator_function(self._validate, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler(schema)
        if self.what:
            return {"anyOf": [{"type": "string", "enum": list(self.tags)}, full]}
        # Nested alternatives are flattened: editors show the options of each kind directly.
        members = full.get("oneOf", [])
        if not any("anyOf" in member for member in members):
            return full
        return {"anyOf": [inner for member in members for inner in member.get("anyOf", [member])]}

    def _validate(self, value: Any, handler: core_schema.ValidatorFunctionWrapHandler) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            if not first["loc"] and first["type"] == "union_tag_not_found":
                raise wrong_kind(f"should name the {self.what}{closest('', self.tags)}", None) from None
            if not first["loc"] and first["type"] == "union_tag_invalid":
                kind = first["ctx"]["tag"]
                article = "an" if self.what[0] in "aeiou" else "a"
                raise wrong_kind(
                    f"{kind!r} is not {article} {self.what}{closest(kind, self.tags)}", kind
                ) from None
            raise untagged(error, self.tags) from None
