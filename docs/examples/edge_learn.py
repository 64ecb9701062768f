"""Learning on a device without torch: from random weights, with NumPy and ONNX Runtime.

    python docs/examples/edge_learn.py

The workstation exports a Forward-Forward network with random weights. A second process, which never imports
torch, learns scikit-learn's digits, saves its state, resumes, and tests. On a real device, copy the bundle
and ``pip install ./ffcore/edge``.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


def workstation(folder: Path) -> None:
    """Export a bundle, and write the data files that a device would collect."""
    from sklearn.datasets import load_digits

    import ffcore
    from ffcore.exports import Training

    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.images[order, None].astype(np.float32) / 16, data.target[order]
    np.savez(folder / "train.npz", x=x[:1400], y=y[:1400])
    np.savez(folder / "test.npz", x=x[1400:], y=y[1400:])
    layers = [{"kind": "dense", "units": 200, "repeat": 2}]
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10, network=layers)
    ffcore.export(net, folder / "digits", training=Training(epochs=8, batch_size=25))


def printed(result: Any) -> None:
    """Print the losses of an epoch."""
    losses = ", ".join(f"{block} {loss:.3f}" for block, loss in result.losses.items())
    print(f"epoch {result.epoch + 1}: {losses}")


def device(folder: Path) -> float:
    """Learn, save, resume, and return the accuracy on test images."""
    from ffcore.edge import Learner, load

    train, test = np.load(folder / "train.npz"), np.load(folder / "test.npz")
    learner = Learner(load(folder / "digits"))  # checks the files, and a step that torch has taken
    print(f"random weights: test accuracy {learner.evaluate(**test):.3f}")
    learner.learn(**train, epochs=4, on_epoch=printed)
    learner.save(folder / "state.npz")

    again = Learner(load(folder / "digits"))  # as after a restart of the device
    again.resume(folder / "state.npz")
    again.learn(**train, epochs=4)
    learner.learn(**train, epochs=4)
    assert all((again.value(name) == value).all() for name, value in learner.items())  # bit for bit
    assert "torch" not in sys.modules
    return again.evaluate(**test)


def main() -> float:
    """Run both parts; return the accuracy that the device has printed."""
    with tempfile.TemporaryDirectory() as folder:
        workstation(Path(folder))
        command = [sys.executable, __file__, folder]
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    print(output, end="")
    return float(output.split()[-1])


if __name__ == "__main__":
    if sys.argv[1:]:
        print(f"test accuracy {device(Path(sys.argv[1])):.3f}")
    else:
        assert main() > 0.9
