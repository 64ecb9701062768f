"""Functions and classes that a recipe calls: ``torch.optim:SGD`` by its target, or from Python themselves."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, model_serializer, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ffcore.plugin.targets import TARGET, peek_target
from ffcore.recipe.objects import (
    Absent,
    Named,
    Validated,
    a,
    apart,
    as_kind,
    is_object,
    is_record,
    is_target,
    record,
)
from ffcore.recipe.problems import wrong


class Call(BaseModel):
    """What is called, and keyword arguments beside it: ``{kind: torch.optim:SGD, lr: 0.1}``.

    A `functools.partial` with keyword arguments only is taken apart, so that it can be recorded.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    what: ClassVar[str]
    """For messages: what it makes, and from what."""

    base: ClassVar[str] = ""
    """Target of the class that a class has to be a subclass of; empty: no class can be called here."""

    targets: ClassVar[bool] = False
    """Whether it takes targets ``module:name`` too; else these are components with options of their own."""

    kind: Any

    @property
    def options(self) -> dict[str, Any]:
        """The keyword arguments."""
        return dict(self.model_extra or {})

    @classmethod
    def tag(cls, value: Any) -> str:
        """``called`` for what this model reads, ``known`` for everything else."""
        if isinstance(value, Call):
            return "called"
        said = as_kind(value)
        kind = said.get("kind") if isinstance(said, Mapping) else None
        called = is_object(kind) or isinstance(kind, Validated) or is_record(said)
        return "called" if called or (cls.targets and is_target(kind)) else "known"

    @model_validator(mode="before")
    @classmethod
    def _read(cls, value: Any) -> Any:
        said = dict(as_kind(value))
        kind = said["kind"]
        if is_record(said):
            said["kind"] = Absent(said.pop("is"))
        elif isinstance(kind, str):
            said["kind"] = Named(kind)
        else:
            function, keywords = apart(kind)
            said = {**keywords, **said, "kind": function}
        if not isinstance(said["kind"], Validated):
            cls._check(said["kind"])
        return said

    @classmethod
    def _check(cls, given: Any) -> None:
        if inspect.isclass(given):
            if not cls.base:
                raise wrong(f"{given.__name__} is a class; give {cls.what}")
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
