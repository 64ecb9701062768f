"""Compiles generated C and calls it from Python."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

import ffcore
from ffcore.exports.c99 import write_c

STRICT = [
    "-std=c99",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-pedantic",
    "-Wconversion",
    "-Wdouble-promotion",
    "-Wshadow",
]
FAST = ("-O2", "-ffp-contract=off")
SMALL = [{"kind": "dense", "units": units} for units in (24, 20, 16)]


def compiler() -> str:
    found = shutil.which("cc")
    if found is None:
        pytest.skip("no C compiler cc on this machine")
    return found


def compile_c(source: Path, target: Path, *flags: str) -> Path:
    command = [compiler(), *STRICT, *(flags or FAST), str(source), "-o", str(target), "-lm"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


def floats(array: np.ndarray):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_float))


class C:
    """A compiled network."""

    def __init__(self, library: Path, net: ffcore.Network, name: str) -> None:
        self.name, self.net = name, net
        self.library = ctypes.CDLL(str(library))

    def call(self, function: str, *arguments, gives=ctypes.c_int):
        found = self.library[f"{self.name}_{function}"]
        found.restype = gives
        return found(*arguments)

    def array(self, name: str, count: int, kind=ctypes.c_float) -> np.ndarray:
        """A view of an array of the library."""
        return np.ctypeslib.as_array((kind * count).in_dll(self.library, f"{self.name}_{name}"))

    @property
    def weights(self) -> np.ndarray:
        return self.array("weights", len(weights_of(self.net)))

    def predict(self, x: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Classes (N,) and scores (N, K) of samples."""
        rows = np.ascontiguousarray(x.flatten(1).numpy(), np.float32)
        scores = np.zeros((len(rows), self.net.classes), np.float32)
        made = [self.call("predict", floats(row), floats(out)) for row, out in zip(rows, scores, strict=True)]
        return np.array(made), scores

    def learn(self, x: torch.Tensor, label: int, wrong: int) -> tuple[float, np.ndarray]:
        """The sum and the losses of a step on one sample."""
        row = np.ascontiguousarray(x.flatten().numpy(), np.float32)
        losses = np.full(len(self.net.blocks), -1, np.float32)
        arguments = (floats(row), int(label), int(wrong), floats(losses))
        return self.call("learn", *arguments, gives=ctypes.c_float), losses

    def accumulate(self, x: torch.Tensor, y: torch.Tensor) -> None:
        rows = np.ascontiguousarray(x.flatten(1).numpy(), np.float32)
        for row, label in zip(rows, y.tolist(), strict=True):
            assert self.call("accumulate", floats(row), label) == 0


def one_sample(net: ffcore.Network, x: torch.Tensor, label: int, wrong: int):
    """One step of the network on a batch of one sample with a given wrong label."""
    return ffcore.one_step(net, x[None], torch.tensor([label]), negatives=(x[None], torch.tensor([wrong])))


def weights_of(net: ffcore.Network) -> np.ndarray:
    """The weights in the order of the C code."""
    return np.concatenate([p.detach().numpy().reshape(-1) for b in net.blocks for p in b.body.parameters()])


def digits_net(**changes) -> ffcore.Network:
    return ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10, **{"network": SMALL, **changes})


def projection_net(units: int = 30, recipe: str = "digits/forward-projection", **changes) -> ffcore.Network:
    changes |= {"network.0.units": units}
    return ffcore.from_recipe(recipe, shape=(1, 8, 8), classes=10, **changes)


@pytest.fixture
def compiled(tmp_path):
    """Writes a network, compiles it with all warnings as errors, and loads it."""
    compiler()

    def make(net: ffcore.Network, *flags: str, name: str = "ffnet", **options) -> C:
        folder = tmp_path / f"c{len(list(tmp_path.iterdir()))}"
        _, source = write_c(net, folder, name=name, **options)
        library = compile_c(source, folder / "net.so", "-shared", "-fPIC", *(flags or FAST))
        return C(library, net, name)

    return make
