"""What a hook receives: the pen with which a plugin writes its entries."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from ffcore.errors import UserError
from ffcore.plugin.nouns import NOUNS
from ffcore.plugin.registry import Entry, check_config

_NAME = re.compile(r"[a-z0-9]+([-.][a-z0-9]+)*")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")


class Register:
    """Collects what one plugin registers for one noun; nothing is visible before all of it is right."""

    def __init__(self, noun: str, plugin: str) -> None:
        self.entries: list[Entry] = []
        self._noun = noun
        self._plugin = plugin

    def __call__(
        self,
        name: str,
        target: Any,
        config: type[BaseModel] | None = None,
        summary: str = "",
    ) -> None:
        """Register one component.

        Args:
            name: what recipes call it: lower-case words joined by ``-``.
            target: ``package.module:Name``, imported when a run needs it, or the class itself.
            config: the light model of its options; None reads them off the constructor, which imports it.
            summary: one line for ``ffcore ls``.

        Raises:
            UserError: one of them cannot work.
        """
        if not _NAME.fullmatch(name):
            raise UserError(f"{name!r} is no name for {self._article}: lower-case words joined by '-'")
        if name in NOUNS[self._noun].taken:
            raise UserError(f"{name!r} is no name for {self._article}: ffcore keeps it for itself")
        if isinstance(target, str):
            if not _TARGET.fullmatch(target):
                raise UserError(
                    f"target {target!r} of {self._noun} {name!r} is not of the form 'module:Name'"
                )
        elif not callable(target):
            raise UserError(
                f"target of {self._noun} {name!r} is neither 'module:Name' nor a class: {target!r}"
            )
        elif not summary:
            summary = (inspect.getdoc(target) or "").partition("\n")[0]
        if config is not None:
            check_config(self._noun, config)
        self._add(name, target, config, summary)

    @property
    def _article(self) -> str:
        return NOUNS[self._noun].article

    def _add(self, name: str, target: Any, config: type[BaseModel] | None, summary: str) -> None:
        self.entries.append(Entry(self._noun, name, target, config, summary, self._plugin))


class RegisterRecipe(Register):
    """The pen for recipes, which are files."""

    def __call__(self, name: str, path: str | Path, *_: Any) -> None:
        """Register one recipe.

        Args:
            name: what ``ffcore run`` calls it: ``folder/recipe``.
            path: an existing YAML file.

        Raises:
            UserError: there is no such file, or the name cannot work.
        """
        if not all(_NAME.fullmatch(part) for part in name.split("/")):
            raise UserError(f"{name!r} is no name for a recipe: lower-case words joined by '-' and '/'")
        if not Path(path).is_file():
            raise UserError(f"recipe {name!r}: there is no file {str(path)!r}")
        self._add(name, str(path), None, "")
