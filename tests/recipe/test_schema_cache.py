"""The file that keeps the schema, and when it is not used."""

import json
import os

import pytest

from ffcore.plugin import manager
from ffcore.recipe import schema_cache
from ffcore.recipe.json_schema import recipe_schema

PLUGIN = '''
from ffcore.plugin import hookimpl

class Scaled:
    """A factor.

    Args:
        by: the factor.
    """

    def __init__(self, by: float = {default}) -> None: ...

@hookimpl
def ffcore_register(registry):
    registry.handoff("scaled", f"{{__name__}}:Scaled")
'''


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """How often the schema was made, with the cache in a folder of the test's."""
    made = []
    monkeypatch.setenv(schema_cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(schema_cache, "recipe_schema", lambda: made.append(1) or recipe_schema())
    yield made
    manager.use(None)


def default_of_scaled(schema):
    members = schema["$defs"]["component.handoff"]["oneOf"]
    (scaled,) = [one for one in members if one.get("title") == "scaled"]
    return scaled["properties"]["by"]["default"]


def test_the_schema_is_made_once(calls):
    first = schema_cache.cached_schema()
    assert (
        schema_cache.cached_schema()
        == json.loads(json.dumps(first))
        == json.loads(json.dumps(recipe_schema()))
    )
    assert len(calls) == 1


def test_it_is_made_again_when_a_source_file_has_changed(calls, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "scaled_plugin.py"
    file.write_text(PLUGIN.format(default=1.0))
    manager.use(manager.Plugins.load([str(file)]))
    assert default_of_scaled(schema_cache.cached_schema()) == 1.0
    file.write_text(PLUGIN.format(default=2.25))
    manager.current().add(file)
    assert default_of_scaled(schema_cache.cached_schema()) == 2.25


def test_components_of_the_session_are_in_it(calls):
    manager.use(manager.Plugins.load())
    schema_cache.cached_schema()

    class Mine:
        """Mine."""

    manager.register("handoff", "mine", Mine)
    members = schema_cache.cached_schema()["$defs"]["component.handoff"]["oneOf"]
    assert "mine" in [one.get("title") for one in members]


def test_a_damaged_file_and_a_folder_that_cannot_be_written_are_no_obstacle(calls, tmp_path, monkeypatch):
    whole = schema_cache.cached_schema()
    (kept,) = (tmp_path / "cache").iterdir()
    kept.write_text("{")
    assert schema_cache.cached_schema() == whole
    (tmp_path / "file").touch()
    monkeypatch.setenv(schema_cache.FOLDER, os.fspath(tmp_path / "file"))
    assert schema_cache.cached_schema() == whole
    assert len(calls) == 3
