import json
import re

import pytest

from ffcore.recipe.json_schema import recipe_schema


@pytest.fixture
def schema(fake):
    return recipe_schema()


def kinds(node):
    return {
        one["properties"]["kind"]["const"]: one
        for one in node["oneOf"]
        if "const" in one.get("properties", {}).get("kind", {})
    }


def test_it_is_json_without_markers_and_every_reference_resolves(schema):
    text = json.dumps(schema)
    assert "x-component" not in text
    assert "x-flat" not in text
    for part in text.split('"$ref": "#/$defs/')[1:]:
        assert part.partition('"')[0] in schema["$defs"]


def test_every_installed_component_is_in_the_schema_with_its_options(schema):
    found = kinds(schema["$defs"]["component.goodness"])
    assert set(found) == {"sum-squares", "mean-squares"}
    algorithm = kinds(schema["$defs"]["component.algorithm"])["forward-forward"]
    assert algorithm["properties"]["labels"]["$ref"] == "#/$defs/component.label"


def test_data_and_blocks_are_flat(schema):
    images = kinds(schema["$defs"]["DataConfig"])["images"]
    assert {"kind", "root", "batch_size", "validation"} <= set(images["properties"])
    dense = kinds(schema["$defs"]["BlockItem"])["dense"]
    assert {"kind", "units", "repeat", "block"} <= set(dense["properties"])
    assert dense["required"] == ["kind", "units"]


def test_a_component_may_contain_components_of_its_noun(schema):
    chain = kinds(schema["$defs"]["component.handoff"])["chain"]
    assert chain["properties"]["parts"]["items"]["$ref"] == "#/$defs/component.handoff"


def test_a_component_that_cannot_be_imported_has_no_options(fake):
    from ffcore.plugin.registry import Entry

    fake.registry.add(Entry("goodness", "lost", "nowhere:Lost", "fake"))
    assert "cannot be loaded" in kinds(recipe_schema()["$defs"]["component.goodness"])["lost"]["description"]


def test_a_kind_alone_is_allowed(schema):
    assert schema["$defs"]["component.goodness"]["oneOf"][0]["enum"] == ["mean-squares", "sum-squares"]
    assert schema["$defs"]["component.optimizer"]["oneOf"][0]["enum"] == ["adam", "adamw", "rmsprop", "sgd"]


def test_a_target_is_allowed_instead_of_a_kind(schema):
    for name in ("component.goodness", "component.optimizer", "BlockItem"):
        short, long = schema["$defs"][name]["oneOf"][-2:]
        assert re.fullmatch(short["pattern"], "my.module:Class")
        assert long["properties"]["kind"] == short
        assert "additionalProperties" not in long
