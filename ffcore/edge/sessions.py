"""ONNX Runtime: sessions that are made when a graph first runs."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from ffcore.edge.errors import EdgeError, StoppedError, reason

_OPERATOR = re.compile(
    r"(?:No Op registered for |implementation for |of operator \()([\w.:]+)"
    r"|([\w.:]+)\(-?\d+\) is not a registered"
)


@cache
def _share_arena() -> None:
    """Give all sessions of the process one arena, which grows by what is asked for."""
    kind, use = onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, onnxruntime.OrtMemType.DEFAULT
    cpu = onnxruntime.OrtMemoryInfo("Cpu", kind, 0, use)
    onnxruntime.create_and_register_allocator(cpu, onnxruntime.OrtArenaCfg(_ARENA))


_ARENA = {"arena_extend_strategy": 1, "initial_chunk_size_bytes": -1, "max_dead_bytes_per_chunk": -1}
"""Strategy 1: as much as a graph asks for, not the next power of two; −1: the engine's default."""


class Sessions:
    """Runs the graphs of a directory.

    Args:
        folder: the directory.
        threads: threads of an operator.
        keep: whether a session is kept after use. Without it, memory holds one graph at a time, and every run
            makes its session anew.
    """

    def __init__(self, folder: Path, threads: int = 1, keep: bool = True) -> None:
        self.folder, self.threads, self.keep = folder, threads, keep
        self._made: dict[str, Any] = {}

    def run(self, file: str, outputs: Sequence[str], inputs: Mapping[str, Any]) -> list[Any]:
        """Run a graph.

        Args:
            file: its file.
            outputs: names of the results.
            inputs: an OrtValue for each input.

        Returns:
            An OrtValue for each result; nothing is copied.

        Raises:
            EdgeError: the engine cannot load the graph; an operator that it lacks is named.
            StoppedError: the engine failed while it ran the graph.
        """
        session = self._made.get(file) or self._session(file)
        if self.keep:
            self._made[file] = session
        try:
            made: list[Any] = session.run_with_ort_values(list(outputs), dict(inputs))
        except Exception as error:  # the engine's exceptions have no common base but this one
            raise StoppedError(f"{self.folder / file}: the engine failed: {reason(error)}") from error
        return made

    def _session(self, file: str) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self.threads, 1
        options.log_severity_level = 3
        options.enable_mem_pattern = False
        # an arena would keep the memory of a dropped session for as long as any of its results is in use
        options.enable_cpu_mem_arena = self.keep
        if self.keep:
            _share_arena()
            options.add_session_config_entry("session.use_env_allocators", "1")
        path = self.folder / file
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:
            found = _OPERATOR.search(str(error))
            version = f"ONNX Runtime {onnxruntime.__version__}"
            if found:
                name = found[1] or found[2]
                text = f"{version} has no operator {name} of this form; use a newer version"
            else:
                text = f"{version} cannot load the graph: {reason(error)}"
            raise EdgeError(f"{path}: {text}") from error


def value(array: Any) -> Any:
    """Return an OrtValue of an array; it refers to the array's memory where that is contiguous."""
    # not ascontiguousarray: it would turn () into (1,)
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))
