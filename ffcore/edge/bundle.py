"""Bundles: directories that an exporter has written."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ffcore.edge.about import FORMAT, About, State, parsed
from ffcore.edge.errors import EdgeError, reason
from ffcore.edge.files import Array, Arrays, arrays, sha256
from ffcore.edge.sessions import Sessions

ABOUT, WEIGHTS = "bundle.json", "weights.npz"


class Bundle:
    """A bundle whose files are complete and unchanged. It holds no weights: a `Learner` reads them.

    Made by `ffcore.edge.load`.

    Attributes:
        path: the directory.
        about: what it holds.
        sha: SHA-256 of ``bundle.json``, which names that of every other file.
        sessions: runs its graphs.

    Raises:
        EdgeError: it is not a bundle, is of another format, or a file is missing, truncated or edited.
    """

    def __init__(self, path: Path, threads: int = 1, keep_sessions: bool = True) -> None:
        self.path = path
        file = path / ABOUT
        if not file.is_file():
            raise EdgeError(
                f"{path}: not a bundle; it should be a directory with {ABOUT}, as an export writes it"
            )
        self.about: About = _about(file)
        self.sha = sha256(file)
        for name, (sha, size) in self.about.files.items():
            _refuse_changed(path / name, sha, size)
        self.sessions = Sessions(path, threads, keep_sessions)
        for _ in self.weights():  # one array at a time
            pass

    def weights(self) -> Iterator[tuple[str, Array]]:
        """Read the initial state, one (name, array) at a time.

        Raises:
            EdgeError: a state is missing, of another shape or dtype, or not finite.
        """
        with arrays(self.path / WEIGHTS) as stored:
            yield from states(stored, self.about, str(self.path / WEIGHTS))


def states(stored: Arrays, about: About, where: str, prefix: str = "") -> Iterator[tuple[str, Array]]:
    """Read every state of a bundle from a file, one (name, array) at a time.

    Args:
        stored: arrays of the file.
        about: what the bundle holds.
        where: path of the file, for messages.
        prefix: what precedes the name of a state in the file.

    Raises:
        EdgeError: a state is missing, of another shape or dtype, or not finite.
    """
    for name, right in about.state.items():
        array = stored[prefix + name]
        if array.shape != right.shape or array.dtype != right.dtype:
            raise EdgeError(f"{where}: {name} should be {_text(right)}, not {array.dtype} {array.shape}")
        if not finite(array):
            raise EdgeError(f"{where}: {name} has values that are not finite (NaN or infinite)")
        yield name, array


def finite(array: Array) -> bool:
    """Return whether all values are finite.

    >>> finite(np.array([1.0, np.inf])), finite(np.arange(3))
    (False, True)
    """
    if array.dtype.kind != "f":
        return True
    flat = array.reshape(-1)
    with np.errstate(all="ignore"):
        # a sum of squares is fast, and finite only if all values are; those of large values overflow
        return bool(np.isfinite(flat @ flat) or np.isfinite(flat).all())


def _text(state: State) -> str:
    return f"{state.dtype} {state.shape}"


def _about(file: Path) -> About:
    try:
        made = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EdgeError(f"{file}: cannot be read as JSON: {reason(error)}") from error
    version = made.get("format") if isinstance(made, dict) else None
    if version != FORMAT:
        raise EdgeError(
            f"{file}: is of format {version!r}, but this version of ffcore.edge reads format {FORMAT}"
        )
    if "checksum" in made and made["checksum"] != checksum(made):
        raise EdgeError(f"{file}: has been changed (its checksum is another); copy the bundle again")
    if made.get("engine") == "torch":
        raise EdgeError(f"{file}: its graphs are programs of torch; export to ONNX")
    try:
        return parsed(made)
    except KeyError as error:
        raise EdgeError(f"{file}: has no {error.args[0]!r}, which format {FORMAT} needs") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise EdgeError(f"{file}: is not of format {FORMAT}: {reason(error)}") from error


def checksum(about: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content of ``bundle.json``, without its own."""
    rest = {key: value for key, value in about.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _refuse_changed(path: Path, sha: str, size: int) -> None:
    try:
        found = path.stat().st_size
        if found != size:
            raise EdgeError(f"{path}: has {found} bytes instead of {size}; copy the bundle again")
        if sha256(path) != sha:
            raise EdgeError(f"{path}: has been changed (its SHA-256 is another); copy the bundle again")
    except OSError as error:
        raise EdgeError(
            f"{path}: is missing or unreadable: {reason(error)}; copy the bundle again"
        ) from error
