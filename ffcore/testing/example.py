"""A registered component with example options for its checks.

A component whose options all have defaults is checked with the defaults. Others are checked with the examples
of their class, or with values chosen from bounds and choices::

    class Dense(nn.Module):
        examples = ({"units": 8}, {"units": 4, "bias": False})

Examples of a component with defaults are used in addition to the defaults. Three more attributes are read:
``example_recipe``, parts of the recipe of the check, ``example_needs``, an optional package, of negatives
``example_shape``, the shape of the samples in place of that of an image, and of goodness that reads the views
and bodies that read the role ``example_roles``, views of K rows beside the samples, of losses
``example_views(views)``, with what the algorithm adds to them, and of rules ``example_units``, the units of
both layers, and ``example_views(views, net)``, what a pass learns from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ffcore.build.components import make
from ffcore.errors import UserError
from ffcore.parts import refuse_bare
from ffcore.plugin import manager
from ffcore.plugin.registry import Entry
from ffcore.recipe.options import options_of
from ffcore.recipe.spec import Kind

Options = Mapping[str, Any]
_WIDE = 1e4  # bounds that are larger only keep out mistakes


@dataclass(frozen=True)
class Example:
    """The argument of every check.

    Attributes:
        entry: the registered component.
        options: its options, as in a recipe, without its kind.
    """

    entry: Entry
    options: Options = field(default_factory=dict)

    def make(self, in_shape: tuple[int, ...] | None = None, seed: int = 0) -> Any:
        """Return a new component, made as for a recipe. The global random state does not change."""
        spec = Kind(self.entry.noun).validate(self.spec)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            made = make(spec, self.entry.title, in_shape)
        refuse_bare(made, self.entry.title)
        return made

    @property
    def spec(self) -> dict[str, Any]:
        """The component as a recipe names it."""
        return {"kind": self.entry.name, **self.options}

    @property
    def recipe(self) -> dict[str, Any]:
        """The parts of the recipe of the check that the component sets."""
        return dict(_own(self.entry, "example_recipe", {}))


def examples_of(entry: Entry) -> list[Options]:
    """Return the example options of a component.

    Raises:
        UserError: when a required option has no example, and no value can be chosen from its type.
    """
    schema = options_of(entry)
    declared = list(_own(entry, "examples", ()))
    required = [name for name, option in schema.model_fields.items() if option.is_required()]
    if not required:
        return [{}, *declared]
    if declared:
        return declared
    properties = schema.model_json_schema()["properties"]
    return [{name: _value(entry, name, properties[name]) for name in required}]


def needed(entry: Entry) -> str | None:
    """Return the optional package that a component needs, the ``example_needs`` of its class, or None."""
    needs = _own(entry, "example_needs", None)
    return None if needs is None else str(needs)


def _own(entry: Entry, name: str, default: Any) -> Any:
    """Return an attribute of the class itself; the examples of a parent class may not fit it."""
    return vars(entry.load()).get(name, default)


def _value(entry: Entry, name: str, schema: Mapping[str, Any]) -> Any:
    """Return a value that fits a JSON schema."""
    if "x-component" in schema:
        for other in manager.current().registry.entries(schema["x-component"]):
            return {"kind": other.name, **examples_of(other)[0]}
    if "const" in schema or "enum" in schema:
        return schema.get("const") or schema["enum"][0]
    if schema.get("type") == "boolean":
        return True
    if schema.get("type") in ("integer", "number"):
        # The middle of the range, or of 8 above the lower bound. Wide bounds are not a range.
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0))
        low = low if low > -_WIDE else 0
        high = schema.get("maximum", schema.get("exclusiveMaximum", _WIDE))
        high = high if high < _WIDE else low + 8
        return int(low + high) // 2 if schema["type"] == "integer" else (low + high) / 2
    if schema.get("type") == "array" and "items" in schema:
        return [_value(entry, name, schema["items"])] * max(1, schema.get("minItems", 1))
    raise UserError(
        f"{entry.title} needs an example of its option {name!r}: examples = ({{…}},) in the class, or "
        "cases(examples=…)"
    )
