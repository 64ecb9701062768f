"""A trained network adapts on a device: its camera has moved, so that images are shifted by a pixel.

    python docs/examples/edge_adapt.py

The network is trained with torch on scikit-learn's digits and exported. On the device, with NumPy and ONNX
Runtime only, it learns from a stream of 400 labelled shifted images, each of them once. With ordinary images
from a small memory among them, it forgets less.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits


def workstation(folder: Path, x: np.ndarray, y: np.ndarray) -> None:
    """Train a network, and export it with its weights."""
    import torch

    import ffcore
    from ffcore.exports import Training

    layers = [{"kind": "dense", "units": 200, "repeat": 2}]
    net = ffcore.from_recipe("digits/mono-forward", shape=(1, 8, 8), classes=10, network=layers)
    samples, targets = torch.tensor(x), torch.tensor(y)
    order = torch.Generator().manual_seed(0)
    for _ in range(10):
        for rows in torch.randperm(len(x), generator=order).split(25):
            net.learn(samples[rows], targets[rows])
    ffcore.export(net, folder, training=Training(batch_size=25))


def shifted(x: np.ndarray) -> np.ndarray:
    """Return images that are shifted to the right by one pixel."""
    return np.pad(x, ((0, 0), (0, 0), (0, 0), (1, 0)))[..., :-1]


def device(
    bundle: Path, x: np.ndarray, y: np.ndarray, test: tuple[np.ndarray, np.ndarray], kept: int
) -> dict:
    """Learn from a stream; return accuracies on ordinary and shifted test images, before and after.

    The first ``kept`` samples are the memory, the others the stream.
    """
    from ffcore.edge import Learner, load

    learner = Learner(load(bundle))
    random = np.random.default_rng(0)

    def measured() -> tuple[float, float]:
        return learner.evaluate(test[0], test[1]), learner.evaluate(shifted(test[0]), test[1])

    before = measured()
    for first in range(kept, len(x), 5):
        images, labels = shifted(x[first : first + 5]), y[first : first + 5]
        if kept:
            old = random.integers(kept, size=5)
            images, labels = np.concatenate([images, x[old]]), np.concatenate([labels, y[old]])
        learner.step(images, labels)
    return {"before": before, "after": measured()}


def main() -> dict:
    """Return the accuracies without and with a memory of 100 ordinary images."""
    data = load_digits()
    order = np.random.default_rng(0).permutation(len(data.target))
    x, y = data.images[order, None].astype(np.float32) / 16, data.target[order]
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "digits"
        workstation(bundle, x[:1000], y[:1000])
        test = x[1400:], y[1400:]
        found = {
            "without memory": device(bundle, x[1000:1400], y[1000:1400], test, kept=0),
            "with 100 ordinary images": device(bundle, x[900:1400], y[900:1400], test, kept=100),
        }
    for how, accuracies in found.items():
        for when, (ordinary, moved) in accuracies.items():
            print(f"{how}, {when}: {ordinary:.3f} on ordinary images, {moved:.3f} on shifted ones")
    return found


if __name__ == "__main__":
    main()
