"""``ffcore plugins``: who is there, and what is wrong with them."""

from __future__ import annotations

from collections import Counter

import click

from ffcore.cli.console import print_table
from ffcore.plugin import manager
from ffcore.plugin.manager import PluginInfo
from ffcore.plugin.nouns import NOUNS


@click.command()
def command() -> None:
    """List plugins: where they are from, whether they work, what they bring."""
    rows = [
        (info.name, info.version, info.origin, info.status, _brings(info)) for info in manager.current().infos
    ]
    print_table(("plugin", "version", "origin", "status", "brings"), rows)


def _brings(info: PluginInfo) -> str:
    counts = Counter(entry.noun for entry in info.entries)
    return ", ".join(
        f"{n} {noun.replace('_', ' ') if n == 1 else NOUNS[noun].plural}" for noun, n in counts.items()
    )
