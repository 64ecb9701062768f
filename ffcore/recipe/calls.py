"""Functions and classes that a recipe calls: by target, such as ``torch.optim:SGD``, or as Python objects."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ffcore.errors import a
from ffcore.plugin.targets import TARGET, peek_target
from ffcore.recipe.objects import (
    Absent,
    Named,
    Validated,
    apart,
    as_kind,
    is_object,
    is_record,
    is_target,
    record,
)
from ffcore.recipe.problems import wrong


class Call(BaseModel):
    """A function or class with keyword arguments: ``{kind: torch.optim:SGD, lr: 0.1}``.

    A `functools.partial` with only keyword arguments is stored as its function and these arguments, so that
    it can be recorded.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    what: ClassVar[str]
    """Description of the expected function or class, for messages."""

    base: ClassVar[str] = ""
    """Target of the required base class; empty if only functions are allowed."""

    targets: ClassVar[bool] = False
    """Whether it takes targets ``module:name`` too; else these are components with options of their own."""

    kind: Any

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments."""
        return dict(self.model_extra or {})

    @classmethod
    def tag(cls, value: Any) -> str:
        """Returns the tag of the union: ``called`` for a value of this model, ``known`` for all others."""
        if isinstance(value, Call):
            return "called"
        item = as_kind(value)
        kind = item.get("kind") if isinstance(item, Mapping) else None
        called = is_object(kind) or isinstance(kind, Validated) or is_record(item)
        return "called" if called or (cls.targets and is_target(kind)) else "known"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        item = dict(as_kind(value))
        kind = item["kind"]
        if is_record(item):
            item["kind"] = Absent(item.pop("is"))
        elif isinstance(kind, str):
            item["kind"] = Named(kind)
        else:
            function, keywords = apart(kind)
            item = {**keywords, **item, "kind": function}
        # a target is checked when it is imported, at build time
        if not isinstance(item["kind"], Validated):
            cls._check(item["kind"])
        return item

    @classmethod
    def _check(cls, given: Any) -> None:
        if inspect.isclass(given):
            if not cls.base:
                raise wrong(f"{given.__name__} is a class; give {cls.what}")
            # None if the module is not imported yet: then the class cannot be a subclass
            contract = peek_target(cls.base)
            if contract is None or not issubclass(given, contract):
                raise wrong(f"{given.__name__} is not a {cls.base.replace(':', '.')}; give {cls.what}")
        elif not callable(given):
            raise wrong(f"{a(type(given).__name__)} cannot be called; give {cls.what}")

    @model_serializer
    def _dump(self) -> dict[str, Any]:
        rest = {key: record(item) if is_object(item) else item for key, item in self.options.items()}
        return {**record(self.kind), **rest}

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        kind = {"type": "string", "pattern": f"^{TARGET}$"}
        as_mapping = {"type": "object", "properties": {"kind": kind}, "required": ["kind"]}
        return {"anyOf": [kind, as_mapping], "description": cls.what}
