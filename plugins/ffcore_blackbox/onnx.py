"""An ONNX model as a black box."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.errors import RunError, a, closest, one_line
from ffcore.interfaces import BlackBox, Context
from ffcore.options import Count, FilePath, Threads, expanded
from ffcore_blackbox.arrays import array

_DTYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(float16)": "float16"}


class Onnx(BlackBox):
    """An ONNX model with one input, run by ONNX Runtime.

    Args:
        path: the model file.
        threads: number of threads of the runtime.
        rows: maximum number of rows of one call; None: any number.
        output: name of the output that is used, or several names, whose rows are flattened and joined; None:
            the first. Converted classifiers of scikit-learn give labels first and probabilities second.
    """

    examples = ({"path": str(Path(__file__).with_name("relu.onnx"))},)
    example_needs = "onnxruntime"

    def __init__(
        self,
        path: FilePath,
        threads: Threads = 1,
        rows: Count | None = None,
        output: str | Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        path = expanded(path)
        self.path, self.threads, self.limit = path, threads, rows
        if not os.path.isfile(path):
            raise ValueError(f"path: there is no file {path!r}")
        self._session: Any = self._open()
        inputs = self._session.get_inputs()
        if len(inputs) != 1:
            raise ValueError(f"path: {path!r} has {len(inputs)} inputs; a black box has one")
        if inputs[0].type not in _DTYPES:
            raise ValueError(f"path: {path!r} expects {inputs[0].type}; a black box gets real numbers")
        outputs = [each.name for each in self._session.get_outputs()]
        names = outputs[:1] if output is None else [output] if isinstance(output, str) else list(output)
        for name in names:
            if name not in outputs:
                raise ValueError(f"output: {path!r} has no output {name!r}{closest(name, outputs)}")
        if not names:
            raise ValueError("output: is empty")
        self.outputs = names
        self.input, self.dtype = inputs[0].name, _DTYPES[inputs[0].type]
        self.wants = tuple(inputs[0].shape[1:])

    def setup(self, context: Context) -> None:
        """See `ffcore.interfaces.BlackBox.setup`.

        Raises:
            ValueError: when the model expects samples of another shape.
        """
        wants, shape = self.wants, context.shape
        fits = len(wants) == len(shape) and all(
            not isinstance(side, int) or side == ours for side, ours in zip(wants, shape, strict=True)
        )
        if not fits:
            raise ValueError(f"path: {self.path!r} expects samples of shape {wants}, but they have {shape}")

    def forward(self, x: Tensor) -> Tensor:
        """(R, *shape) → (R, *shape')."""
        if self._session is None:
            self._session = self._open()
        rows = array(x).astype(self.dtype, copy=False)
        made = self._session.run(self.outputs, {self.input: rows})
        for name, each in zip(self.outputs, made, strict=True):
            if not isinstance(each, np.ndarray):
                raise RunError(
                    f"output {name!r} is {a(type(each).__name__)}, not an array; convert the model without "
                    "ZipMap, or name another output"
                )
        if len(made) == 1:
            return torch.from_numpy(made[0])
        return torch.cat([torch.from_numpy(each).reshape(len(rows), -1).double() for each in made], dim=1)

    def close(self) -> None:
        """Release the session; the next call opens a new one."""
        self._session = None

    def __getstate__(self) -> dict[str, Any]:
        """Return the state for copies, without the session, which cannot be copied."""
        return {**self.__dict__, "_session": None}

    def _open(self) -> Any:
        try:
            import onnxruntime
        except ImportError as error:
            raise ValueError(
                "ONNX models need ONNX Runtime, which is not installed: pip install ffcore[onnx]"
            ) from error
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.log_severity_level = 3  # errors only
        try:
            return onnxruntime.InferenceSession(self.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            message = one_line(error, 200)
            raise ValueError(f"path: {self.path!r} is not an ONNX model: {message}") from error
