"""``ffcore plugins``: lists plugins and their errors."""

from __future__ import annotations

from collections import Counter

import click

from ffcore.cli.console import print_table
from ffcore.plugin import manager
from ffcore.plugin.manager import PluginInfo
from ffcore.plugin.nouns import NOUNS


@click.command()
def command() -> None:
    """List plugins with their origin, status and components."""
    rows = [
        (info.name, info.version, info.origin, info.status, _components(info))
        for info in manager.current().infos
    ]
    print_table(("plugin", "version", "origin", "status", "components"), rows)


def _components(info: PluginInfo) -> str:
    counts = Counter(entry.noun for entry in info.entries)
    return ", ".join(
        f"{n} {noun.replace('_', ' ') if n == 1 else NOUNS[noun].plural}" for noun, n in counts.items()
    )
