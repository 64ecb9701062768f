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
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

import ffcore
from ffcore.errors import UserError, shortened

FORMAT = 1
GOLDEN, WEIGHTS, ABOUT = "golden.npz", "weights.npz", "bundle.json"
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
        if folder.exists():
            refuse_existing(folder, overwrite)
        draft = folder.with_name(f".{folder.name}.tmp")
        try:
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            files = {}
            for name, write in self._files.items():
                write(draft / name)
                content = (draft / name).read_bytes()
                files[name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
            text = json.dumps({**self.about, "files": files}, indent=1, ensure_ascii=False)
            (draft / ABOUT).write_text(text, encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            draft.rename(folder)
        except OSError as error:
            shutil.rmtree(draft, ignore_errors=True)
            raise UserError(f"{shortened(str(folder), 200)} cannot be written: {error.strerror}") from error
        return folder


def refuse_existing(folder: Path, overwrite: bool) -> None:
    """Raise if a directory should not be replaced by a bundle.

    Raises:
        UserError: when it exists and ``overwrite`` is False, or it is not a bundle.
    """
    where = shortened(str(folder), 200)
    if not folder.exists():
        return
    if not overwrite:
        raise UserError(f"{where} already exists; choose another path, or overwrite it")
    if not (folder / ABOUT).is_file():
        raise UserError(f"{where} is not a bundle, so it is not overwritten")


def sampled(value: Tensor) -> NDArray[np.float64]:
    """Return at most `SAMPLES` values at equal distances, as float64."""
    flat = value.detach().double().reshape(-1).numpy()
    index = np.linspace(0, flat.size - 1, min(flat.size, SAMPLES)).astype(int)
    made: NDArray[np.float64] = flat[index]
    return made
