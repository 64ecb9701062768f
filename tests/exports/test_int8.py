"""Forward passes in eight bits."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

import ffcore
from ffcore.errors import UserError
from ffcore.exports import Training, export
from ffcore.exports.int8 import stored
from tests.exports.conftest import network, samples

edge = pytest.importorskip("ffcore.edge")
pytest.importorskip("onnxruntime")


def test_stored_weights_are_integers_times_a_scale() -> None:
    made = stored({"w": np.float32([[2.54, -1.27], [0.01, 0.0]]), "b": np.float32([1])}, {"w": 0})
    assert made["w"].dtype == np.int8
    assert made["w"].tolist() == [[127, -64], [127, 0]]  # -63.5 rounds to even
    assert made["w/scale"] == pytest.approx([0.02, 0.01 / 127])
    assert made["b"].tolist() == [1]


@pytest.mark.thorough
def test_weights_of_a_prediction_take_a_quarter_of_the_memory(tmp_path: Path) -> None:
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=4)
    sizes = [
        (export(net, tmp_path / str(int8), "predict", int8=int8) / "weights.npz").stat().st_size
        for int8 in (False, True)
    ]
    assert sizes[1] < 0.27 * sizes[0]


def test_scores_in_eight_bits_are_close_to_those_of_torch(tmp_path: Path) -> None:
    net = network("local error signals")
    learner = edge.Learner(edge.load(export(net, tmp_path / "b", "predict", int8=True)))
    x, _ = samples(50)
    scores, expected = learner.scores(x.numpy()), net.scores(x).numpy()
    assert 0 < np.abs(scores - expected).max() < 0.03 * np.abs(expected).max()


@pytest.mark.thorough
def test_a_network_learns_digits_in_eight_bits(tmp_path: Path) -> None:
    digits = load_digits()
    x, y = (digits.images[:, None] / 16).astype(np.float32), digits.target.astype(np.int64)
    net = ffcore.from_recipe(
        "digits/ff", shape=(1, 8, 8), classes=10, network=[{"kind": "dense", "units": 100, "repeat": 2}]
    )
    folder = export(net, tmp_path / "b", int8=True, training=Training(epochs=10, batch_size=25))
    used = json.loads((folder / "bundle.json").read_text())["operators"]["learn.onnx"]
    assert used["MatMulInteger"] >= 2
    learner = edge.Learner(edge.load(folder))
    test = np.arange(len(y)) % 5 == 0
    learner.learn(x[~test], y[~test], epochs=10)
    assert learner.evaluate(x[test], y[test]) > 0.9


def test_a_network_without_weights_in_products_is_refused(tmp_path: Path) -> None:
    block = ffcore.LocalBlock(Scale(), "logits", objective="cross-entropy")
    net = ffcore.Network([block], algorithm="local-errors", example=torch.rand(2, 4), classes=4)
    with pytest.raises(UserError, match="int8: no product has a weight among its factors"):
        export(net, tmp_path / "b", "predict", int8=True)


class Scale(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.factor
