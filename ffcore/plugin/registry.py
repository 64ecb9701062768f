"""What the plugins registered, by noun and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ffcore.errors import UserError, closest, shortened
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.signature import Signature, signature_of, summary_of
from ffcore.plugin.targets import load_target


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered component.

    Args:
        noun: key of :data:`ffcore.plugin.nouns.NOUNS`.
        name: its kind in recipes.
        target: ``module:Name``, the object itself, or (recipes) the path of a YAML file.
        plugin: the plugin that registered it; empty for a target that a recipe names itself.
        described: its summary, where the plugin gives one.
    """

    noun: str
    name: str
    target: Any
    plugin: str
    described: str = ""

    @property
    def title(self) -> str:
        """For messages: ``goodness 'sum-squares' of plugin 'std'``."""
        of_plugin = f" of plugin {self.plugin!r}" if self.plugin else ""
        return f"{self.noun.replace('_', ' ')} {self.name!r}{of_plugin}"

    @property
    def summary(self) -> str:
        """One line for people: as registered, or the first line of the docstring.

        Raises:
            UserError: the docstring needs an import, which failed.
        """
        if self.described or self.noun == "recipe":
            return self.described
        try:
            return summary_of(self.target)
        except Exception as error:
            raise self._unloadable(error) from error

    def load(self) -> Any:
        """The registered object, imported if it was given as a dotted target.

        Raises:
            UserError: the import failed.
        """
        if not isinstance(self.target, str) or self.noun == "recipe":
            return self.target
        try:
            return load_target(self.target)
        except (Exception, SystemExit) as error:
            raise self._unloadable(error) from error

    def signature(self) -> Signature:
        """The arguments that a recipe may write.

        Raises:
            UserError: an argument has no type, or the import failed.
        """
        try:
            return signature_of(self.target, NOUNS[self.noun].supplied)
        except UserError as error:
            raise UserError(f"{self.title}: {error}") from error
        except Exception as error:
            raise self._unloadable(error) from error

    def _unloadable(self, error: BaseException) -> UserError:
        reason = f"{type(error).__name__}: {error}"
        if isinstance(error, ModuleNotFoundError):
            reason += " (PYTHONPATH=. adds this folder)"
        if not self.plugin:
            return UserError(f"{self.target!r} cannot be imported: {reason}")
        return UserError(f"{self.title} cannot be loaded from {self.target!r}: {reason}")


class Registry:
    """All entries.

    Args:
        broken: plugins that could not be loaded, with the reason; named when an entry is not found.
        disabled: plugins that were disabled; named then too.
    """

    def __init__(self, broken: Mapping[str, str] | None = None, disabled: Sequence[str] = ()) -> None:
        self._entries: dict[str, dict[str, Entry]] = {noun: {} for noun in NOUNS}
        self._broken = {} if broken is None else broken
        self._disabled = disabled

    def add(self, entry: Entry) -> None:
        """Add one entry.

        Raises:
            UserError: its noun has that name already.
        """
        self.extend([entry])

    def extend(self, entries: Iterable[Entry]) -> None:
        """Add all entries, or none of them.

        Raises:
            UserError: a noun has one of the names already.
        """
        merged = {noun: dict(known) for noun, known in self._entries.items()}
        for entry in entries:
            other = merged[entry.noun].setdefault(entry.name, entry)
            if other is not entry:
                both = f"{other.plugin!r} and {entry.plugin!r}"
                noun = entry.noun.replace("_", " ")
                raise UserError(f"{noun} {entry.name!r} is registered twice: by plugins {both}")
        self._entries = merged

    def remove(self, entries: Iterable[Entry]) -> None:
        """Remove these entries, where they are present."""
        for entry in entries:
            if self._entries[entry.noun].get(entry.name) is entry:
                del self._entries[entry.noun][entry.name]

    def get(self, noun: str, name: str, also: Iterable[str] = ()) -> Entry:
        """The entry of this name; ``also`` lists further valid names for the message.

        Raises:
            UserError: no plugin registered it.
        """
        try:
            return self._entries[noun][name]
        except KeyError:
            hint = closest(name, [*self.names(noun), *also])
            raise UserError(f"{shortened(name)} is not {NOUNS[noun].article}{hint}{self._absent()}") from None

    def names(self, noun: str) -> list[str]:
        """The names registered for a noun, sorted."""
        return sorted(self._entries[noun])

    def entries(self, noun: str) -> list[Entry]:
        """The entries of a noun, sorted by name."""
        return [self._entries[noun][name] for name in self.names(noun)]

    def _absent(self) -> str:
        reasons = [f"plugin {name!r} is broken: {reason}" for name, reason in self._broken.items()]
        if self._disabled:
            reasons.append(f"disabled plugins: {', '.join(self._disabled)}")
        return f" ({'; '.join(reasons)})" if reasons else ""
