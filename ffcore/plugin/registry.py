"""What the plugins brought, by noun and name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from ffcore.errors import UserError, closest
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.signature import config_from_signature
from ffcore.plugin.targets import load_target


@dataclass(frozen=True, slots=True)
class Entry:
    """One registered thing.

    Args:
        noun: key of :data:`ffcore.plugin.nouns.NOUNS`.
        name: what a recipe calls it.
        target: ``module:Name``, the object itself, or (recipes) the path of a YAML file.
        config: the light model of its options, None where the signature gives it.
        summary: one line for people.
        plugin: who registered it.
    """

    noun: str
    name: str
    target: Any
    config: type[BaseModel] | None
    summary: str
    plugin: str

    @property
    def title(self) -> str:
        """How messages call it: ``goodness 'sum-squares' of plugin 'std'``."""
        return f"{self.noun.replace('_', ' ')} {self.name!r} of plugin {self.plugin!r}"

    def load(self) -> Any:
        """The registered object, imported if it was given as a dotted target.

        Raises:
            UserError: the import failed.
        """
        if not isinstance(self.target, str) or self.noun == "recipe":
            return self.target
        try:
            return load_target(self.target)
        except Exception as error:
            reason = f"{type(error).__name__}: {error}"
            raise UserError(f"{self.title} cannot be loaded from {self.target!r}: {reason}") from error

    def schema(self) -> type[BaseModel]:
        """The model that validates its options.

        Raises:
            UserError: there is no config and the signature cannot give one.
        """
        if self.config is not None:
            return self.config
        target = self.load()
        try:
            config = config_from_signature(target)
            check_config(self.noun, config)
        except UserError as error:
            raise UserError(f"{self.title}: {error}") from error
        return config


def check_config(noun: str, config: type[BaseModel]) -> None:
    """Refuse a config that a recipe could not use.

    Raises:
        UserError: it accepts unknown keys, or has a field whose name the recipe needs itself.
    """
    if config.model_config.get("extra") != "forbid":
        raise UserError(f"{config.__name__} must forbid unknown keys: inherit from ffcore.plugin.Options")
    clash = sorted(NOUNS[noun].reserved & set(config.model_fields))
    if clash:
        raise UserError(f"option {clash[0]!r} of {config.__name__} is a name that recipes use themselves")


class Registry:
    """All entries.

    Args:
        broken: plugins that could not be loaded, with the reason; named when something is not found.
        disabled: plugins that were not wanted; named then too.
    """

    def __init__(self, broken: Mapping[str, str] | None = None, disabled: Sequence[str] = ()) -> None:
        self._entries: dict[str, dict[str, Entry]] = {noun: {} for noun in NOUNS}
        self._broken = {} if broken is None else broken
        self._disabled = disabled

    def add(self, entry: Entry) -> None:
        """Take one entry in.

        Raises:
            UserError: its noun has that name already.
        """
        self.extend([entry])

    def extend(self, entries: Iterable[Entry]) -> None:
        """Take all entries in, or none of them.

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

    def get(self, noun: str, name: str, also: Iterable[str] = ()) -> Entry:
        """The entry of this name; ``also`` lists names that the caller knows besides.

        Raises:
            UserError: nobody registered it.
        """
        try:
            return self._entries[noun][name]
        except KeyError:
            hint = closest(name, [*self.names(noun), *also])
            raise UserError(f"{name!r} is not {NOUNS[noun].article}{hint}{self._absent()}") from None

    def names(self, noun: str) -> list[str]:
        """The names registered for a noun, sorted."""
        return sorted(self._entries[noun])

    def entries(self, noun: str) -> list[Entry]:
        """The entries of a noun, sorted by name."""
        return [self._entries[noun][name] for name in self.names(noun)]

    def _absent(self) -> str:
        said = [f"plugin {name!r} is broken: {reason}" for name, reason in self._broken.items()]
        if self._disabled:
            said.append(f"disabled plugins: {', '.join(self._disabled)}")
        return f" ({'; '.join(said)})" if said else ""
