"""The JSON schema of a recipe, with all installed components, for editors."""

from __future__ import annotations

from typing import Any

from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.plugin.registry import Entry
from ffcore.plugin.targets import TARGET
from ffcore.recipe.options import options_of
from ffcore.recipe.schema import Recipe

Schema = dict[str, Any]


def recipe_schema() -> Schema:
    """The schema of a recipe file; every component of every working plugin is in it."""
    return _Filler().fill()


class _Filler:
    """Replaces the markers that `ffcore.recipe.spec.Kind` and `Flat` leave in pydantic's schema."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = {}

    def fill(self) -> Schema:
        schema = Recipe.model_json_schema()
        own = schema.pop("$defs", {})
        top = self._walk(schema)
        self.definitions |= {name: self._walk(definition) for name, definition in own.items()}
        top["properties"] = {
            "base": {"type": "string", "description": "a recipe that this one is laid upon"},
            **top["properties"],
        }
        # with a base, what is missing here may be there
        top.pop("required", None)
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **top,
            "$defs": dict(sorted(self.definitions.items())),
        }

    def _walk(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self._walk(item) for item in node]
        if not isinstance(node, dict):
            return node
        if "x-flat" in node:
            return self._flat(node)
        if "x-component" in node:
            rest = {key: value for key, value in node.items() if key != "x-component"}
            return {**rest, "$ref": self._component(node["x-component"])}
        return {key: self._walk(value) for key, value in node.items()}

    def _component(self, noun: str) -> str:
        """The reference to a definition that is one of the noun's components."""
        name = f"component.{noun}"
        if name not in self.definitions:
            self.definitions[name] = {}  # a component may hold one of its own noun
            self.definitions[name] = self._one_of(noun, {})
        return f"#/$defs/{name}"

    def _flat(self, node: Schema) -> Schema:
        own = dict(node["properties"])
        noun = own.pop(node["x-flat"])["x-component"]
        return {
            **self._one_of(noun, self._walk(own)),
            "title": node["title"],
            "description": node.get("description", ""),
        }

    def _one_of(self, noun: str, own: Schema) -> Schema:
        entries = manager.current().registry.entries(noun)
        short: Schema = {"type": "string", "enum": [entry.name for entry in entries]}
        members = [*([short] if entries else []), *(self._options(entry, own) for entry in entries)]
        kind: Schema = {"type": "string", "pattern": f"^{TARGET}$"}
        named = {"type": "object", "title": "module:Class", "properties": {"kind": kind, **own}}
        members += [kind, {**named, "required": ["kind"]}]
        return {"oneOf": members}

    def _options(self, entry: Entry, own: Schema) -> Schema:
        kind = {"const": entry.name}
        result: Schema = {"type": "object", "title": entry.name, "required": ["kind"]}
        prefix = f"{entry.noun}.{entry.name}."
        try:
            kind["description"] = entry.summary
            schema = options_of(entry).model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
        except UserError as error:  # its class cannot be imported: the other components still count
            return {**result, "properties": {"kind": kind}, "description": str(error)}
        for name, definition in schema.pop("$defs", {}).items():
            self.definitions[prefix + name] = self._walk(definition)
        return {
            **result,
            "description": entry.summary or schema.get("description", ""),
            "properties": {"kind": kind, **self._walk(schema.get("properties", {})), **own},
            "required": ["kind", *schema.get("required", [])],
            "additionalProperties": False,
        }
