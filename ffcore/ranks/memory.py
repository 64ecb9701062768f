"""For memory that processes of a machine share: the name of the machine, files in memory, local sockets."""

from __future__ import annotations

import secrets
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from ffcore.errors import LostError


@cache
def machine() -> str:
    """Return what names a machine from its start to its end."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    return f"{socket.gethostname()} {boot.read_text(encoding='ascii').strip() if boot.exists() else ''}"


def possible(device: torch.device) -> bool:
    """Return whether ranks on such devices can share memory, if they are on one machine: with Linux."""
    return device.type == "cpu" and sys.platform == "linux"


def mapped(number: int, size: int) -> Tensor:
    """Return the bytes of a file without a name, which is open under a number in this process."""
    return torch.from_file(f"/proc/self/fd/{number}", shared=True, size=size, dtype=torch.uint8)


def bound(listener: socket.socket, most: int = 1) -> bytes | None:
    """Let a socket listen at a name that needs no file; return the name, None if there are none.

    Args:
        listener: a local socket.
        most: connections that may wait to be accepted.
    """
    address = b"\0ffcore-" + secrets.token_hex(16).encode()
    try:
        listener.bind(address)
        listener.listen(most)
    except OSError:
        return None
    return address


@contextmanager
def lost() -> Iterator[None]:
    """Convert the error of a closed connection to one that names the cause."""
    try:
        yield
    except TimeoutError as error:
        raise LostError("another rank does not answer; this one cannot continue") from error
    except (EOFError, OSError) as error:
        raise LostError("another rank has ended; this one cannot continue") from error
