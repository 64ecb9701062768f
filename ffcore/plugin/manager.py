"""Loads plugins. One that cannot be loaded is reported; the others work without it."""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from ffcore.blame import by_user
from ffcore.errors import UserError, closest, one_line, shortened, typed
from ffcore.plugin import hookspecs
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registrar import Registrar
from ffcore.plugin.registry import Entry, Registry
from ffcore.trust import trusted

GROUP = "ffcore.plugins"
SESSION = "session"
"""Name of the plugin that `register` adds components to."""
_MOST_BYTES = 16 << 20
"""Maximum size of a plugin file."""
DISABLE = "FFCORE_DISABLE_PLUGINS"


class NameTakenError(UserError):
    """A plugin of another origin has the name."""


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """One row of ``ffcore plugins``.

    Args:
        name: of the entry point, or the stem of the file.
        version: of the distribution; empty for a file.
        origin: the distribution or the file.
        status: ``ok``, ``disabled`` or ``broken: why``.
        entries: what it registered.
        is_file: whether it is a single file, given by its path.
    """

    name: str
    version: str
    origin: str
    status: str
    entries: tuple[Entry, ...] = ()
    is_file: bool = False


class Plugins:
    """The loaded plugins and their components.

    Attributes:
        registry: the entries of all plugins that work.
        broken: why a plugin was left out, by its name.
        infos: all plugins, in the order of loading.
        packages: top-level names of the modules of those that work.
        own: those that belong to ffcore itself.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("ffcore")
        self._manager.add_hookspecs(hookspecs)
        self.broken: dict[str, str] = {}
        self._disabled: list[str] = []
        self.registry = Registry(self.broken, self._disabled)
        self.infos: list[PluginInfo] = []
        self.packages: set[str] = set()
        self.own: set[str] = {"ffcore"}
        self._session: list[Entry] = []

    @classmethod
    def load(cls, files: Sequence[str] = ()) -> Plugins:
        """Loads the installed plugins, then these files.

        ffcore's own plugins come first, the others by name, so that a clash never takes a built-in away.

        Args:
            files: paths of Python files, each a plugin named by its stem.

        Raises:
            UserError: a file cannot be loaded, or the environment disables a plugin that is not there.
        """
        plugins = cls()
        points = sorted(entry_points(group=GROUP), key=lambda point: (_home(point) != "ffcore", point.name))
        disabled = _disabled({point.name for point in points})
        for point in points:
            plugins._load_entry_point(point, disabled=point.name in disabled)
        for file in files:
            plugins.add(file)
        return plugins

    def add(self, plugin: Any) -> str:
        """Loads one more plugin, or an edited one again; returns its name.

        Args:
            plugin: path of a Python file, named by its stem; or a module, a class or an object that has the
                hook.

        Raises:
            UserError: it cannot be loaded, or a plugin of another origin has its name; the plugins stay as
                they were.
        """
        if isinstance(plugin, str | os.PathLike):
            return self._load_file(Path(plugin))
        name = getattr(plugin, "__name__", type(plugin).__name__)
        hook = getattr(plugin, "ffcore_register", None)
        if hook is None:
            raise UserError(f"plugin {name}: it has no function ffcore_register(registry)")
        if isinstance(plugin, type) and "self" in inspect.signature(hook).parameters:
            plugin = plugin()
        self._replace(PluginInfo(name, "", getattr(plugin, "__module__", "") or name, "ok"), lambda: plugin)
        return name

    def register(self, noun: str, name: str, target: Any, summary: str = "") -> None:
        """Registers one component for this session, and replaces one of the same name from this session.

        Raises:
            UserError: the name or the target cannot work, or a plugin has registered the name.
        """
        registrar = Registrar(SESSION)
        if noun not in NOUNS:
            raise UserError(f"{noun!r} is not a sort of component{closest(noun, NOUNS)}")
        registrar.add(noun, name, target, summary)
        known = {(entry.noun, entry.name): entry for entry in self._session}
        earlier = known.get((noun, name))
        if earlier is not None:
            self.registry.remove([earlier])
            self._session.remove(earlier)
        self.registry.extend(registrar.entries)
        self._session += registrar.entries

    @property
    def files(self) -> list[str]:
        """Paths of the plugins that are files."""
        return [info.origin for info in self.infos if info.is_file]

    @contextmanager
    def of_other_processes(self) -> Iterator[None]:
        """Within the context, have only what another process of ffcore has: installed plugins and files."""
        objects = (info for info in self.infos if not info.is_file and not info.version)
        here = [*self._session, *(entry for info in objects for entry in info.entries)]
        self.registry.remove(here)
        try:
            yield
        finally:
            self.registry.extend(here)

    def _load_entry_point(self, point: EntryPoint, *, disabled: bool) -> None:
        name, version = point.name, point.dist.version if point.dist else ""
        status = "ok"
        entries: tuple[Entry, ...] = ()
        if disabled:
            status = "disabled"
            self._disabled.append(name)
        else:
            try:
                entries = self._take_in(point.load(), name)
                if _home(point) == "ffcore":
                    self.own.add(point.module.partition(".")[0])
            except BaseException as error:
                if by_user(error):
                    raise
                self.broken[name] = _reason(error)
                status = f"broken: {self.broken[name]}"
        self.infos.append(PluginInfo(name, version, _home(point), status, entries))

    def _load_file(self, path: Path) -> str:
        if not os.path.isfile(path):  # unlike Path.is_file, False for an impossible name
            raise UserError(f"there is no plugin file {shortened(str(path), 200)}")
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"plugin file {str(path)!r}: larger than {_MOST_BYTES >> 20} MiB")
        try:
            self._replace(
                PluginInfo(path.stem, "", str(path), "ok", is_file=True), lambda: _module_from(path)
            )
        except NameTakenError as error:
            raise UserError(f"plugin file {str(path)!r}: {error}; rename the file") from error
        except BaseException as error:
            if by_user(error):
                raise
            raise UserError(f"plugin file {str(path)!r} is broken: {_reason(error)}") from error
        return path.stem

    def _replace(self, info: PluginInfo, load: Callable[[], Any]) -> None:
        """Loads a plugin, and removes an older version with the same name and origin."""
        before = next((known for known in self.infos if known.name == info.name), None)
        old = self._manager.get_plugin(info.name)
        if before is not None and _place(before) != _place(info):
            raise NameTakenError(f"there is a plugin called {info.name!r} already")
        loaded = load()
        if before is not None and old is not None:
            self._manager.unregister(old)
            self.registry.remove(before.entries)
        try:
            entries = self._take_in(loaded, info.name)
        except BaseException:
            if before is not None and old is not None:
                self._manager.register(old, info.name)
                self.registry.extend(before.entries)
            raise
        if before is not None:
            self.infos.remove(before)
        self.infos.append(replace(info, entries=entries))

    def _take_in(self, plugin: Any, name: str) -> tuple[Entry, ...]:
        """Registers a plugin with all of its components; if one fails, none is registered."""
        if self._manager.has_plugin(name):
            raise UserError(f"another plugin has the name {name!r} too")
        try:
            self._manager.register(plugin, name)
            self._manager.check_pending()
            entries = self._ask(plugin, name)
            self.registry.extend(entries)
        except BaseException as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            if isinstance(error, pluggy.PluginValidationError):
                reason = f"{one_line(error)}; the hook is ffcore_register(registry)"
                raise UserError(reason) from error
            raise
        home = plugin.__name__ if isinstance(plugin, ModuleType) else getattr(plugin, "__module__", "")
        self.packages.add(home.partition(".")[0])
        return entries

    def _ask(self, plugin: Any, name: str) -> tuple[Entry, ...]:
        """Calls the hook of this plugin only, so that an error can be attributed to it."""
        if not self._manager.get_hookcallers(plugin):
            raise UserError("it has no function ffcore_register(registry) marked with @hookimpl")
        others = [other for other in self._manager.get_plugins() if other is not plugin]
        registrar = Registrar(name)
        self._manager.subset_hook_caller("ffcore_register", others)(registry=registrar)
        return tuple(registrar.entries)


def _place(info: PluginInfo) -> str:
    """Returns the origin of a plugin in a form that two loads of it share."""
    return str(Path(info.origin).resolve()) if info.is_file else info.origin


def _home(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""


def _reason(error: BaseException) -> str:
    """Returns an error's message in one line; the type is added unless it is a `UserError`."""
    return one_line(error, 400) if isinstance(error, UserError) else typed(error, 400)


