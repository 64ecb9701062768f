"""Networks, data and changes that the measurements of learning on devices share."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / "docs" / "results" / "edge.json"
PICTURES = ROOT / "docs" / "pictures"
PAGE = Path(__file__).parent / "edge.md.in"
SMALL = [{"kind": "dense", "units": 500, "repeat": 3}]
MNIST = {"network": SMALL}
"""3×500 in place of the 3×1000 of mnist/ff."""

# the shapes, the overrides and the epochs of the accuracy of each case
DIGITS = ((1, 8, 8), {})
CASES: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {
    "digits/ff": DIGITS,
    "digits/mono-forward": DIGITS,
    "digits/channel": DIGITS,
    "digits/forward-projection": DIGITS,
    "mnist/ff": ((1, 28, 28), MNIST),
    "cifar10/channel-small": ((3, 32, 32), {}),
}
EPOCHS = {
    "digits/ff": 20,
    "digits/mono-forward": 20,
    "digits/channel": 20,
    "digits/forward-projection": 3,
    "mnist/ff": 5,
}
ENGINES = {"ONNX Runtime": False, "int8": True}
MADE = ("ONNX Runtime", "graph per block", "fixed rows", "int8")
CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted": lambda x: 255 - x,
    "shifted by 4 pixels": lambda x: np.pad(x, ((0, 0), (0, 0), (0, 0), (4, 0)))[..., :-4],
}
IMAGES = (500, 2_000, 10_000)
BATCH = 20
MEASURED = (100, 200, 500, 1_000, 2_000, 5_000, 10_000)
ADAM = {"data.kind": "mnist", "data.batch_size": 100, "data.validation": 10_000}
NETS: dict[str, tuple[str, dict[str, Any]]] = {
    "Mono-Forward, Adam": ("mnist/mono-forward", {"data.validation": 10_000}),
    "Forward-Forward, Adam": ("digits/ff", ADAM),
    "Forward-Forward, SGD": ("mnist/ff", {}),
}
"""Networks of 3×500 that adapt; the first one is drawn."""
TINY, LARGE = "3×4", "3×2000"
HELD: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    f"Forward-Forward, {TINY}": ("digits/ff", (1, 8, 8), 4),
    "`digits/ff`, 3×500": ("digits/ff", (1, 8, 8), None),
    "`mnist/ff`, 3×500": ("mnist/ff", (1, 28, 28), 500),
    f"Forward-Forward of 1×28×28, {LARGE}": ("digits/ff", (1, 28, 28), 2000),
    "`cifar10/channel-small`": ("cifar10/channel-small", (3, 32, 32), None),
}
"""Networks whose memory is measured: recipe, shape, units of three layers in place of the recipe's."""
RETURNED = {"MALLOC_MMAP_THRESHOLD_": "65536"}
BLOCKS = ("rows", "per_block")
KINDS: dict[str, tuple[tuple[str, ...], bool, dict[str, str]]] = {
    "one graph": ((), True, {}),
    "one graph, fixed rows": (("rows",), True, {}),
    "a graph per block, fixed rows": (BLOCKS, True, {}),
    "a graph per block, sessions dropped": (BLOCKS, False, {}),
    "a graph per block, sessions dropped, `MALLOC_MMAP_THRESHOLD_=65536`": (BLOCKS, False, RETURNED),
}
"""Options of the export, whether sessions are kept, and environment variables."""
Kept = Iterator[tuple[tuple[str, ...], Any]]
"""Figures with the keys under which they are kept."""


@contextmanager
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as made:
        yield Path(made)
