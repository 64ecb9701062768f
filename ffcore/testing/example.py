"""A registered component with options to try it with.

A component whose options all have defaults is tried with those. Others are tried with what their config
declares (its first use is as good as documentation)::

    class Dense(Options):
        model_config = ConfigDict(json_schema_extra={"examples": [{"units": 8}]})

or with values that its bounds and choices suggest. Declared examples of a component that needs none are
tried beside its defaults. An algorithm that needs a network of its own adds ``"recipe": {"network": …}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ffcore.build.components import make
from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.plugin.registry import Entry
from ffcore.recipe.spec import Kind

Options = Mapping[str, Any]


@dataclass(frozen=True)
class Example:
    """What every check is given.

    Attributes:
        entry: the registered component.
        options: what a recipe would say about it, besides its kind.
    """

    entry: Entry
    options: Options = field(default_factory=dict)

    def make(self, in_shape: tuple[int, ...] | None = None, seed: int = 0) -> Any:
        """A new component, made as a recipe's would be; the global random state stays as it is."""
        spec = Kind(self.entry.noun).validate(self.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make(spec, self.entry.title, in_shape)

    @property
    def spec(self) -> dict[str, Any]:
        """The component as a recipe names it."""
        return {"kind": self.entry.name, **self.options}

    @property
    def recipe(self) -> dict[str, Any]:
        """What the component's config wants of the recipe that it is tried in."""
        return dict(_declared(self.entry).get("recipe", {}))


def examples_of(entry: Entry) -> list[Options]:
    """Options to try a component with.

    Raises:
        UserError: it has a required option without an example, and of a type that suggests no value.
    """
    schema = entry.schema()
    declared = list(_declared(entry).get("examples", []))
    required = [name for name, option in schema.model_fields.items() if option.is_required()]
    if not required:
        return [{}, *declared]
    if declared:
        return declared
    properties = schema.model_json_schema()["properties"]
    return [{name: _value(entry, name, properties[name]) for name in required}]


def needed(entry: Entry) -> str | None:
    """The optional package that a component cannot do without, where its config says ``"needs"``."""
    needs = _declared(entry).get("needs")
    return None if needs is None else str(needs)


def _declared(entry: Entry) -> Options:
    extra = entry.schema().model_config.get("json_schema_extra")
    return extra if isinstance(extra, dict) else {}


def _value(entry: Entry, name: str, schema: Mapping[str, Any]) -> Any:
    """A value that fits a JSON schema."""
    if "x-component" in schema:
        for other in manager.current().registry.entries(schema["x-component"]):
            return {"kind": other.name, **examples_of(other)[0]}
    if "const" in schema or "enum" in schema:
        return schema.get("const") or schema["enum"][0]
    if schema.get("type") == "boolean":
        return True
    if schema.get("type") in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        high = schema.get("maximum", schema.get("exclusiveMaximum", low + 8))
        return int(low + high) // 2 if schema["type"] == "integer" else (low + high) / 2
    raise UserError(
        f'{entry.title} needs an example of its option {name!r}: json_schema_extra={{"examples": […]}} in '
        "the model_config of its config, or cases(examples=…)"
    )
