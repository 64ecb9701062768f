"""An external process as a black box: batches on its standard input, answers on its standard output.

The process answers every frame (`ffcore_blackbox.frames`) with one frame of as many rows, and ends when its
standard input ends.
"""

from __future__ import annotations

import os
import selectors
import shlex
import shutil
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
from ffcore.options import Count, Seconds
from ffcore_blackbox import frames, watcher
from ffcore_blackbox.arrays import array

_CHUNK = 1 << 20


class Process(BlackBox):
    """A program that gets each batch as a frame and answers with a frame.

    It is started at the first call, in its own session: Ctrl-C does not stop it before the run has written
    its checkpoint. A watcher process kills the program and its children when the run ends, also after ``kill
    -9``.

    Args:
        command: the program and its arguments, as a list or as one line; ``{python}`` is replaced by the
            current Python.
        timeout: seconds to wait for an answer.
        rows: maximum number of rows of one frame; None: any number.
    """

    examples = ({"command": ["{python}", "-m", "ffcore_blackbox.server"]},)

    def __init__(
        self, command: Sequence[str] | str, timeout: Seconds = 30.0, rows: Count | None = None
    ) -> None:
        super().__init__()
        self.conversation = Conversation(command, timeout)
        self.limit = rows

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape')."""
        return torch.from_numpy(self.conversation.ask(frames.encoded(array(x))))

    def close(self) -> None:
        """End the process; the next call starts a new one."""
        self.conversation.close()


class Conversation:
    """A program that is started when it is first asked, and again after it was closed.

    A copy, or an unpickled one, starts a program of its own.

    Args:
        command: the program and its arguments, as a list or as one line; ``{python}`` is replaced by the
            current Python.
        timeout: seconds to wait for an answer.

    Attributes:
        child: the running program; None before it is started.
        turn: held while the program is asked: two threads must not mix their frames.

    Raises:
        ValueError: when the command is empty.
    """

    def __init__(self, command: Sequence[str] | str, timeout: float) -> None:
        words = shlex.split(command) if isinstance(command, str) else list(command)
        if not words:
            raise ValueError("command: is empty")
        self.command = [word.replace("{python}", sys.executable) for word in words]
        self.timeout = timeout
        self.child: Child | None = None
        self.turn = threading.RLock()

    def ask(self, sent: bytes) -> np.ndarray[Any, Any]:
        """Send frames and wait for the frame that answers them; after an error the program is ended."""
        with self.turn:
            if self.child is None:
                self.child = Child(self.command)
            try:
                return self.child.ask(sent, self.timeout)
            except BaseException:
                self.close()  # an incomplete frame may be in the pipe; it would be read as the next answer
                raise

    def close(self) -> None:
        """End the program."""
        with self.turn:
            if self.child is not None:
                self.child.end()
                self.child = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the program, which cannot be copied."""
        return {"command": self.command, "timeout": self.timeout}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self.__init__(**state)  # type: ignore[misc]


class Child:
    """A running program, which a watcher process kills when this one ends.

    Args:
        command: the program and its arguments.

    Raises:
        RunError: when there is no such program.
    """

    def __init__(self, command: Sequence[str]) -> None:
        program = shutil.which(command[0])
        if program is None:
            raise RunError(f"the process cannot be started: there is no program {command[0]!r}")
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (open as long as the process runs)
        lifeline, own_end = os.pipe()
        self.process = subprocess.Popen(  # noqa: S603 (the recipe's author chooses the program)
            [sys.executable, "-I", watcher.__file__, str(lifeline), program, *command[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            start_new_session=True,
            pass_fds=[lifeline],
        )
        os.close(lifeline)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.to, self.back = self.process.stdin, self.process.stdout
        for pipe in (self.to, self.back):
            os.set_blocking(pipe.fileno(), False)
        self.end = weakref.finalize(self, _end, self.process, own_end, self.to, self.back, self.errors)

    def ask(self, sent: bytes, timeout: float) -> np.ndarray[Any, Any]:
        """Send frames and wait for the frame that answers them.

        Raises:
            RunError: when the process ends, does not answer in time, or does not write a valid frame.
        """
        frame = memoryview(sent)
        until = time.monotonic() + timeout
        answer, need = bytearray(), frames.HEAD.size
        # Write and read at the same time: both pipes could be full if the program answers while it reads.
        with selectors.DefaultSelector() as ready:
            ready.register(self.back, selectors.EVENT_READ)
            ready.register(self.to, selectors.EVENT_WRITE)
            while len(answer) < need or frame:
                left = until - time.monotonic()
                if left <= 0:
                    part = f"; {len(answer)} bytes of a frame came" if answer else ""
                    raise RunError(f"the process has not answered within {timeout:g} s{part}{self._last()}")
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
        return frames.decoded(answer)

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
        """Return the last line of its standard error, for messages."""
        self.errors.seek(max(0, self.errors.seek(0, os.SEEK_END) - 2000))
        lines = self.errors.read().decode("utf-8", "replace").strip().splitlines()
        return f"; last line of its standard error: {lines[-1][:200]}" if lines else ""


def _size(answer: bytearray) -> int:
    """Return the size of the frame in bytes, as far as it is known from the bytes so far."""
    try:
        return frames.size(answer)
    except ValueError as error:
        raise RunError(f"the process wrote {error}; only frames belong on its standard output") from None


def _end(process: subprocess.Popen[bytes], lifeline: int, *files: IO[bytes]) -> None:
    """Close the watcher's pipe; the watcher then kills the program and its children."""
    for file in files:
        with suppress(OSError):
            file.close()
    os.close(lifeline)
    process.wait()
