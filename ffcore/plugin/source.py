"""Constructors as their source files have them, so that options are known without importing torch.

``find`` follows a dotted target through imports to the class or function. Annotations and defaults are then
evaluated with the names of that file. Names from light modules (the standard library, pydantic, and what
imports nothing else) are the real ones; aliases such as ``Mode = Literal["a", "b"]`` are evaluated where they
are written; any other class is an `Outside` with its dotted path.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LIGHT = frozenset({*sys.stdlib_module_names, "pydantic", "pydantic_core", "annotated_types"})

_CLASSES_ONLY = ("torch", "numpy", "ffcore.interfaces")
"""Packages from which annotations take classes, no aliases: their files need not be read."""

_FILES: set[Path] = set()

Definition = ast.ClassDef | ast.FunctionDef


class UnreadableError(Exception):
    """The source does not say it; the module has to be imported."""


class _OutsideType(type):
    """Attributes of something outside are outside too: ``nn.Module``."""

    path: str

    def __getattr__(cls, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return outside(f"{cls.path}.{name}")

    def __getitem__(cls, parameters: Any) -> Any:
        return cls  # Array[float] is as unknown as Array

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise UnreadableError(f"{cls.path} would have to be called")


def outside(path: str) -> Any:
    """A stand-in for a class or module that was not imported; ``path`` is its dotted path."""
    return _OutsideType.__new__(_OutsideType, "Outside", (), {"path": path})


def path_of_outside(annotation: Any) -> str | None:
    """The dotted path of such a stand-in; None for everything else."""
    return annotation.path if isinstance(annotation, _OutsideType) else None


@dataclass(frozen=True)
class Source:
    """A module's file, parsed.

    Attributes:
        module: its dotted name.
        package: the package that its relative imports begin at.
        tree: the parsed file.
        bound: what each top-level name is: a definition, an assigned expression, or (module, name) of an
            import; name is None for ``import module``.
    """

    module: str
    package: str
    tree: ast.Module
    bound: dict[str, Definition | ast.expr | tuple[str, str | None]]

    def evaluate(self, node: ast.expr) -> Any:
        """The value of an annotation or a default.

        Raises:
            UnreadableError: it uses something that only importing the module would give.
        """
        code = compile(ast.Expression(body=node), self.module, "eval")
        try:
            return eval(code, {"__builtins__": {}}, _Names(self))  # noqa: S307 (the plugin's own source)
        except UnreadableError:
            raise
        except Exception as error:  # what the expression itself raises on stand-ins
            raise UnreadableError(f"{ast.unparse(node)}: {error}") from error


class _Names(dict[str, Any]):
    """The names of a module, looked up when an expression asks for them."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self._source = source

    def __missing__(self, name: str) -> Any:
        source = self._source
        found = source.bound.get(name)
        if isinstance(found, tuple):
            return _imported(*found)
        if found is None and hasattr(builtins, name):
            return getattr(builtins, name)
        if _is_light(source.module):
            return getattr(importlib.import_module(source.module), name)
        return _here(source, name)


@functools.cache
def read(module: str) -> Source:
    """The source of a module; its packages are not imported.

    Raises:
        UnreadableError: there is no such file.
    """
    path = _file(module)
    if path is None:
        raise UnreadableError(f"there is no source of {module}")
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableError(f"{module}: {error}") from error
    _FILES.add(path)
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    return Source(module, package, tree, dict(_bindings(tree.body, package)))


def files_read() -> frozenset[Path]:
    """The source files that this process has read."""
    return frozenset(_FILES)


