"""For memory that processes of a machine share: the name of the machine, files in memory, local sockets."""

from __future__ import annotations

import os
import secrets
import socket
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


def created(size: int) -> tuple[int, Tensor]:
    """Return an open file without a name, so that nothing is left when a process is killed, and its bytes."""
    number = os.memfd_create("ffcore")
    try:
        os.posix_fallocate(number, 0, size)  # otherwise a lack of memory kills the process later
        return number, mapped(number, size)
    except BaseException:
        os.close(number)
        raise


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


def accepted(listener: socket.socket, timeout: float) -> socket.socket:
    """Wait for a connection of a process of the same user, and return it.

    Args:
        listener: a local socket that listens.
        timeout: seconds to wait, also in later calls of the connection.
    """
    listener.settimeout(timeout)
    while True:
        connection, _ = listener.accept()
        _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if user == os.getuid():
            connection.settimeout(timeout)
            return connection
        connection.close()


def hang_up(connection: socket.socket) -> None:
    """Close a connection, also for processes that were forked and have copies of it, such as workers."""
    with suppress(OSError):  # the other side may have closed it
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def lost() -> Iterator[None]:
    """Convert the error of a closed connection to one that names the cause."""
    try:
        yield
    except TimeoutError as error:
        raise LostError("another rank does not answer; this one cannot continue") from error
    except (EOFError, OSError) as error:
        raise LostError("another rank has ended; this one cannot continue") from error
