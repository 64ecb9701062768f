"""Guarded loading: a plugin that cannot be loaded is reported, and stops nothing else."""

from __future__ import annotations

import importlib.util
import os
import shlex
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType

import pluggy

from ffcore.errors import UserError, closest, one_line, typed
from ffcore.plugin import hookspecs
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.register import Register, RegisterRecipe
from ffcore.plugin.registry import Entry, Registry
from ffcore.trust import trusted

GROUP = "ffcore.plugins"
DISABLE = "FFCORE_DISABLE_PLUGINS"


@dataclass(frozen=True, slots=True)
class PluginInfo:
    """What ``ffcore plugins`` says about one plugin.

    Args:
        name: of the entry point, or the stem of the file.
        version: of the distribution; empty for a file.
        origin: the distribution or the file.
        status: ``ok``, ``disabled`` or ``broken: why``.
        entries: what it registered.
    """

    name: str
    version: str
    origin: str
    status: str
    entries: tuple[Entry, ...] = ()


class Plugins:
    """The loaded plugins, and what they brought.

    Attributes:
        registry: the entries of all plugins that work.
        broken: why a plugin was left out, by its name.
        infos: all plugins, in the order of loading.
        packages: top-level names of the modules of those that work.
    """

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager("ffcore")
        self._manager.add_hookspecs(hookspecs)
        self.broken: dict[str, str] = {}
        self._disabled: list[str] = []
        self.registry = Registry(self.broken, self._disabled)
        self.infos: list[PluginInfo] = []
        self.packages: set[str] = set()

    @classmethod
    def load(cls, files: Sequence[str] = ()) -> Plugins:
        """Load the installed plugins, then these files.

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
            plugins.add_file(file)
        return plugins

    def add_file(self, file: str | os.PathLike[str]) -> str:
        """Load one more file as a plugin, named by its stem; returns the name.

        Raises:
            UserError: it cannot be loaded, or a plugin of that name is there.
        """
        path = Path(file)
        self._load_file(path)
        return path.stem

    @property
    def files(self) -> list[str]:
        """The plugins that are files; those have no version."""
        return [info.origin for info in self.infos if info.origin and not info.version]

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
            except (Exception, SystemExit) as error:
                self.broken[name] = _reason(error)
                status = f"broken: {self.broken[name]}"
        self.infos.append(PluginInfo(name, version, _home(point), status, entries))

    def _load_file(self, path: Path) -> None:
        name = path.stem
        if not path.is_file():
            raise UserError(f"there is no plugin file {str(path)!r}")
        if any(info.name == name for info in self.infos):
            raise UserError(
                f"plugin file {str(path)!r}: there is a plugin called {name!r} already; rename the file"
            )
        try:
            entries = self._take_in(_module_from(path), name)
        except (Exception, SystemExit) as error:
            raise UserError(f"plugin file {str(path)!r} is broken: {_reason(error)}") from error
        self.infos.append(PluginInfo(name, "", str(path), "ok", entries))

    def _take_in(self, module: ModuleType, name: str) -> tuple[Entry, ...]:
        """Register a plugin module and all it brings, or leave no trace of it."""
        if self._manager.has_plugin(name):
            raise UserError(f"another plugin is called {name!r} too")
        try:
            self._manager.register(module, name)
            self._manager.check_pending()
            entries = self._ask(module, name)
            self.registry.extend(entries)
        except BaseException:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            raise
        self.packages.add(module.__name__.partition(".")[0])
        return entries

    def _ask(self, module: ModuleType, name: str) -> tuple[Entry, ...]:
        """Call the hooks of one plugin alone, so that whatever goes wrong is its own."""
        if not self._manager.get_hookcallers(module):
            raise UserError("it has no function marked with @hookimpl")
        others = [other for other in self._manager.get_plugins() if other is not module]
        entries: list[Entry] = []
        for noun in NOUNS.values():
            register = (RegisterRecipe if noun.name == "recipe" else Register)(noun.name, name)
            self._manager.subset_hook_caller(noun.hook, others)(register=register)
            entries += register.entries
        return tuple(entries)


def _home(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""


def _reason(error: BaseException) -> str:
    """What went wrong; our own messages need no type in front."""
    return one_line(error, 400) if isinstance(error, UserError) else typed(error, 400)


def _disabled(known: Iterable[str]) -> set[str]:
    names = {name.strip() for name in os.environ.get(DISABLE, "").split(",")} - {""}
    if names == {"all"}:
        return set(known)
    for name in sorted(names - set(known)):
        raise UserError(f"{DISABLE} names {name!r}, which is not an installed plugin{closest(name, known)}")
    return names


def _module_from(path: Path) -> ModuleType:
    """Import a file under a name of its own, under which its dotted targets find it again."""
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
        if before is not None:  # an edit that does not work leaves what did
            sys.modules[name] = before
        raise
    return module


_current: Plugins | None = None


def current() -> Plugins:
    """The plugins in use; the installed ones are loaded at the first call."""
    global _current  # noqa: PLW0603 (one registry per process is the point)
    if _current is None:
        _current = Plugins.load()
    return _current


def add(file: str | os.PathLike[str]) -> None:
    """Add a file to the plugins in use; one that is there already is read anew, as edited since.

    Raises:
        UserError: it cannot be loaded, or another plugin has its name; the plugins stay as they were.
    """
    plugins = current()
    if Path(file).resolve() in [Path(known).resolve() for known in plugins.files]:
        use(Plugins.load(plugins.files))
    else:
        plugins.add_file(file)


def options() -> list[str]:
    """What stands before the verb, so that another process has this one's plugin files and trust."""
    files = [word for file in current().files for word in ("--plugin", file)]
    return [*(["--trust"] if trusted() else []), *files]


def command(*words: str) -> str:
    """A command line of ffcore for the user, with the plugin files in use."""
    return shlex.join(["ffcore", *options(), *words])


def use(plugins: Plugins | None) -> None:
    """Make these the plugins in use; None loads the installed ones anew when they are next needed."""
    global _current  # noqa: PLW0603
    _current = plugins
