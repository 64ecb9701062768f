"""Errors in code that is not ffcore's own: the component, its place in the recipe, the author's line.

A traceback has all of it: a frame whose ``self`` is a component with a `Place` names the component, and the
innermost frame of a file outside ffcore and its libraries is the author's line. So nothing has to be caught
around each call, and a step costs nothing.
"""

from __future__ import annotations

import dis
import inspect
import signal
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from traceback import walk_tb
from types import FrameType
from typing import Any

from ffcore.errors import RunError, TimeUpError, UserError, one_line, typed

_OF_TORCH = ("__getattr__", "__setattr__", "_call_impl", "_wrapped_call_impl")
_ATTRIBUTE = "_ffcore_place"
_LIBRARIES = tuple({sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib", "platstdlib")})
_VERDICT = "_ffcore_error"
_RAISE = dis.opmap["RAISE_VARARGS"]


@dataclass(frozen=True, slots=True)
class Place:
    """A component's place.

    Args:
        path: its path in the recipe, such as ``block.goodness``.
        title: its name for messages: ``'mine' of plugin 'p'``.
        file: file and line of its class.
        foreign: whether its class is outside ffcore and its own plugins.
    """

    path: str
    title: str
    file: str
    foreign: bool

    def __str__(self) -> str:
        return self.title if self.path == self.title else f"{self.path}: {self.title}"


def placed(component: Any, path: str, title: str, *, foreign: bool = False) -> Any:
    """Note the place of a component for messages, and return the component.

    Args:
        component: an object or a class.
        path: its path in the recipe.
        title: its name for messages.
        foreign: its errors come from its options, also if its class is that of a library.
    """
    made = type(component) if not isinstance(component, type) else component
    file = getattr(sys.modules.get(made.__module__), "__file__", None) or made.__module__
    line = getattr(made, "__firstlineno__", None) or _first_line(made)
    foreign = foreign or _is_foreign(file, made.__module__)
    with suppress(AttributeError, TypeError):  # an object with slots: only its file and line can be named
        place = Place(path, title, f"{file}:{line}" if line else file, foreign)
        object.__setattr__(component, _ATTRIBUTE, place)
    return component


def written_at(function: Any) -> str:
    """Return the file and line of a function or method, in brackets after a space; "" if it has none.

    >>> written_at(len)
    ''
    """
    code = getattr(inspect.unwrap(function), "__code__", None)
    return f" ({code.co_filename}:{code.co_firstlineno})" if code is not None else ""


def title(component: Any) -> str:
    """Return the class of a component with its file and line if it is foreign."""
    name, place = type(component).__name__, place_of(component)
    return f"{name} ({place.file})" if place is not None and place.foreign else name


def place_of(component: Any) -> Place | None:
    """Return the place of a component; None if it has none."""
    return vars(component).get(_ATTRIBUTE) if hasattr(component, "__dict__") else None


def _first_line(made: type) -> int | None:
    """Return the line of the first method of a class (Python 3.13 knows that of the class itself)."""
    codes = [code for value in vars(made).values() if (code := getattr(value, "__code__", None)) is not None]
    return min((code.co_firstlineno for code in codes), default=None)


def _is_foreign(file: str, module: str) -> bool:
    """Whether a file belongs neither to ffcore nor to Python or a library."""
    from ffcore.plugin import manager  # which reports the errors of plugins itself

    home = module.partition(".")[0]
    plugins = manager.current()
    if home in plugins.own or home in plugins.packages:
        return home not in plugins.own
    if file.startswith("<"):  # code without a file: that of its module decides
        file = getattr(sys.modules.get(home), "__file__", None) or file
    in_packages = "/site-packages/" in file or "/dist-packages/" in file
    return not in_packages and not file.startswith(_LIBRARIES) and home not in sys.stdlib_module_names


def of_author(frame: FrameType) -> bool:
    """Whether the code of a frame belongs neither to ffcore nor to Python or a library."""
    return _is_foreign(frame.f_code.co_filename, str(frame.f_globals.get("__name__")))


def located(error: BaseException) -> str:
    """Return the author's file and line, in brackets after a space; "" if only ffcore and libraries ran."""
    return _place_in(_author(_frames(error)))


def _frames(error: BaseException) -> list[tuple[FrameType, int]]:
    """Return the frames of a traceback with their lines, the innermost first."""
    return list(walk_tb(error.__traceback__))[::-1]


def _author(frames: list[tuple[FrameType, int]]) -> tuple[FrameType, int] | None:
    """Return the innermost frame of the author's code."""
    return next(((frame, line) for frame, line in frames if of_author(frame)), None)


def _place_in(author: tuple[FrameType, int] | None) -> str:
    return f" ({author[0].f_code.co_filename}:{author[1]})" if author is not None else ""


def reported(error: BaseException) -> str:
    """Return the type, the message and the author's line of an error of foreign code."""
    return f"{typed(error, 300)}{located(error)}"


def running(error: BaseException, modules: Iterable[Any]) -> tuple[Any, tuple[Any, ...]] | None:
    """Return the innermost of some torch modules that an error ended, and the arguments of its call."""
    known = {id(module): module for module in modules}
    for frame, _ in _frames(error):
        if frame.f_code.co_name == "_call_impl" and (module := known.get(id(frame.f_locals.get("self")))):
            return module, tuple(frame.f_locals.get("args", ()))
    return None


def explain(error: BaseException) -> str | None:
    """Return one line about an error that foreign code has raised or caused; None if it is ffcore's own."""
    frames = _frames(error)
    author = _author(frames)
    inside = next(((frame, place) for frame, _ in frames if (place := _component(frame)) is not None), None)
    what = typed(error, 300)
    if isinstance(error, MemoryError) or "can't allocate memory" in one_line(error):
        what = f"not enough memory: {one_line(error, 120)}"
    elif author is None and (inside is None or not inside[1].foreign):
        return _suspected(frames, what)
    block = _block(frames)
    where = f", block {block}" if block else ""
    if inside is not None:
        return f"{inside[1]}{where}: its {_method(frames, inside[0])} raised {what}{_place_in(author)}"
    if author is None:
        return what
    return f"{author[0].f_code.co_name}{where} raised {what}{_place_in(author)}"


def _method(frames: list[tuple[FrameType, int]], inner: FrameType) -> str:
    """Return the component's method that was running: torch's own, such as ``__getattr__``, are left out."""
    owner = inner.f_locals.get("self")
    names = [f.f_code.co_name for f, _ in frames if f.f_locals.get("self") is owner and _component(f)]
    return next((name for name in names if name not in _OF_TORCH), "forward")


def _suspected(frames: list[tuple[FrameType, int]], what: str) -> str | None:
    """Return a line about an error of ffcore while foreign components were in use; None without any."""
    for frame, _ in frames:
        for name in ("block", "stage", "module", "self", "trainer"):
            given: Any = frame.f_locals.get(name)
            # a module without its base's constructor has no parts
            has_parts = callable(getattr(type(given), "modules", None)) and hasattr(given, "_modules")
            parts = given.modules() if has_parts else getattr(given, "callbacks", ())
            if foreign := foreign_places(parts if name == "trainer" or has_parts else ()):
                block = _block(frames)
                names = ", ".join(dict.fromkeys(f"{place} ({place.file})" for place in foreign))
                where = f"block {block}" if block else "network"
                return f"{where}: {what}, after a result of {names}; check type and shape of what it returns"
    return None


def foreign_places(parts: Iterable[Any]) -> list[Place]:
    """Return the places of those components that are foreign."""
    places = [place for part in parts if (place := place_of(part)) is not None]
    return [place for place in places if place.foreign]


def _component(frame: FrameType) -> Place | None:
    code = frame.f_code
    is_method = code.co_argcount > 0 and code.co_varnames[0] == "self"  # not a function inside a method
    return place_of(frame.f_locals.get("self")) if is_method else None


def _block(frames: list[tuple[FrameType, int]]) -> str:
    """Return the name of the innermost block that was running."""
    for frame, _ in frames:
        for name in ("self", "block"):
            given: Any = frame.f_locals.get(name)
            if type(given).__name__ == "LocalBlock":
                return str(given.name)
    return ""


def by_user(error: BaseException) -> bool:
    """Whether an error is a KeyboardInterrupt by Ctrl-C, not by a ``raise`` in foreign code."""
    innermost = error.__traceback__
    if not isinstance(error, KeyboardInterrupt) or innermost is None:
        return isinstance(error, KeyboardInterrupt)
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    code = innermost.tb_frame.f_code
    handlers = (signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP))
    if any(getattr(handler, "__code__", None) is code for handler in handlers):
        return True
    raised = code.co_code[innermost.tb_lasti] == _RAISE
    return not raised or not of_author(innermost.tb_frame)


@contextmanager
def blaming(kind: type[UserError] | type[RunError]) -> Iterator[None]:
    """Explain the exceptions of foreign code: by a note in Python, and in one line on the command line.

    An exception keeps its type, which the caller may expect: a callback of Optuna ends a run by an
    exception of its own. An exit would end the caller's program as if all were well, and becomes an error.

    Args:
        kind: `UserError` before anything of a run has been written, `RunError` afterwards.

    Raises:
        UserError: foreign code has called ``sys.exit`` or raised KeyboardInterrupt; or a `RunError`.
    """
    try:
        yield
    except (UserError, RunError, TimeUpError):
        raise
    except KeyboardInterrupt as error:
        if by_user(error):
            raise
        raise kind(explain(error) or typed(error)) from error
    # an exit would end the caller's program, a StopIteration Lightning's loops, as if all were well
    except (SystemExit, GeneratorExit, StopIteration) as error:
        # not `from error`: contextlib takes a RuntimeError from a StopIteration for Python's own conversion
        raise kind(explain(error) or typed(error)) from None
    except BaseException as error:
        line = None if hasattr(error, _VERDICT) else explain(error)
        if line is not None:
            error.add_note(f"ffcore: {line}")
            setattr(error, _VERDICT, kind(line))
        raise


def of_hook(error: SystemExit) -> str | None:
    """Return one line about an exit in a hook that foreign code defines; None for one in a verb of a plugin.

    A verb is called by click.
    """
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    outer = next((i for i, frame in enumerate(frames) if of_author(frame)), 0)
    by_click = str(frames[outer - 1].f_globals.get("__name__")).startswith("click.") if outer else True
    return None if by_click else explain(error)


def verdict(error: BaseException) -> BaseException:
    """Return the error of one line that `blaming` has found for an exception; else the exception."""
    return getattr(error, _VERDICT, error)
