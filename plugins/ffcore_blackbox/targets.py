"""Targets ``module:function``, checked without importing the module. Does not import torch."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator

from ffcore.blame import reported
from ffcore.errors import FOREIGN, first_line
from ffcore.options import FunctionTarget
from ffcore.plugin.source import spec_of
from ffcore.plugin.targets import load_target


def refuse_missing(target: str) -> str:
    """Check that ``module:function`` exists, without importing the module.

    Raises:
        ValueError: with the part that is missing.
    """
    module, colon, name = target.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise ValueError("should be module:function")
    if module == "__main__":
        if not hasattr(sys.modules[module], name.split(".")[0]):
            raise ValueError(
                f"the program that runs has no {name!r}; give the function itself, or its module"
            )
        return target
    spec = spec_of(module)
    if spec is None:
        raise ValueError(f"there is no module {module!r} on Python's path (PYTHONPATH=. adds this folder)")
    if spec.origin is None or not spec.origin.endswith(".py"):
        return target  # a namespace package or a compiled module: an error shows when it is called
    try:
        tree = ast.parse(Path(spec.origin).read_bytes(), spec.origin)
    except (SyntaxError, ValueError) as error:  # ValueError: a NUL
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise ValueError(
            f"module {module!r} is not Python: {first_line(error)} ({spec.origin}{line})"
        ) from error
    known = {bound for node in tree.body for bound in _names(node)}
    if name.split(".")[0] not in known and "*" not in known:
        _import(target)  # an exception while the module is imported may be the reason
        raise ValueError(f"module {module!r} has no {name!r}")
    return target


def _import(target: str) -> None:
    try:
        load_target(target)
    except AttributeError:
        return
    except FOREIGN as error:
        raise ValueError(f"{target!r} cannot be imported: {reported(error)}") from error


def _checked(target: Any) -> Any:
    """Check a target in text form; a function is returned unchanged."""
    return refuse_missing(target) if isinstance(target, str) else target


Target = Annotated[Any, FunctionTarget(), AfterValidator(_checked)]
"""``module:function``, or in Python the function itself."""


def _names(node: ast.stmt) -> list[str]:
    """Return the names that a top-level statement of a module binds."""
    if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef):
        return [node.name]
    if isinstance(node, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.Assign | ast.AnnAssign):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return [target.id for target in targets if isinstance(target, ast.Name)]
    return [
        name for inner in ast.iter_child_nodes(node) if isinstance(inner, ast.stmt) for name in _names(inner)
    ]
