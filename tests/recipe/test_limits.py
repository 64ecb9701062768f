"""Recipes that no run could use: deep, large, of impossible numbers, with YAML's traps."""

import pytest

from ffcore.plugin import manager
from ffcore.plugin.nouns import NOUNS
from ffcore.recipe.errors import RecipeError
from ffcore.recipe.load import load
from ffcore.recipe.options import options_of
from ffcore.recipe.schema import Recipe
from ffcore.recipe.text import DEEPEST, MOST_BYTES, emit, parse, parse_value

BOMB = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10))
MERGES = "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 10)}]}}\n" for i in range(1, 10))


def refused(*overrides, recipe="digits/ff"):
    with pytest.raises(RecipeError) as caught:
        load(str(recipe), overrides)
    line = str(caught.value)
    assert "\n" not in line
    return line


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("!!bool maybe", "'maybe' is not a value of !!bool"),
        ("!!timestamp foo", "'foo' is not a value of !!timestamp"),
        ("!!int ''", "'' is not a value of !!int"),
        ("!!binary aGk=", "is a bytes; a recipe holds text, numbers"),
        ("!!set {a, b}", "tag '!!set' on a mapping"),
        ("!!str [1]", "tag '!!str' on a list"),
        ("&a [*a]", "an alias inside its own anchor"),
        ("&a {<<: *a}", "an alias inside its own anchor"),
        ("{<<: 3}", "<< needs a mapping"),
        ("{a: 1, a: 2}", "key 'a' is given twice"),
        ("[" * 60 + "]" * 60, f"nested more than {DEEPEST} levels deep"),
        ("9" * 4000, "does not fit into 64 bits"),
        ("9" * 5000, "is not a value of !!int"),
        (r'"\0"', "control character U+0000"),
        ("photos #2", "'#2' is a comment in YAML; put the value in quotes"),
        ("[1, 2] # two", "'# two' is a comment in YAML"),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(value, expected):
    assert expected in refused(f"title={value}")


@pytest.mark.parametrize(("first", "rest"), [("[x, x]", BOMB), ("{x: 1}", MERGES)], ids=["list", "<<"])
def test_aliases_cannot_make_a_document_large(first, rest):
    text = f"a0: &a0 {first}\n{rest}"
    with pytest.raises(RecipeError, match="more than 100000 values"):
        parse(text, "r.yaml")


def test_numbers_are_those_of_yaml_1_2():
    assert parse_value("[010, 0o17, 0x1F, 1_000, 1e3, -.5]") == [10, 15, 31, 1000, 1000.0, -0.5]
    assert parse_value("[1:30, 2026-01-01, 1.2.3]") == ["1:30", "2026-01-01", "1.2.3"]
    texts = ["010", "1:30", "0o17", "1e3", "2026-01-01", "1_000", "yes", "~"]
    assert parse(emit({"a": texts}), "").data == {"a": texts}


def test_merged_mappings_keep_their_precedence_and_lines():
    tree = parse("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*y, *x]\n  c: 3\n", "r.yaml")
    assert tree.data["z"] == {"a": 1, "b": 2, "c": 3}
    assert [tree.origin(("z", key)) for key in "abc"] == ["r.yaml:1", "r.yaml:2", "r.yaml:5"]


def test_a_quoted_value_may_have_a_number_sign():
    assert load("digits/ff", ['title="photos #2"']).title == "photos #2"
    assert load("digits/ff", ["title=photos#2"]).title == "photos#2"


def test_files_have_a_limit_an_encoding_and_a_sort(tmp_path):
    path = tmp_path / "r.yaml"
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    assert "larger than 4 MiB" in refused(recipe=path)
    path.write_bytes("name: größer\n".encode("latin-1"))
    assert "line 1 is not UTF-8 text" in refused(recipe=path)
    path.unlink()
    (tmp_path / "r.yaml").mkdir()
    assert "is not a file" in refused(recipe=path)
    assert "no recipe file" in refused(recipe=f"{tmp_path}/{'x' * 300}.yaml")
    assert "no recipe 'xxx" in refused(recipe="x" * 300)


def test_a_chain_of_bases_has_a_limit(tmp_path):
    for number in range(40):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number + 1}.yaml\n")
    (tmp_path / "40.yaml").write_text("base: digits/ff\n")
    assert "a chain of more than 20 bases" in refused(recipe=tmp_path / "0.yaml")


@pytest.mark.parametrize(
    "override",
    [
        *("seed=9223372036854775808", "trainer.threads=1099511627776", "trainer.timeout=1e300"),
        *("network.0.units=1e12", "network.0.repeat=1000000000", "data.batch_size=10000000000"),
        *("optimizer.lr=1e300", "optimizer={kind: adagrad, lr: 1e300}", "data.groups=[10000000000]"),
        "network.0={kind: blackbox, box: {kind: crossbar, units: 4, hours: 1.0e+308}}",
        "network.0={kind: blackbox, box: {kind: crossbar, units: 4, dead: 1}}",
        "network.0={kind: blackbox, box: {kind: process, command: cat, timeout: 1.0e+300}}",
        "network.0={kind: blackbox, box: {kind: onnx, path: x, threads: 1000000000}}",
    ],
)
def test_a_number_has_bounds(override):
    assert "should be less than" in refused(override)


def without_bounds(schema, definitions, path=(), seen=()):
    """Yields the path of each number in a JSON schema that has no minimum or no maximum."""
    if (name := schema.get("$ref", "").rpartition("/")[2]) and name not in seen:
        yield from without_bounds(definitions[name], definitions, path, (*seen, name))
    number = schema.get("type") in ("integer", "number") and not {"enum", "const"} & schema.keys()
    bounds = [{"minimum", "exclusiveMinimum"}, {"maximum", "exclusiveMaximum"}]
    if number and not all(bound & schema.keys() for bound in bounds):
        yield path
    inner = [one for key in ("anyOf", "oneOf", "prefixItems") for one in schema.get(key, ())]
    inner += [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    for one in inner:
        yield from without_bounds(one, definitions, path, seen)
    for key, one in schema.get("properties", {}).items():
        yield from without_bounds(one, definitions, (*path, key), seen)


def test_every_number_of_every_component_has_bounds():
    models = [(("recipe",), Recipe)]
    for noun in NOUNS.values():
        if noun.has_options:
            entries = manager.current().registry.entries(noun.name)
            models += [((noun.name, entry.name), options_of(entry)) for entry in entries]
    schemas = [(where, model.model_json_schema()) for where, model in models]
    missing = [(*where, *path) for where, s in schemas for path in without_bounds(s, s.get("$defs", {}))]
    assert [one for one in missing if one[-1] != "validation"] == []
