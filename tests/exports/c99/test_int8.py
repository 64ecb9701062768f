"""Predictions in int8: bit for bit those of a NumPy reference in integers."""

import numpy as np
import pytest
import torch
from torch import nn

import ffcore
from ffcore.data.digits import Digits
from ffcore.errors import UserError
from ffcore.exports.c99 import write_c
from ffcore.exports.c99.int8 import multiplied
from tests.exports.c99.conftest import digits_net, projection_net

SETS = Digits().load()
X = torch.from_numpy(SETS.test.x).float() / 16


def identity_net(units=10, layers=2):
    """A network of one pass without a normalisation: all its numbers are those of the integer layers."""
    blocks = [ffcore.LocalBlock(nn.Sequential(nn.Flatten(), nn.Linear(64, 31), nn.ReLU()))]
    blocks.append(ffcore.LocalBlock(nn.Linear(31, 10), "logits", objective="cross-entropy"))
    algorithm = {"kind": "local-errors", "output": False}
    return ffcore.Network(blocks, algorithm, example=X[:2], classes=10, schedule="one-window")


def reference(net, x):
    h = x.flatten(1).numpy()
    for block in net.blocks:
        linear = next(m for m in block.body.modules() if isinstance(m, nn.Linear))
        h = multiplied(h, linear.weight.detach().numpy(), linear.bias.detach().numpy())
        if block is net.blocks[0]:
            h = np.maximum(h, 0)
    return h


def test_scores_are_those_of_the_integer_reference_bit_for_bit(compiled):
    net = identity_net()
    classes, scores = compiled(net, learn=False, weights="int8").predict(X)
    right = reference(net, X)
    np.testing.assert_array_equal(scores.view(np.int32), right.view(np.int32))
    np.testing.assert_array_equal(classes, right.argmax(1))


def test_halves_and_rows_of_zeros(compiled):
    net = identity_net()
    with torch.no_grad():
        weight = net.blocks[0].body[1].weight
        weight[0] = 0
        weight[1] = torch.linspace(-127, 127, 64).round() / 2
    rows = torch.cat([torch.zeros(1, 1, 8, 8), torch.linspace(-127, 127, 64).view(1, 1, 8, 8) / 2, -X[:3]])
    _, scores = compiled(net, learn=False, weights="int8").predict(rows)
    np.testing.assert_array_equal(scores.view(np.int32), reference(net, rows).view(np.int32))


@pytest.mark.parametrize("make", [digits_net, projection_net])
def test_classes_are_nearly_those_of_float32(compiled, make):
    net = make()
    if make is digits_net:
        train, y = torch.from_numpy(SETS.train.x).float() / 16, torch.from_numpy(SETS.train.y)
        for rows in torch.arange(len(train)).split(25):
            net.learn(train[rows], y[rows])
    classes, scores = compiled(net, learn=False, weights="int8").predict(X)
    right = net.scores(X).numpy()
    assert np.abs(scores - right).max() < 0.05 * np.abs(right).max()
    assert (classes == right.argmax(1)).mean() > 0.9


def test_int8_does_not_learn(tmp_path):
    with pytest.raises(
        UserError, match=r"^c99: weights int8 do not learn; use learn=False \(ffcore export RUN"
    ):
        write_c(digits_net(), tmp_path, weights="int8")