def _disabled(known: Iterable[str]) -> set[str]:
    names = {name.strip() for name in os.environ.get(DISABLE, "").split(",")} - {""}
    if names == {"all"}:
        return set(known)
    for name in sorted(names - set(known)):
        raise UserError(f"{DISABLE} names {name!r}, which is not an installed plugin{closest(name, known)}")
    return names


def _module_from(path: Path) -> ModuleType:
    """Imports a file under a unique module name, so that its dotted targets can be resolved."""
    name = f"ffcore_plugin_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise UserError("its name does not end in .py")
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        if before is not None:  # a failed edit leaves the version that worked
            sys.modules[name] = before
        raise
    return module


_current: Plugins | None = None


def current() -> Plugins:
    """Returns the plugins in use; the first call loads the installed ones."""
    global _current  # noqa: PLW0603 (one registry per process is the point)
    if _current is None:
        _current = Plugins.load()
    return _current


def add(plugin: Any) -> None:
    """Loads a plugin from a file, module, class or object; see `Plugins.add`."""
    current().add(plugin)


def register(noun: str, name: str, target: Any, summary: str = "") -> None:
    """Registers one component for this session; see `Plugins.register`."""
    current().register(noun, name, target, summary)


def options() -> list[str]:
    """Returns the options before the verb that give another process the same plugins and trust."""
    files = [word for file in current().files for word in ("--plugin", file)]
    return [*(["--trust"] if trusted() else []), *files]


def command(*words: str) -> str:
    """Returns an ffcore command line for the user, with the plugin files in use."""
    return shlex.join(["ffcore", *options(), *words])


def files_in(command_line: str) -> list[str]:
    """Returns the plugin files that a command line of ffcore loads.

    >>> files_in("ffcore --plugin mine.py --plugin=a/b.py run digits/ff")
    ['mine.py', 'a/b.py']
    """
    try:
        words = shlex.split(command_line)
    except ValueError:  # a quote without its end: not a command line that ffcore has recorded
        return []
    after = [word for before, word in itertools.pairwise(words) if before == "--plugin"]
    return after + [word.removeprefix("--plugin=") for word in words if word.startswith("--plugin=")]


def use(plugins: Plugins | None) -> None:
    """Sets the plugins in use; with None, the next use loads the installed ones again."""
    global _current  # noqa: PLW0603
    _current = plugins
