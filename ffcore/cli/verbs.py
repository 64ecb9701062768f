"""The verbs of the command line: the built-in ones and those of plugins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from ffcore.blame import blaming, verdict
from ffcore.errors import RunError, UserError, closest, typed
from ffcore.plugin import manager
from ffcore.plugin.targets import load_target


@dataclass(frozen=True, slots=True)
class Verb:
    """A built-in verb.

    Args:
        target: ``module:command``, imported when the verb is called.
        help: one line of help, shown without an import of the verb.
    """

    target: str
    help: str


VERBS: dict[str, Verb] = {
    "ls": Verb("ffcore.cli.ls:command", "List recipes or components."),
    "show": Verb("ffcore.cli.show:command", "Print a complete recipe."),
    "plugins": Verb("ffcore.cli.plugins:command", "List plugins and their errors."),
    "schema": Verb("ffcore.cli.schema:command", "Print the JSON schema of recipes."),
    "validate": Verb("ffcore.cli.validate:command", "Check recipes."),
    "new": Verb("ffcore.cli.new:command", "Write the first version of a plugin, a recipe or an example."),
    "check": Verb("ffcore.cli.check:command", "Run the conformance kit on a plugin."),
    "cp": Verb("ffcore.cli.cp:command", "Copy a recipe to a file."),
    "run": Verb("ffcore.cli.run:command", "Train and evaluate a recipe."),
    "sweep": Verb("ffcore.cli.sweep:command", "Search parameters, or train a grid or several seeds."),
    "eval": Verb("ffcore.cli.evaluate:command", "Evaluate a finished run."),
    "predict": Verb("ffcore.cli.predict:command", "Predict the samples of a file with a finished run."),
    "export": Verb("ffcore.cli.export:command", "Export a run to predict or learn without torch."),
    "report": Verb("ffcore.cli.report:command", "Write the report of a run again, or compare runs."),
}

_OTHER_NAMES = {
    "compare": "report RUN RUN",
    "evaluate": "eval RUN",
    "list": "ls",
    "resume": "run --resume RUN",
    "search": "sweep",
    "test": "eval RUN",
    "train": "run",
}
"""Verbs that other programs have, and what does the same here."""


class Verbs(click.Group):
    """A click group that imports a command only when it is called: most verbs do not need torch."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the built-in verbs in the order of `VERBS`, then those of plugins."""
        return [*VERBS, *manager.current().registry.names("command")]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a verb.

        Raises:
            UserError: a plugin's verb is not a click command.
        """
        if cmd_name in VERBS:
            command: Any = load_target(VERBS[cmd_name].target)
            return command  # type: ignore[no-any-return]
        registry = manager.current().registry
        if cmd_name not in registry.names("command"):
            return None
        entry = registry.get("command", cmd_name)
        command = entry.load()
        if not isinstance(command, click.Command):
            raise UserError(f"{entry.title} is not a click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the verb of the arguments.

        Raises:
            click.UsageError: there is none; the message has one that could be meant.
        """
        name = args[0]
        try:
            return super().resolve_command(ctx, args)
        except click.NoSuchOption:
            raise
        except click.UsageError as error:
            meant = _OTHER_NAMES.get(name)
            hint = f"; use 'ffcore {meant}'" if meant else closest(name, self.list_commands(ctx))
            end = "" if hint.endswith("?") else "."
            raise click.UsageError(f"{error.message.removesuffix('.')}{hint}{end}", ctx) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Run a verb.

        Raises:
            RunError: code that is not ffcore's has raised an exception, or has tried to end the process.
        """
        try:
            return self._invoked(ctx)
        except EOFError as error:  # click would take it for the end of the user's input, exit code 130
            raise (RunError(typed(error)) if verdict(error) is error else verdict(error)) from error

    def _invoked(self, ctx: click.Context) -> Any:
        with blaming(RunError):
            try:
                return super().invoke(ctx)
            except SystemExit as error:
                if ctx.invoked_subcommand not in VERBS:  # a plugin's verb may choose its exit code
                    ctx.exit(_code(error))
                raise
            except (click.ClickException, click.exceptions.Exit, click.Abort) as error:
                # click would take an Abort or Exit of a component for the user's
                if (found := verdict(error)) is not error:
                    raise found from error
                raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of verbs without an import of any of them."""
        rows = [(name, verb.help) for name, verb in VERBS.items()]
        rows += [(one.name, one.summary) for one in manager.current().registry.entries("command")]
        with formatter.section("Verbs"):
            formatter.write_dl(rows)


def _code(error: SystemExit) -> int:
    """Return the exit code of ``sys.exit``, which prints any other object and exits with 1."""
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    click.echo(str(error.code), err=True)
    return 1
