"""The JSON schema of recipes, kept in a file: reading the sources of a hundred components takes 0.7 s.

The file holds what the schema was made from: the registered components, and every source file that was read
with its size and time of change. It is used only while all of these are the same.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from contextlib import suppress
from pathlib import Path

from platformdirs import user_cache_path
from pydantic import VERSION

import ffcore
from ffcore.errors import UserError
from ffcore.files import write_whole
from ffcore.plugin import manager, source
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.plugin.signature import files_read, source_signature
from ffcore.plugin.source import UnreadableError
from ffcore.recipe.json_schema import Schema, recipe_schema

FOLDER = "FFCORE_CACHE"
"""The environment variable that names another folder for the file."""


def cached_schema() -> Schema:
    """The schema of `recipe_schema`, from the file where that is up to date."""
    entries = [entry for noun in NOUNS for entry in manager.current().registry.entries(noun)]
    if not all(isinstance(entry.target, str) for entry in entries if entry.noun != "command"):
        return recipe_schema()  # classes of this session have no source that could be compared
    components = [(e.noun, e.name, e.target, e.described) for e in entries if isinstance(e.target, str)]
    made_from = [ffcore.__version__, VERSION, sys.version, *components]
    key = hashlib.sha256(json.dumps(made_from).encode()).hexdigest()
    path = _folder() / f"schema-{key[:16]}.json"
    with suppress(OSError, ValueError, KeyError, TypeError, UnreadableError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] == key and all(_state(name) == state for name, state in kept["files"].items()):
            schema: Schema = kept["schema"]
            return schema
    schema = recipe_schema()
    if not all(map(_is_read, entries)):
        return schema  # other files than those that were read may change it
    files = {name: _state(name) for name in _read()}
    with suppress(OSError):  # a folder that cannot be written to costs half a second each time
        path.parent.mkdir(parents=True, exist_ok=True)
        for older in path.parent.glob("schema-*.json"):
            older.unlink()
        text = json.dumps({"key": key, "files": files, "schema": schema})
        write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    return schema


def _is_read(entry: Entry) -> bool:
    """Whether the options of a component are read off its source, so that its files are all that matters."""
    if not NOUNS[entry.noun].has_options:
        return True
    try:
        source_signature(entry.target, tuple(NOUNS[entry.noun].supplied))
    except (UnreadableError, UserError):
        return False
    return True


def _folder() -> Path:
    if given := os.environ.get(FOLDER):
        return Path(given).expanduser()
    return user_cache_path("ffcore")


def _read() -> list[str]:
    """The source files that the schema depends on: those of components, and those that make it."""
    packages = (source.__file__, __file__)
    own = [path for package in packages for path in Path(package).parent.glob("*.py")]
    return [*map(str, files_read()), *map(str, own)]


def _state(name: str) -> list[int]:
    return list(source.state_of(Path(name)))
