"""Base classes of the models in a recipe."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetJsonSchemaHandler,
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ffcore.recipe.objects import as_kind
from ffcore.recipe.problems import explained, lifted
from ffcore.recipe.spec import Spec


def _name(value: Any) -> Any:
    if isinstance(value, str) and not re.fullmatch(r"[\w-]+", value):
        raise ValueError("should be letters, digits, _ and -")
    if isinstance(value, str) and len(value) > _LONGEST:
        raise ValueError(f"should have at most {_LONGEST} characters")
    return value


_LONGEST = 100


Name = Annotated[str, BeforeValidator(_name)]
"""Name of a block, penalty or readout. Also part of columns of metrics, keys of checkpoints and overrides."""


def _empty(value: Any) -> Any:
    return {} if value is None else value


NullIsEmpty = BeforeValidator(_empty)
"""For mappings that are merged with those of a base: ``null`` removes all entries of the base."""


class Strict(BaseModel):
    """A mapping. An unknown key is an error, whose message names the nearest known key."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    hints: ClassVar[Mapping[str, str]] = {}
    """Messages for unknown keys that users may expect from other frameworks."""

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(value)
        except ValidationError as error:
            raise explained(error, cls.model_fields, cls.hints) from None


class Flat(Strict):
    """A mapping with both its own fields and the options of one component.

    ``{kind: mnist, batch_size: 100, root: …}`` is a data set ``{kind: mnist, root: …}`` and a batch size.
    """

    inner: ClassVar[str]
    """The field of the component."""

    @classmethod
    def own(cls) -> tuple[str, ...]:
        """Returns the keys that do not belong to the component."""
        return tuple(name for name in cls.model_fields if name != cls.inner)

    @model_validator(mode="wrap")
    @classmethod
    def _pour(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        value = as_kind(value)
        # a dictionary from `model_dump` of Python objects already has the component apart
        if isinstance(value, Mapping) and not isinstance(value.get(cls.inner), Spec):
            own = {key: value[key] for key in cls.own() if key in value}
            rest = {key: value[key] for key in value if key not in own}
            value = {**own, cls.inner: rest}
        try:
            return handler(value)
        except ValidationError as error:
            raise lifted(error, cls.inner, cls.own()) from None

    @model_serializer(mode="wrap")
    def _flatten(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        dumped = handler(self)
        return {**dumped.pop(self.inner), **dumped}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {**handler.resolve_ref_schema(handler(schema)), "x-flat": cls.inner}
