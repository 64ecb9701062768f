"""Who may import whom: the table in docs/architecture.md, held."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOR_ALL = {
    "blame",
    "deprecation",
    "errors",
    "files",
    "reading",
    "trust",
    "parts",
    "private",
    "options",
    "stdout",
}
MAY_IMPORT = {
    "interfaces": set(),
    "tasks": {"interfaces", "errors"},
    "local": {"interfaces", "tasks", "errors"},
    "engine": {"network", "local", "tasks", "interfaces", "errors"},
    "plugin": {"errors"},
    "recipe": {"plugin", "errors"},
    "data": {"interfaces", "tasks", "plugin", "errors"},
    "build": {"network", "engine", "local", "tasks", "interfaces", "recipe", "plugin", "data", "errors"},
    "report": {"plugin", "recipe", "errors"},
    "analysis": {"network", "build", "local", "tasks", "interfaces", "report", "errors"},
    "ranks": {"engine", "local", "interfaces", "recipe", "errors"},
    "run": {
        "analysis",
        "network",
        "by_hand",
        "ranks",
        "build",
        "engine",
        "local",
        "tasks",
        "interfaces",
        "recipe",
        "plugin",
        "data",
        "report",
        "errors",
    },
    "sweeps": {"run", "ranks", "tasks", "report", "recipe", "plugin", "data", "errors"},
    "exports": {
        "network",
        "run",
        "build",
        "local",
        "interfaces",
        "errors",
    },
    "edge": set(),
    "cli": {
        "exports",
        "sweeps",
        "run",
        "ranks",
        "build",
        "report",
        "recipe",
        "plugin",
        "testing",
        "scaffold",
        "errors",
    },
    "scaffold": {"plugin", "interfaces", "data", "errors"},
    "testing": {"build", "engine", "local", "tasks", "interfaces", "recipe", "plugin", "data", "errors"},
}


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "ffcore"}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_a_room_imports_only_the_rooms_below_it(room: str) -> None:
    for path in (ROOT / "ffcore" / room).rglob("*.py"):
        for module in imports(path):
            if module.startswith("ffcore."):
                assert module.split(".")[1] in {room, *FOR_ALL, *MAY_IMPORT[room]}, f"{path} imports {module}"


def test_a_plugin_imports_contracts_and_what_reports_are_made_of() -> None:
    allowed = {
        "interfaces",
        "tasks",
        "plugin",
        "options",
        "blame",
        "parts",
        "report",
        "data.images",
        "local.box",  # for components that ask a black box
        "local.box_use",  # for components that call something outside of torch
        "errors",
        "trust",
        "files",
    }
    for path in (ROOT / "plugins").rglob("*.py"):
        for module in imports(path):
            if module.startswith("ffcore."):
                known = any(f"{module}.".startswith(f"ffcore.{room}.") for room in allowed)
                assert known, f"{path} imports {module}"


def test_the_core_imports_no_plugin() -> None:
    plugins = {path.name for path in (ROOT / "plugins").iterdir()}
    for path in (ROOT / "ffcore").rglob("*.py"):
        assert plugins.isdisjoint(module.split(".")[0] for module in imports(path)), path


def test_no_file_is_longer_than_400_lines() -> None:
    for folder in ("ffcore", "plugins"):
        for path in (ROOT / folder).rglob("*.py"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path
