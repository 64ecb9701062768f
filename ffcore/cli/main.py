"""``ffcore``: the group of verbs, and the exit codes.

0: finished. 1: the run failed, or a bug. 2: a user error, explained in one line. 130: interrupted.
"""

from __future__ import annotations

import errno
import os
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import click

import ffcore
from ffcore import stdout
from ffcore.blame import of_hook, verdict
from ffcore.cli import exits
from ffcore.cli.verbs import Verbs
from ffcore.errors import RunError, UserError, one_line, typed
from ffcore.plugin import manager
from ffcore.ranks import where
from ffcore.reading import is_text
from ffcore.trust import trust, trusting


def _load_plugins(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> None:
    if files:
        manager.use(manager.Plugins.load(files))


def _set_debug(ctx: click.Context, param: click.Parameter, debug: bool) -> None:
    ctx.obj["debug"] = debug


def _trust(ctx: click.Context, param: click.Parameter, given: bool) -> None:
    if given:
        trust()


# These options are eager: they are processed before --help, so that the help lists the verbs of plugins,
# and before the plugins are loaded, so that --debug shows the traceback of an error in one.
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
    help="Allow pickles in checkpoints.",
)
@click.version_option(ffcore.__version__, prog_name="ffcore")
@click.option(
    "--plugin",
    multiple=True,
    is_eager=True,
    expose_value=False,
    callback=_load_plugins,
    metavar="PATH",
    help="Load a Python file as a plugin; may be given several times.",
)
def group() -> None:
    """Forward-only learning: local objectives, no gradient across blocks."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the arguments after the program's name; None for those of the process.

    Returns:
        The exit code.
    """
    if argv is None:
        # Reports need no window. matplotlib cannot be imported, not even by torchmetrics, if this variable of
        # the user's shell names a backend that is not installed.
        os.environ["MPLBACKEND"] = "agg"
    words = list(sys.argv[1:] if argv is None else argv)
    stdout.prepare(own=argv is None)
    if (problem := _impossible(words)) is not None:
        return _report(f"error: {problem}", 2)
    # the command that started this process, for the runs of a sweep; None if `main` was called from Python
    program = [sys.executable, *sys.orig_argv[1 : len(sys.orig_argv) - len(words)]] if argv is None else None
    state: dict[str, Any] = {
        "debug": False,
        "command": shlex.join(["ffcore", *words]),
        "program": program,
    }
    if argv is None:
        warnings.showwarning = _shower(state)
    code = _run(words, state)
    try:
        stdout.flush()
    except OSError as error:
        if code == 0:
            return _unwritten(error)
        stdout.discard()  # the command has reported an error, perhaps this one
    return code


def _shower(state: Mapping[str, Any]) -> Callable[..., None]:
    """Returns what prints a warning in one line; with --debug as Python does, with its place in the code."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
        if state["debug"]:
            shown(message, category, *where, **more)
            return
        with suppress(OSError):  # as Python does: the command does not end if stderr is closed
            click.echo(f"warning: {one_line(message)}", err=True)

    return show


def _run(words: Sequence[str], state: dict[str, Any]) -> int:
    try:
        with (
            exits.reported(),
            trusting(False),
        ):  # --trust is valid for this command line alone: `main` may be called again
            # standalone_mode=False: click would print errors in its own format and end the process
            result = group.main(words or ["--help"], prog_name="ffcore", standalone_mode=False, obj=state)
    except click.ClickException as error:
        return _misused(error)
    except (click.Abort, KeyboardInterrupt) as error:
        message = str(error.__cause__ or error)  # click converts a KeyboardInterrupt to an Abort
        line = f"interrupted{': ' if message else ''}{message}"
        return 130 if where.started_by_first() else _report(line, 130)  # only rank 0 prints it
    except SystemExit as error:
        if (cause := stdout.problem(error)) is not None:
            return _unwritten(cause)  # click ends the process when a pipe is closed
        if (explained := of_hook(error)) is None:
            raise
        return _report(f"error: {explained}", 1)  # with code 0 it would look like success
    except BaseException as error:
        if state["debug"]:
            raise
        return _explained(error)
    return result if isinstance(result, int) else 0


def _explained(error: BaseException) -> int:
    """Report an error in one line."""
    found = verdict(error)
    if isinstance(found, UserError | RunError):
        # a recipe may have several problems, a line each
        message = str(found) if getattr(found, "several_lines", False) else one_line(found)
        return _report(f"error: {message}", 2 if isinstance(found, UserError) else 1)
    if (cause := stdout.problem(error)) is not None:
        return _unwritten(cause)
    return _report(f"error (bug?): {typed(error)}; run again with --debug for the traceback", 1)


def _unwritten(error: OSError) -> int:
    """Report that standard output cannot be written, except for a pipe whose reader has read enough."""
    stdout.discard()
    if error.errno == errno.EPIPE:
        return 1
    return _report(f"error: {stdout.NAME} cannot be written: {error.strerror}", 1)


def _impossible(words: Sequence[str]) -> str | None:
    """Returns why no command can run here, in one line; None if it can."""
    for before, word in zip(["", *words], words, strict=False):
        if not is_text(word):
            option = f"{before}: " if before.startswith("--") else ""
            return f"{option}{word!a} is not UTF-8 text, but the files of a run hold the command line"
    for name in _RANKS:
        # Lightning reads these when it is imported
        if not (number := os.environ.get(name, "0").strip()).isdecimal():
            return f"{name}: {number!r} should be an integer; it is an environment variable"
    try:
        os.getcwd()
    except OSError:
        return "the working directory does not exist any more; change to another directory"
    return None


_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
"""Environment variables in which a cluster gives the rank of this process."""


def _misused(error: click.ClickException) -> int:
    """Print click's usage error, which has four lines, in one line."""
    context: click.Context | None = getattr(error, "ctx", None)
    hint = f" See {context.command_path} --help" if context is not None else ""
    if isinstance(error, click.NoSuchOption) and error.option_name in ("--plugin", "--debug", "--trust"):
        hint = f" Write it before the verb: ffcore {error.option_name} … VERB"
    message = one_line(error.format_message())
    stop = "." if hint and not message.endswith((".", "?", "!")) else ""
    return _report(f"error: {message}{stop}{hint}", error.exit_code)


def _report(line: str, code: int) -> int:
    click.echo(line, err=True)
    return code
