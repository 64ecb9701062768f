"""Options that several verbs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from ffcore.errors import shortened
from ffcore.options import DEVICE, DEVICES


@dataclass(frozen=True)
class Duration:
    """A duration as text and in seconds."""

    text: str
    seconds: float


_N = r"(\d{1,9})"
_DURATION = re.compile(rf"{_N}s?|(?=\d)(?:{_N}h)?(?:{_N}m)?(?:{_N}s)?")


def duration(ctx: click.Context, param: click.Parameter, value: str | None) -> Duration | None:
    """Read a time such as ``1h30m``.

    Raises:
        click.BadParameter: it is none.
    """
    if value is None:
        return None
    match = _DURATION.fullmatch(value)
    # "90" and "90s" are matched by the first group, all other forms by the last three
    alone, hours, minutes, seconds = (int(part or 0) for part in match.groups()) if match else [0] * 4
    total = alone + 3600 * hours + 60 * minutes + seconds
    if not total:
        raise click.BadParameter(
            f"{shortened(value)} is not a time; write seconds, or 90s, 30m, 2h, 1h30m.", ctx, param
        )
    return Duration(f"{value}s" if value.isdecimal() else value, total)


def seeds(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, ...]:
    """Read a list of seeds such as ``1,2,3``.

    Raises:
        click.BadParameter: it is none.
    """
    if value is None:
        return ()
    words = [word.strip() for word in value.split(",")]
    if not all(word.isdecimal() and word.isascii() and len(word) < 20 for word in words):
        message = f"{shortened(value)} should be integers separated by commas, such as 1,2,3."
        raise click.BadParameter(message, ctx, param)
    return tuple(map(int, words))


def device(default: str) -> Callable[[Any], Any]:
    """Returns the option ``--device`` of verbs that use a finished run; None if it is not given."""
    return click.option(
        "--device",
        callback=_device,
        metavar="DEVICE",
        help=f"cpu, cuda, cuda:1, or auto for a GPU if there is one  [default: {default}]",
    )


def _device(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """Check the spelling, before torch is imported to see whether there is such a device."""
    if value is not None and not DEVICE.fullmatch(value):
        raise click.BadParameter(f"{shortened(value)} should be {DEVICES}.", ctx, param)
    return value
