"""The type of arguments that are directories of runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from ffcore.errors import shortened
from ffcore.options import possible


class Folder(click.Path):
    """A directory. ``~`` is the home directory, which the shell does not replace in ``--run-dir=~/x``."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Returns the path.

        Raises:
            click.BadParameter: it is empty, which a Path would take for the working directory, or too long.
        """
        if not str(value):
            self.fail("is empty; name a directory.", param, ctx)
        try:
            return Path(possible(str(value)))
        except ValueError as error:
            self.fail(f"{shortened(str(value))} {error}.", param, ctx)
