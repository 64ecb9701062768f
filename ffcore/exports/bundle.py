"""Bundles: directories that a runtime without torch learns and predicts from; see `ffcore.edge`.

bundle.json     what the files hold, in the order in which a step needs it
predict.onnx    (samples, weights) → scores
learn*.onnx     (samples, targets, state, random numbers) → (new state, losses); one graph, or one a block
weights.npz     the state: weights, buffers, optimiser state, sums of closed forms
golden.npz      a step that torch has taken, for the check when a bundle is loaded
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import ffcore
from ffcore.errors import UserError, shortened
from ffcore.run.directory import refuse_read_only

FORMAT = 1
GOLDEN, WEIGHTS, ABOUT = "golden.npz", "weights.npz", "bundle.json"
_OWN = re.compile(r"bundle\.json|weights\.npz|golden\.npz|(predict|learn[a-z0-9-]*)\.(onnx|pt2)")
SAMPLES = 64
"""Most values of a state that the golden step compares."""


class Bundle:
    """Collects the files of a bundle; `write` puts them into a directory at once.

    Attributes:
        about: the content of ``bundle.json``, without the files.
    """

    def __init__(self) -> None:
        self.about: dict[str, Any] = {"format": FORMAT, "made_by": f"ffcore {ffcore.__version__}"}
        self._files: dict[str, Callable[[Path], object]] = {}

    def graph(self, name: str, model: Any) -> None:
        """Add an ONNX model."""
        content: bytes = model.SerializeToString()
        self.add(name, lambda path: path.write_bytes(content))

    def arrays(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add arrays."""

        def write(path: Path) -> None:
            with path.open("wb") as file:  # savez would append .npz to a path
                whole: Any = {key: np.asarray(value) for key, value in arrays.items()}
                np.savez(file, **whole)

        self.add(name, write)

    def add(self, name: str, write: Callable[[Path], object]) -> None:
        """Add a file.

        Args:
            name: its name.
            write: writes it to a path.
        """
        self._files[name] = write

    def write(self, folder: Path, overwrite: bool = False) -> Path:
        """Write the directory; an existing bundle is replaced only when the new one is complete.

        Raises:
            UserError: when the directory exists and should not be replaced, or cannot be written.
        """
        refuse_existing(folder, overwrite)
        draft = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(mkdtemp(prefix=f".{folder.name[:40]}-", suffix=".tmp", dir=folder.parent))
            made = draft / "bundle"
            made.mkdir()  # with the permissions of the user, which a temporary directory does not have
            files = {}
            for name, write in self._files.items():
                write(made / name)
                content = (made / name).read_bytes()
                files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            about = {**self.about, "files": files}
            about["checksum"] = checksum(about)
            text = json.dumps(about, indent=1, ensure_ascii=False)
            (made / ABOUT).write_text(text, encoding="utf-8")
            if folder.exists():
                folder.rename(draft / "old")
            made.rename(folder)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UserError(f"{shortened(str(folder), 200)} cannot be written: {reason}") from error
        finally:
            if draft is not None:
                shutil.rmtree(draft, ignore_errors=True)
        return folder


def checksum(about: Mapping[str, Any]) -> str:
    """Return the SHA-256 of the content of ``bundle.json``, without its own."""
    rest = {key: value for key, value in about.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def refuse_unwritable(folder: Path) -> None:
    """Raise if no directory can be made at a path; otherwise that would be found after minutes of tracing.

    Raises:
        UserError: with the parent that is a file, or that the user may not write to.
    """
    parent = next(each for each in folder.absolute().parents if each.exists())
    if not parent.is_dir():
        raise UserError(f"{shortened(str(folder), 200)} cannot be written: {parent} is not a directory")
    refuse_read_only(parent)


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise if a directory should not be replaced by a bundle.

    Raises:
        UserError: when it exists and ``overwrite`` is False, or it is not a bundle.
    """
    where = shortened(str(folder), 200)
    if not folder.exists():
        return
    if not overwrite:
        raise UserError(f"{where} already exists; choose another path, or overwrite it (--overwrite)")
    if folder.is_symlink() or not (folder / ABOUT).is_file():
        raise UserError(f"{where} is not a bundle, so it is not overwritten")
    others = [each.name for each in folder.iterdir() if not _OWN.fullmatch(each.name)]
    if others:
        raise UserError(f"{where} has other files, such as {min(others)!r}, so it is not overwritten")


def sampled(value: Tensor) -> NDArray[np.float64]:
    """Return at most `SAMPLES` values at equal distances, as float64."""
    flat = value.detach().double().reshape(-1).numpy()
    index = np.linspace(0, flat.size - 1, min(flat.size, SAMPLES)).astype(int)
    made: NDArray[np.float64] = flat[index]
    return made
