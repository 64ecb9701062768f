"""``ffcore``: the group of verbs, and what the exit codes mean.

0: done. 1: the run failed, or a bug. 2: the user can put it right. 130: interrupted.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from traceback import walk_tb
from typing import Any

import click

import ffcore
from ffcore.cli.verbs import Verbs
from ffcore.errors import RunError, UserError, typed
from ffcore.plugin import manager
from ffcore.ranks import where
from ffcore.trust import trust, trusting


def _load_plugins(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> None:
    if files:
        manager.use(manager.Plugins.load(files))


def _set_debug(ctx: click.Context, param: click.Parameter, debug: bool) -> None:
    ctx.obj["debug"] = debug


def _trust(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    if given:
        trust()


# these options are eager, so that a plugin's verbs are in the help and its errors have a traceback
@click.group(cls=Verbs, subcommand_metavar="VERB [ARGS]…")
@click.option(
    "--debug", is_flag=True, is_eager=True, expose_value=False, callback=_set_debug, help="Show tracebacks."
)
@click.option(
    "--trust",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_trust,
    help="Open pickles in checkpoints.",
)
@click.version_option(ffcore.__version__, prog_name="ffcore")
@click.option(
    "--plugin",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_load_plugins,
    metavar="PATH",
    help="Load a Python file as a plugin; may be given again.",
)
def group() -> None:
    """Forward-only learning: local objectives, no gradient across blocks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; None: those of the process.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    state: dict[str, Any] = {"debug": False, "command": shlex.join(["ffcore", *words])}
    try:
        with trusting(False):  # what --trust says holds for this command line
            result = group.main(words or ["--help"], prog_name="ffcore", standalone_mode=False, obj=state)
    except click.ClickException as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt) as error:
        said = str(error.__cause__ or error)  # click makes an Abort of a KeyboardInterrupt
        line = f"interrupted{': ' if said else ''}{said}"
        return 130 if where.started_by_first() else _report(line, 130)  # the first rank tells it
    except Exception as error:
        if state["debug"]:
            raise
        if isinstance(error, UserError):
            return _report(f"error: {error}", 2)
        if isinstance(error, RunError):
            return _report(f"error: {error}", 1)
        said = f"{typed(error)}{_in_plugin(error)}"
        return _report(f"error (bug?): {said}; run again with --debug for the traceback", 1)
    return result if isinstance(result, int) else 0


def _in_plugin(error: Exception) -> str:
    """The last line of a plugin's that an error came through, if it came through any."""
    lines = [
        f" ({frame.f_code.co_filename}:{number}, in {frame.f_code.co_name})"
        for frame, number in walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).partition(".")[0] in manager.current().packages
    ]
    return lines[-1] if lines else ""


def _misused(error: click.ClickException) -> int:
    """One line of what click says in four."""
    context: click.Context | None = getattr(error, "ctx", None)
    hint = f" See {context.command_path} --help" if context is not None else ""
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--plugin", "--debug", "--trust"):
        hint = f" It goes before the verb: ffcore {error.option_name} … VERB"
    return _report(f"error: {error.format_message()}{hint}", error.exit_code)


def _report(line: str, code: int) -> int:
    click.echo(line, err=True)
    return code
