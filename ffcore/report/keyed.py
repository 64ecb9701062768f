"""Mappings of JSON values whose known keys are attributes of known types. Does not import torch."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from typing import Any, ClassVar, NoReturn, Self, get_type_hints

from pydantic import GetCoreSchemaHandler, TypeAdapter, ValidationError, ValidationInfo
from pydantic_core import CoreSchema, core_schema

from ffcore.errors import UserError


class Record(dict[str, Any]):
    """A read-only dictionary whose known keys are attributes too.

    Unknown keys, such as those of a newer version, are kept in the dictionary. It can be written as JSON.

    Args:
        content: a mapping of JSON values.
        partial: keys may be missing or null, as in older runs; their attributes are then missing too.

    Raises:
        UserError: a key without a default is missing, or a value has another type.
    """

    always: ClassVar[tuple[str, ...]] = ()
    """Keys that every version has written."""

    def __init__(self, content: Mapping[str, Any], *, partial: bool = False) -> None:
        super().__init__(content)
        # Nested records replace their plain mappings, both as attributes and under their keys.
        for name, (adapter, field) in fields_of(type(self)).items():
            if name not in content:
                if field.default_factory is not MISSING:
                    object.__setattr__(self, name, field.default_factory())
                elif field.default is MISSING and (not partial or name in self.always):
                    raise UserError(f"{name!r} is missing")
                continue
            if partial and content[name] is None and name not in self.always:
                continue
            try:
                value = adapter.validate_python(content[name], context=partial)
            except ValidationError as error:
                raise UserError(_problem(name, error)) from error
            object.__setattr__(self, name, value)
            if isinstance(value, Record):
                super().__setitem__(name, value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Record):
                super().__setitem__(name, list(value))

    def _read_only(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError(f"{type(self).__name__} is read-only; make a copy with dict(…) to change it")

    __setitem__ = __delitem__ = __ior__ = _read_only
    update = pop = popitem = clear = setdefault = _read_only

    def __reduce__(self) -> tuple[type[Self], tuple[dict[str, Any]]]:
        return type(self), (dict(self),)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def made(content: dict[str, Any], info: ValidationInfo) -> Record:
            return cls(content, partial=bool(info.context))

        return core_schema.with_info_after_validator_function(
            made, core_schema.dict_schema(core_schema.str_schema())
        )


@functools.cache
def fields_of(kind: type[Record]) -> dict[str, tuple[TypeAdapter[Any], Field[Any]]]:
    """Returns the validator and the definition of each field. Cached: adapters are slow to make."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        one.name: (TypeAdapter(hints[one.name]), one)
        for one in fields(kind)  # type: ignore[arg-type]  # every subclass is a dataclass
    }


def _problem(name: str, error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(map(str, (name, *first["loc"])))
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"
