"""An external process as a black box: batches on its standard input, answers on its standard output.

A frame is: 4 bytes ``FFB1``; the number of dimensions as an unsigned 32-bit integer; each dimension as an
unsigned 64-bit one; then the numbers as 32-bit floats, the last dimension fastest. All little-endian. The
process answers every frame with one, of as many rows, and ends when its input does.
"""

from __future__ import annotations

import ctypes
import math
import os
import selectors
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from ffcore.errors import RunError
from ffcore.interfaces import BlackBox

MAGIC = b"FFB1"
_HEAD = struct.Struct("<4sI")
_MOST = 8  # dimensions of an answer; more are noise
_CHUNK = 1 << 20
_KILLED_WITH_PARENT = 1  # PR_SET_PDEATHSIG


class Process(BlackBox):
    """A program that gets each batch as a frame and answers with one.

    It is started when it is first needed, in a process group of its own, so that Ctrl-C does not reach it
    before the run has written its checkpoint; it is killed when the run ends, also by ``kill -9`` on Linux.

    Args:
        command: the program and its arguments, as a list or as one line; ``{python}`` stands for the Python
            that runs.
        timeout: seconds to wait for an answer.
        rows: most rows of one frame; None: any number.
    """

    def __init__(self, command: Sequence[str] | str, timeout: float = 30.0, rows: int | None = None) -> None:
        super().__init__()
        words = shlex.split(command) if isinstance(command, str) else list(command)
        words = [word.replace("{python}", sys.executable) for word in words]
        if not words:
            raise ValueError("command: is empty")
        self.command, self.timeout, self.limit = words, timeout, rows
        self._child: _Child | None = None

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape')."""
        if self._child is None:
            self._child = _Child(self.command)
        try:
            return self._child.ask(x.cpu().float().numpy(), self.timeout)
        except BaseException:
            self.close()  # half a frame may be on its way: what comes next would be taken for an answer
            raise

    def close(self) -> None:
        """End the process; the next call starts another."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the process, which cannot be copied."""
        return {**self.__dict__, "_child": None}


class _Child:
    """A running program."""

    def __init__(self, command: Sequence[str]) -> None:
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        try:
            self.process = subprocess.Popen(  # noqa: S603 (the recipe's author says what runs)
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self.said,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,  # noqa: PLW1509
            )
        except OSError as error:
            self.said.close()
            raise RunError(f"the process cannot be started: {error}") from error
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to, self.back = self.process.stdin, self.process.stdout
        for pipe in (self.to, self.back):
            os.set_blocking(pipe.fileno(), False)
        self.end = weakref.finalize(self, _kill, self.process, self.to, self.back, self.said)

    def ask(self, rows: np.ndarray[Any, Any], timeout: float) -> Tensor:
        """Send a frame, wait for the answer.

        Raises:
            RunError: in words, whatever the process has done.
        """
        frame = memoryview(_frame(rows))
        until = time.monotonic() + timeout
        answer, need = bytearray(), _HEAD.size
        with selectors.DefaultSelector() as ready:
            ready.register(self.back, selectors.EVENT_READ)
            ready.register(self.to, selectors.EVENT_WRITE)
            while len(answer) < need or frame:
                left = until - time.monotonic()
                if left <= 0:
                    raise RunError(f"the process has not answered within {timeout:g} s")
                for key, _ in ready.select(left):
                    if key.fileobj is self.to:
                        frame = frame[self._written(frame) :]
                        if not frame:
                            ready.unregister(self.to)
                    else:
                        answer += self._read(len(answer))
                        need = max(need, _size(answer))
        if len(answer) > need:
            raise RunError(
                "the process wrote more than its answer; only frames belong on its standard output"
            )
        (dimensions,) = struct.unpack_from("<I", answer, 4)
        shape = struct.unpack_from(f"<{dimensions}Q", answer, _HEAD.size)
        start = _HEAD.size + 8 * dimensions
        return torch.from_numpy(np.frombuffer(answer, dtype="<f4", offset=start).reshape(shape))

    def _written(self, frame: memoryview) -> int:
        try:
            return os.write(self.to.fileno(), frame[:_CHUNK])
        except BlockingIOError:
            return 0
        except BrokenPipeError:
            raise RunError(self._gone("before it had read its batch")) from None

    def _read(self, had: int) -> bytes:
        try:
            some = os.read(self.back.fileno(), _CHUNK)
        except BlockingIOError:
            return b""
        if not some:
            raise RunError(self._gone("in the middle of a frame" if had else "without an answer"))
        return some

    def _gone(self, when: str) -> str:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        code = self.process.poll()
        how = "closed its output" if code is None else f"ended with code {code}"
        self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 2000))
        lines = self.said.read().decode("utf-8", "replace").strip().splitlines()
        last = f"; it said last: {lines[-1][:200]}" if lines else ""
        return f"the process {how} {when}{last}"


def _frame(rows: np.ndarray[Any, Any]) -> bytes:
    numbers = np.ascontiguousarray(rows, dtype="<f4")
    return (
        _HEAD.pack(MAGIC, numbers.ndim) + struct.pack(f"<{numbers.ndim}Q", *numbers.shape) + numbers.tobytes()
    )


def _size(answer: bytearray) -> int:
    """Bytes of the whole frame, as far as its beginning tells.

    Raises:
        RunError: when it does not begin like a frame.
    """
    if not MAGIC.startswith(bytes(answer[:4])):
        raise RunError(
            f"the process wrote {bytes(answer[:40])!r} instead of a frame; only frames belong on its "
            "standard output"
        )
    if len(answer) < _HEAD.size:
        return _HEAD.size
    (dimensions,) = struct.unpack_from("<I", answer, 4)
    if dimensions > _MOST:
        raise RunError(f"the process wrote a frame of {dimensions} dimensions; at most {_MOST} are read")
    start: int = _HEAD.size + 8 * dimensions
    if len(answer) < start:
        return start
    shape: tuple[int, ...] = struct.unpack_from(f"<{dimensions}Q", answer, _HEAD.size)
    return start + 4 * math.prod(shape)


def _die_with_parent() -> None:
    """Linux: be killed when the process that started this one ends, however it ends."""
    ctypes.CDLL(None).prctl(_KILLED_WITH_PARENT, signal.SIGKILL)


def _kill(process: subprocess.Popen[bytes], *files: IO[bytes]) -> None:
    """End a process and what it has started."""
    for file in files:
        with suppress(OSError):
            file.close()
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
