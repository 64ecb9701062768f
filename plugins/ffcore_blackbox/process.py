"""An external process as a black box: batches on its standard input, answers on its standard output.

A frame is: 4 bytes ``FFB1``; the number of dimensions as an unsigned 32-bit integer; each dimension as an
unsigned 64-bit one; then the numbers as 32-bit floats, the last dimension fastest. All little-endian. The
process answers every frame with one, of as many rows, and ends when its input does.
"""

from __future__ import annotations

import math
import os
import selectors
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
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
from ffcore.options import Count, Positive
from ffcore_blackbox import watcher
from ffcore_blackbox.arrays import array

MAGIC = b"FFB1"
_HEAD = struct.Struct("<4sI")
_MOST = 8  # dimensions of an answer; more are noise
_CHUNK = 1 << 20


class Process(BlackBox):
    """A program that gets each batch as a frame and answers with one.

    It is started when it is first needed, in a session of its own, so that Ctrl-C does not reach it before
    the run has written its checkpoint. A watcher kills it, and what it has started, when the run is gone,
    also after ``kill -9``.

    Args:
        command: the program and its arguments, as a list or as one line; ``{python}`` stands for the Python
            that runs.
        timeout: seconds to wait for an answer.
        rows: most rows of one frame; None: any number.
    """

    examples = ({"command": ["{python}", "-m", "ffcore_blackbox.server"]},)

    def __init__(
        self, command: Sequence[str] | str, timeout: Positive = 30.0, rows: Count | None = None
    ) -> None:
        super().__init__()
        words = shlex.split(command) if isinstance(command, str) else list(command)
        words = [word.replace("{python}", sys.executable) for word in words]
        if not words:
            raise ValueError("command: is empty")
        self.command, self.timeout, self.limit = words, timeout, rows
        self._child: _Child | None = None
        self._turn = threading.RLock()  # frames of two threads must not mix

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape')."""
        with self._turn:
            if self._child is None:
                self._child = _Child(self.command)
            try:
                return self._child.ask(array(x), self.timeout)
            except BaseException:
                self.close()  # half a frame may be on its way: what comes next would be taken for an answer
                raise

    def close(self) -> None:
        """End the process; the next call starts another."""
        with self._turn:
            if self._child is not None:
                self._child.end()
                self._child = None

    def __getstate__(self) -> dict[str, Any]:
        """Without the process, which cannot be copied."""
        return {key: value for key, value in self.__dict__.items() if key not in ("_child", "_turn")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """A copy starts a process of its own."""
        self.__dict__.update(state, _child=None, _turn=threading.RLock())


class _Child:
    """A running program."""

    def __init__(self, command: Sequence[str]) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise RunError(f"the process cannot be started: there is no program {command[0]!r}")
        self.said = tempfile.TemporaryFile()  # noqa: SIM115 (as long as the process)
        lifeline, mine = os.pipe()
        self.process = subprocess.Popen(  # noqa: S603 (the recipe's author says what runs)
            [sys.executable, "-I", watcher.__file__, str(lifeline), program, *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.said,
            start_new_session=True,
            pass_fds=[lifeline],
        )
        os.close(lifeline)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to, self.back = self.process.stdin, self.process.stdout
        for pipe in (self.to, self.back):
            os.set_blocking(pipe.fileno(), False)
        self.end = weakref.finalize(self, _end, self.process, mine, self.to, self.back, self.said)

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
                    came = f"; {len(answer)} bytes of a frame came" if answer else ""
                    raise RunError(f"the process has not answered within {timeout:g} s{came}{self._last()}")
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
        return f"the process {how} {when}{self._last()}"

    def _last(self) -> str:
        """The last line on its standard error."""
        self.said.seek(max(0, self.said.seek(0, os.SEEK_END) - 2000))
        lines = self.said.read().decode("utf-8", "replace").strip().splitlines()
        return f"; it said last: {lines[-1][:200]}" if lines else ""


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


def _end(process: subprocess.Popen[bytes], lifeline: int, *files: IO[bytes]) -> None:
    """Cut the watcher's lifeline, which ends the program and what it has started."""
    for file in files:
        with suppress(OSError):
            file.close()
    os.close(lifeline)
    process.wait()
