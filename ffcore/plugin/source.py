"""Reads constructors from source files, so that options are known without importing torch.

``find`` follows a dotted target through imports to the class or function. Annotations and defaults are then
evaluated with the names of that file. Names from light modules (the standard library, pydantic, and what
imports nothing else) are the real ones; aliases such as ``Mode = Literal["a", "b"]`` are evaluated where they
are written; any other class is a stand-in with its dotted path. A name counts only if the file binds it once,
whatever happens at run time; everything else is unreadable, and the module has to be imported.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

_LIGHT = frozenset({*sys.stdlib_module_names, "pydantic", "pydantic_core", "annotated_types"})

_CLASSES_ONLY = ("torch", "numpy", "ffcore.interfaces")
"""Packages from which annotations take classes, no aliases: their files need not be read."""

_RECORDING: list[set[Path]] = []

Definition = ast.ClassDef | ast.FunctionDef
Binding = Definition | ast.expr | tuple[str, str | None]
State = tuple[int, int]
"""Size and time of change of a file."""


class UnreadableError(Exception):
    """The source does not determine a signature; the module has to be imported."""


class _OutsideType(type):
    """The metaclass of stand-ins: an attribute of one, such as ``nn.Module``, is a stand-in too."""

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
    """Returns a stand-in for a class or module that was not imported; ``path`` is its dotted path."""
    return _OutsideType.__new__(_OutsideType, "Outside", (), {"path": path})


def path_of_outside(annotation: Any) -> str | None:
    """Returns the dotted path of a stand-in; None for all other values."""
    return annotation.path if isinstance(annotation, _OutsideType) else None


@dataclass(frozen=True)
class Source:
    """A module's file, parsed.

    Attributes:
        module: its dotted name.
        package: the package that its relative imports begin at.
        tree: the parsed file.
        bound: what each top-level name is: a definition, an assigned expression, or (module, name) of an
            import; name is None for ``import module``. None for a name bound more than once, or under a
            condition.
        patched: classes whose constructors the module replaces.
    """

    module: str
    package: str
    tree: ast.Module
    bound: dict[str, Binding | None]
    patched: frozenset[str]

    def evaluate(self, node: ast.expr) -> Any:
        """Returns the value of an annotation or a default.

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
        if name in source.bound and source.bound[name] is None:
            raise UnreadableError(f"{source.module} binds {name} more than once, or under a condition")
        found = source.bound.get(name)
        if isinstance(found, tuple):
            return _imported(*found)
        if found is None and hasattr(builtins, name):
            return getattr(builtins, name)
        if _is_light(source.module):
            return getattr(importlib.import_module(source.module), name)
        return _here(source, name)


def read(module: str) -> Source:
    """Parses the file of a module. Nothing is imported; an unchanged file is parsed once.

    Raises:
        UnreadableError: there is no such file.
    """
    path = _file(module)
    if path is None:
        raise UnreadableError(f"there is no source of {module}")
    for files in _RECORDING:
        files.add(path)
    return _parsed(module, path, state_of(path))


def state_of(path: Path) -> State:
    """Returns size and time of change of a file, by which an edit is detected.

    Raises:
        UnreadableError: it cannot be read.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UnreadableError(str(error)) from error
    return found.st_size, found.st_mtime_ns


@contextmanager
def recorded() -> Iterator[set[Path]]:
    """Collects the files that are read inside the context."""
    files: set[Path] = set()
    _RECORDING.append(files)
    try:
        yield files
    finally:
        _RECORDING.pop()


@functools.lru_cache(maxsize=1000)
def _parsed(module: str, path: Path, state: State) -> Source:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, ValueError, SyntaxError) as error:
        raise UnreadableError(f"{module}: {error}") from error
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    bound: dict[str, Binding | None] = {}
    for name, binding in _bindings(tree.body, package):
        bound[name] = None if name in bound else binding
    return Source(module, package, tree, bound, frozenset(_patched(tree)))


def find(module: str, name: str) -> tuple[Source, Definition]:
    """Returns the definition of ``module:name``, and the file that has it.

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
    if not isinstance(found, ast.ClassDef | ast.FunctionDef) or first in source.patched:
        raise UnreadableError(f"{module} does not define {name}, or changes it later")
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
    if node.id not in source.bound and hasattr(builtins, node.id):
        return node.id
    found = source.bound.get(node.id)
    if isinstance(found, tuple):
        return ".".join([found[0], *([found[1]] if found[1] else []), *parts])
    return ".".join([source.module, node.id, *parts])


