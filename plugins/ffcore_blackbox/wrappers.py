"""Boxes around other boxes: answers that are kept, calls that are repeated or given up.

R rows.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.errors import FOREIGN, RunError, UserError, first_line, typed
from ffcore.interfaces import BlackBox, Context
from ffcore.options import ByName, Count, FilePath, Natural, NonNegative, Seconds, expanded
from ffcore.parts import part, path_of
from ffcore_blackbox.arrays import array, as_array


class Around(BlackBox):
    """A box that calls another one, and is fitted and closed with it.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        box: the other box.
    """

    def __init__(self, in_shape: tuple[int, ...], box: BlackBox | ByName) -> None:
        super().__init__()
        self.box: BlackBox = part("blackbox", box, f"{path_of(self, 'box')}.box", in_shape)
        self.limit, self.movable = self.box.limit, self.box.movable
        self._counts: Counter[str] = Counter()
        self.reads_targets = self.box.reads_targets

    @property
    def adapts(self) -> bool:
        """Whether the other box does."""
        return self.box.adapts

    @property
    def observes(self) -> bool:
        """Whether the other box does."""
        return self.box.observes

    @property
    def counts(self) -> Mapping[str, int]:
        """Counts of the other box and of this one."""
        return dict(Counter(self.box.counts) + Counter(self._counts))

    def observe(self, x: Tensor, y: Tensor | None) -> None:
        """Let the other box observe."""
        self.box.observe(x, y)

    def setup(self, context: Context) -> None:
        """Set the other box up."""
        self.box.setup(context)

    def fit(self, batches: Iterable[Any]) -> None:
        """Fit the other box."""
        self.box.fit(batches)

    def close(self) -> None:
        """Close the other box."""
        self.box.close()


class Cached(Around):
    """Keeps the answers of a box by the content of a row: an equal row is not asked again.

    For boxes without randomness whose calls are expensive, behind blocks that do not learn any more, such as
    with ``schedule: {kind: greedy}``, and for validation. A fit of the box clears what is kept.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        box: the box.
        rows: number of answers in memory; the oldest are dropped.
        path: a file that keeps all answers, an SQLite database; None: memory only.
        version: with a path, what answers, such as the name and date of a model. It is written into the file,
            and a file of another one is refused. The box and its options are not compared.
    """

    examples = ({"box": "sign"}, {"box": {"kind": "quantise", "bits": 2}, "rows": 4})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        box: BlackBox | ByName,
        rows: Count = 1_000_000,
        path: FilePath | None = None,
        version: str = "",
    ) -> None:
        super().__init__(in_shape, box)
        if self.observes:
            raise ValueError("box: it learns from every batch, so that its answers change; leave cached out")
        if path is not None and self.adapts:
            raise ValueError(
                "path: the box is fitted in each run, so that its answers differ; leave path out"
            )
        if path is not None and not version:
            raise ValueError(
                "version: a file needs one, which says what answers, such as the name of a model"
            )
        self.rows, self.version = rows, version
        self.path = None if path is None else Path(expanded(path))
        self._kept: dict[bytes, np.ndarray[Any, Any]] = {}
        self._file: _File | None = None
        self.register_load_state_dict_post_hook(_forget)  # type: ignore[no-untyped-call]

    def forward(self, x: Tensor) -> np.ndarray[Any, Any]:
        """(R, *shape) → (R, *shape')."""
        if self.path is not None and self._file is None:
            self._file = _File(self.path, self.version)
        numbers = array(x)
        kind = f"{numbers.dtype} {numbers.shape[1:]}".encode()
        keys = [blake2b(kind + row.tobytes(), digest_size=16).digest() for row in numbers]
        if not keys:
            return self._answers(x)
        found = {key: self._kept[key] for key in keys if key in self._kept}
        missing = {key: i for i, key in enumerate(keys) if key not in found}
        if self._file is not None and missing:
            found |= self._file.read(missing)
            missing = {key: i for key, i in missing.items() if key not in found}
        if missing:
            fresh = dict(zip(missing, self._answers(x[list(missing.values())]), strict=True))
            self._counts["rows asked"] += len(fresh)
            if self._file is not None:
                self._file.write(fresh)
            found |= fresh
        self._keep(found)
        return np.stack([found[key] for key in keys])

    def _answers(self, x: Tensor) -> np.ndarray[Any, Any]:
        """Return the box's answers as a copy: a box may return the same memory from every call.

        Raises:
            RunError: when they should not be kept.
        """
        made = as_array(self.box(x))
        name = type(self.box).__name__
        if not made.ndim or len(made) != len(x):
            raise RunError(f"{name} returned shape {made.shape} for {len(x)} rows; nothing is kept")
        if made.dtype.kind not in "fiub" or not np.isfinite(made).all():
            raise RunError(f"{name} returned numbers that are not real or not finite; nothing is kept")
        return made

    def _keep(self, answers: dict[bytes, np.ndarray[Any, Any]]) -> None:
        self._kept |= answers
        if (excess := len(self._kept) - self.rows) > 0:
            for key in list(islice(self._kept, excess)):
                del self._kept[key]

    def fit(self, batches: Iterable[Any]) -> None:
        """Fit the box, and drop its answers."""
        super().fit(batches)
        self._kept.clear()

    def close(self) -> None:
        """Close the box and the file."""
        super().close()
        if self._file is not None:
            self._file.close()
            self._file = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the open file."""
        return {**self.__dict__, "_file": None}


def _forget(box: Cached, keys: Any) -> None:
    """Drop the answers of a box whose state has been loaded."""
    box._kept.clear()


class _File:
    """Answers in an SQLite database, by the digest of a row."""

    def __init__(self, path: Path, version: str) -> None:
        try:
            self._base = sqlite3.connect(path, timeout=60, check_same_thread=False)
            self._base.execute(
                "create table if not exists answers (key blob primary key, shape text, data blob)"
            )
            self._base.execute("create table if not exists about (version text)")
            known = self._base.execute("select version from about").fetchone()
            if known is None:
                self._base.execute("insert into about values (?)", (version,))
            self._base.commit()
        except sqlite3.Error as error:
            raise UserError(f"path: {path} is not a file of kept answers: {first_line(error)}") from error
        if known is not None and known[0] != version:
            self._base.close()
            raise UserError(
                f"path: {path} keeps answers of {known[0]!r}, not of {version!r}; name another file, or set "
                "version"
            )

    def read(self, keys: Iterable[bytes]) -> dict[bytes, np.ndarray[Any, Any]]:
        found = {}
        for key in keys:
            row = self._base.execute("select shape, data from answers where key = ?", (key,)).fetchone()
            if row is not None:
                kind, *sides = row[0].split()
                found[key] = np.frombuffer(row[1], dtype=kind).reshape([int(side) for side in sides])
        return found

    def write(self, answers: dict[bytes, np.ndarray[Any, Any]]) -> None:
        rows = [
            (key, " ".join([each.dtype.str, *map(str, each.shape)]), each.tobytes())
            for key, each in answers.items()
        ]
        with self._base:  # one transaction
            self._base.executemany("insert or replace into answers values (?, ?, ?)", rows)

    def close(self) -> None:
        self._base.close()


class Patient(Around):
    """Calls a box again after an error, and gives a call up after some time.

    A call that is given up continues in its thread, since Python cannot end it, and is not repeated: two
    calls of one box could disturb each other. `process` and `http` have a timeout of their own, after which
    they can be called again.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        box: the box.
        again: how often a call is repeated after an error.
        wait: seconds before the first repetition; each further one waits twice as long.
        timeout: seconds after which a call is an error, which is not repeated; None: no limit.
    """

    examples = ({"box": "sign"}, {"box": "sign", "timeout": 10.0})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        box: BlackBox | ByName,
        again: Natural = 2,
        wait: NonNegative = 1.0,
        timeout: Seconds | None = None,
    ) -> None:
        super().__init__(in_shape, box)
        self.again, self.wait, self.timeout = again, wait, timeout

    def forward(self, x: Tensor) -> Any:
        """(R, *shape) → (R, *shape')."""
        for attempt in range(self.again):
            try:
                return self._once(x)
            except (UserError, TimeoutError):
                raise
            except FOREIGN:
                time.sleep(self.wait * 2**attempt)
                self._counts["calls repeated"] += 1
        try:
            return self._once(x)
        except FOREIGN as error:
            if self.again and not isinstance(error, UserError | TimeoutError):
                raise RunError(f"asked {self.again + 1} times: {typed(error, 200)}") from error
            raise

    def _once(self, x: Tensor) -> Any:
        if self.timeout is None:
            return self.box(x)
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
        kind = x.device.type
        autocast = torch.autocast(kind, torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))

        def call() -> None:
            try:
                with torch.no_grad(), autocast:
                    answers.put((self.box(x), None))
            except BaseException as error:
                answers.put((None, error))

        threading.Thread(target=call, daemon=True, name="ffcore black box").start()
        try:
            made, error = answers.get(timeout=self.timeout)
        except queue.Empty:
            raise TimeoutError(f"it has not answered within {self.timeout:g} s") from None
        if error is not None:
            raise error
        return made
