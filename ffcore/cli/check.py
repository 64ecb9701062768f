"""``ffcore check``: runs the conformance kit on a plugin, without pytest."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from ffcore.cli.console import print_table
from ffcore.errors import UserError
from ffcore.plugin import manager
from ffcore.plugin.manager import GROUP
from ffcore.testing import Case, cases


@dataclass
class Checked:
    """The results of one component with one set of options."""

    title: str
    passed: int = 0
    waived: list[Case] = field(default_factory=list)
    failed: list[tuple[Case, str]] = field(default_factory=list)
    same: int = 0

    @property
    def result(self) -> str:
        """One word for the table."""
        return "failed" if self.failed or self.same else "ok"


@click.command()
@click.argument("plugin")
@click.pass_context
def command(ctx: click.Context, plugin: str) -> None:
    """Check every component of a PLUGIN: a file, an installed plugin, or the folder of its package.

    The exit code is 1 if a component breaks its contract.
    """
    found = _run(_cases(plugin))
    print_table(
        ("component", "checks", "failed", "waived", "result"),
        [
            (
                each.title,
                str(each.passed + len(each.failed) + each.same),
                str(len(each.failed) + each.same or ""),
                str(len(each.waived) or ""),
                each.result,
            )
            for each in found
        ],
    )
    for each in found:
        for case in each.waived:
            click.echo(f"waived  {case}: {case.waived}")
        for case, text in each.failed:
            click.echo(f"\nfailed  {case}\n" + "\n".join(f"    {line}" for line in text.splitlines()))
        if each.same:
            click.echo(f"    {each.same} more checks of {each.title} end in the same way")
    if any(each.result == "failed" for each in found):
        ctx.exit(1)


def _run(found: Sequence[Case]) -> list[Checked]:
    made: dict[str, Checked] = {}
    for case in found:
        title = str(case).partition(": ")[0]
        of = made.setdefault(title, Checked(title))
        if case.waived:
            of.waived.append(case)
            continue
        try:
            other = case.attempt()
        except AssertionError as error:
            of.failed.append((case, str(error)))
        else:
            of.passed += other is None
            of.same += other is not None
    return list(made.values())


def _cases(plugin: str) -> list[Case]:
    if plugin.endswith(".py"):
        if not (made := cases(file=plugin)):
            raise UserError(f"plugin file {plugin}: it registers no component")
        return made
    names = [plugin]
    if has_folder := (project := Path(plugin) / "pyproject.toml").is_file():
        names = list(_entry_points(project))
        if not names:
            raise UserError(f"{project}: it has no [project.entry-points.{GROUP!r}]")
    plugins = manager.current()
    for name in names:
        if name in plugins.broken:
            raise UserError(f"plugin {name}: {plugins.broken[name]}")
        if has_folder and name not in {info.name for info in plugins.infos}:
            raise UserError(f"plugin {name} is not installed; install it first: pip install -e {plugin}")
    found = [case for name in names for case in cases(plugin=name)]
    if not found:
        raise UserError(f"plugin {', '.join(names)}: it registers no component")
    return found


def _entry_points(project: Path) -> dict[str, str]:
    try:
        read = tomllib.loads(project.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{project}: {error}") from error
    points: dict[str, str] = read.get("project", {}).get("entry-points", {}).get(GROUP, {})
    return points