def _imported(module: str, name: str | None) -> Any:
    """Returns the value of an imported name: the object itself, the value of an alias, or a stand-in."""
    if _is_light(module):
        loaded = importlib.import_module(module)
        if name is None or hasattr(loaded, name):
            return getattr(loaded, name or "", loaded)
        inner = f"{module}.{name}"  # from package import module
        return importlib.import_module(inner) if _is_light(inner) else outside(inner)
    if name is None or is_within(module, _CLASSES_ONLY):
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
    """Returns the value of a name in the module that defines it: of an alias, or a stand-in for a class."""
    found = source.bound.get(name)
    if isinstance(found, ast.expr):
        return source.evaluate(found)
    if isinstance(found, ast.ClassDef):
        return outside(f"{source.module}.{name}")
    raise UnreadableError(f"{source.module}:{name} is not a class or an alias")


def is_within(path: str, packages: Iterable[str]) -> bool:
    """Whether a dotted path is one of these, or inside one."""
    return any(f"{path}.".startswith(f"{package}.") for package in packages)


@functools.cache
def _is_light(module: str) -> bool:
    """Returns whether a module imports only the standard library, pydantic and other light modules."""
    if is_within(module, _CLASSES_ONLY):
        return False
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
    """Yields the modules that a module imports at its top level."""
    for node in source.tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield _absolute(node, source.package)


def _bindings(body: Sequence[ast.stmt], package: str) -> Iterator[tuple[str, Binding | None]]:
    """Yields each name that these statements bind; with None if its value depends on running them."""
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            yield node.name, node
        elif (
            isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)
        ):
            yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value:
            yield node.target.id, node.value
        elif type(node).__name__ == "TypeAlias":  # type X = …, since Python 3.12
            alias_: Any = node
            yield alias_.name.id, alias_.value
        elif isinstance(node, ast.Import):
            for alias in node.names:
                whole = alias.name if alias.asname else alias.name.partition(".")[0]
                yield alias.asname or whole, (whole, None)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield alias.asname or alias.name, (_absolute(node, package), alias.name)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test) and not node.orelse:
            yield from _bindings(node.body, package)
        else:
            for name in _stored(node):
                yield name, None


def _stored(node: ast.AST) -> Iterator[str]:
    """Yields the names that a statement may bind; does not enter functions and classes."""
    if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store | ast.Del):
        yield node.id
    elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        yield node.name
    elif isinstance(node, ast.alias):
        yield node.asname or node.name.partition(".")[0]
    else:
        for inner in ast.iter_child_nodes(node):
            yield from _stored(inner)


def _patched(tree: ast.Module) -> Iterator[str]:
    """The classes that get another constructor at the top of a module: ``Dense.__init__ = other``."""
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            if not isinstance(target, ast.Attribute) or not isinstance(target.value, ast.Name):
                continue
            if target.attr in ("__init__", "__new__", "__signature__"):
                yield target.value.id


def stored_in(node: ast.ClassDef) -> frozenset[str]:
    """The names that the body of a class binds."""
    return frozenset(name for part in node.body for name in _stored(part))


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def _file(module: str) -> Path | None:
    spec = spec_of(module)
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


def spec_of(module: str) -> ModuleSpec | None:
    """Finds a module's spec without importing its parent packages, as `importlib.util.find_spec` would."""
    whole, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(whole)
    except (ImportError, ValueError):
        return None
    for part in rest:
        whole = f"{whole}.{part}"
        places = spec.submodule_search_locations if spec is not None else None
        spec = PathFinder.find_spec(whole, places) if places is not None else None
    return spec