def find(module: str, name: str) -> tuple[Source, Definition]:
    """The class or function that ``module:name`` is, where it is defined.

    Raises:
        UnreadableError: the source does not show it.
    """
    source = read(module)
    first, *inner = name.split(".")
    found = source.bound.get(first)
    if isinstance(found, tuple) and found[1] is not None:
        return find(found[0], ".".join([found[1], *inner]))
    if isinstance(found, ast.Name):
        return find(module, ".".join([found.id, *inner]))
    for part in inner:
        body = found.body if isinstance(found, ast.ClassDef) else []
        found = next(
            (n for n in body if isinstance(n, ast.ClassDef | ast.FunctionDef) and n.name == part), None
        )
    if not isinstance(found, ast.ClassDef | ast.FunctionDef):
        raise UnreadableError(f"{module} does not define {name}")
    return source, found


def base_of(source: Source, node: ast.expr) -> str:
    """The dotted path of a class that another one inherits from.

    Raises:
        UnreadableError: it is not a name.
    """
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Subscript):  # Base[T]
        return base_of(source, node.value)
    if not isinstance(node, ast.Name):
        raise UnreadableError(f"{source.module}: a base is {ast.unparse(node)}")
    found = source.bound.get(node.id)
    if isinstance(found, tuple):
        return ".".join([found[0], *([found[1]] if found[1] else []), *parts])
    return ".".join([source.module, node.id, *parts])


def _imported(module: str, name: str | None) -> Any:
    """What an import gives: the real thing, an alias's value, or a stand-in."""
    if _is_light(module):
        loaded = importlib.import_module(module)
        inner = name is not None and not hasattr(loaded, name)  # from package import module
        return importlib.import_module(f"{module}.{name}") if inner else getattr(loaded, name or "", loaded)
    if name is None or module.startswith(_CLASSES_ONLY):
        return outside(f"{module}.{name}" if name else module)
    try:
        source = read(module)
    except UnreadableError:
        return outside(f"{module}.{name}")
    found = source.bound.get(name)
    if isinstance(found, tuple) and found != (module, name):
        return _imported(*found)
    return outside(f"{module}.{name}") if found is None else _here(source, name)


def _here(source: Source, name: str) -> Any:
    """What a name is in the module that defines it: an alias's value, or a stand-in for a class."""
    found = source.bound.get(name)
    if isinstance(found, ast.expr):
        return source.evaluate(found)
    if isinstance(found, ast.ClassDef):
        return outside(f"{source.module}.{name}")
    raise UnreadableError(f"{source.module}:{name} is not a class or an alias")


@functools.cache
def _is_light(module: str) -> bool:
    """Whether importing a module imports nothing but the standard library, pydantic and such modules."""
    seen: set[str] = set()
    ahead = [module]
    while ahead:
        name = ahead.pop()
        top = name.partition(".")[0]
        if name in seen or top in _LIGHT:
            continue
        if top not in (module.partition(".")[0], "ffcore"):
            return False
        seen.add(name)
        try:
            ahead += _needs(read(name))
        except UnreadableError:
            return False
        parent = name.rpartition(".")[0]
        if parent and parent not in sys.modules:
            ahead.append(parent)
    return True


def _needs(source: Source) -> Iterator[str]:
    """The modules that a module imports when it is imported itself."""
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield _absolute(node, source.package)


def _bindings(
    body: list[ast.stmt], package: str
) -> Iterator[tuple[str, Definition | ast.expr | tuple[str, str | None]]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value
        elif isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole, (whole, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, (_absolute(node, package), alias.name)
        elif isinstance(node, ast.If | ast.Try):  # TYPE_CHECKING, an optional import
            yield from _bindings(node.body, package)
        elif type(node).__name__ == "TypeAlias":  # type X = …, since Python 3.12
            alias_: Any = node
            yield alias_.name.id, alias_.value


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _file(module: str) -> Path | None:
    """The file of a module. Only finders of the top-level name are asked, which imports nothing."""
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    if not rest and spec.origin:
        return Path(spec.origin) if spec.origin.endswith(".py") else None
    for place in spec.submodule_search_locations or ():
        base = Path(place, *rest)
        for path in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
            if path.is_file():
                return path
    return None
