"""What is printed of several runs."""

from __future__ import annotations

from pathlib import Path

import click

from ffcore.cli.console import print_table
from ffcore.run import directory
from ffcore.run.group import COLUMNS, Group, remarks, rows


def print_group(group: Group) -> None:
    """Print the table of a group, a line on every member that failed, and where the summary is."""
    print_table(COLUMNS, rows(group))
    for remark in remarks(group):
        click.echo(remark)
    click.echo(f"summary   {group.folder / 'summary.md'}")


def summarise_again(folder: Path) -> None:
    """Write the summary of a group again from the results of its members, and print it.

    Raises:
        UserError: it is damaged, cannot be written, or the group is running.
    """
    group = Group.read(folder)
    directory.refuse_read_only(folder)
    with directory.locked(folder):
        group.refresh()
    print_group(group)
