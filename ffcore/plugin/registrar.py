"""What the hook receives: it collects the entries of one plugin."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ffcore.errors import UserError
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry
from ffcore.plugin.targets import TARGET

_NAME = re.compile(r"[a-z0-9]+([-._][a-z0-9]+)*")


class Registrar:
    """Collects what one plugin registers; nothing takes effect before all of it is valid.

    There is a method for each noun of `ffcore.plugin.nouns.NOUNS`, with the arguments of `add` after the
    first: ``registry.goodness(name, target)``, ``registry.lr_schedule(name, target)``.

    Args:
        plugin: name of the plugin.

    Attributes:
        entries: what has been registered.
    """

    def __init__(self, plugin: str) -> None:
        self.entries: list[Entry] = []
        self._plugin = plugin

    def __getattr__(self, noun: str) -> Callable[..., None]:
        if noun not in NOUNS:
            raise AttributeError(f"there is no sort of component {noun!r}; there are {', '.join(NOUNS)}")
        return functools.partial(self.add, noun)

    def add(self, noun: str, name: str, target: Any, summary: str = "") -> None:
        """Register one component.

        Args:
            noun: what sort of component.
            name: its kind in recipes: lower-case words joined by ``-``; of a recipe ``folder/name``.
            target: ``package.module:Name``, imported when a run needs it, or the class itself; of a recipe
                the path of its YAML file.
            summary: one line for ``ffcore ls``; the first line of the target's docstring if empty.

        Raises:
            UserError: the name, the target or the file cannot work.
        """
        sort = NOUNS[noun]
        if not isinstance(name, str):
            raise UserError(f"{name!r} is no name for {sort.article}: it should be a string")
        if not all(_NAME.fullmatch(part) for part in (name.split("/") if noun == "recipe" else [name])):
            slash = " and '/'" if noun == "recipe" else ""
            raise UserError(f"{name!r} is no name for {sort.article}: lower-case words joined by '-'{slash}")
        if name in sort.taken:
            raise UserError(f"{name!r} is no name for {sort.article}: ffcore uses it itself")
        if noun == "recipe":
            if not Path(target).is_file():
                raise UserError(f"recipe {name!r}: there is no file {str(target)!r}")
            target = str(target)
        elif isinstance(target, str):
            if not re.fullmatch(TARGET, target):
                raise UserError(f"target {target!r} of {noun} {name!r} is not of the form 'module:Name'")
        elif not callable(target):
            raise UserError(f"target of {noun} {name!r} is neither 'module:Name' nor a class: {target!r}")
        elif sort.base and not isinstance(target, type):
            raise UserError(
                f"target of {noun} {name!r} is an instance of {type(target).__name__}; give the class"
            )
        self.entries.append(Entry(noun, name, target, self._plugin, summary))
