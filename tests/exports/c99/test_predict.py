"""Scores and classes in C are those of the network."""

import numpy as np
import pytest
import torch
from torch import nn

import ffcore
from ffcore.exports.c99 import write_c
from tests.exports.c99.conftest import digits_net, projection_net

X = torch.rand(60, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def dense(activation, *units, **more):
    return [{"kind": "dense", "units": each, "activation": activation, **more} for each in units]


NETWORKS = {
    "as the recipe": {},
    "relu-pass-through": {"network": dense("relu-pass-through", 17, 12, 9)},
    "leaky-relu": {"network": dense("leaky-relu", 17, 12, 9)},
    "tanh": {"network": dense("tanh", 17, 12, 9)},
    "identity": {"network": dense("identity", 17, 12, 9)},
    "no bias": {"network": dense("relu", 17, 12, bias=False)},
    "one block": {"network": dense("relu", 30)},
    "activations that differ": {"network": dense("relu", 17) + dense("tanh", 20) + dense("identity", 5)},
    "mean-squares": {"block.goodness": "mean-squares"},
    "negative-sum-squares": {"block.goodness": "negative-sum-squares"},
    "mean-absolute": {"block.goodness": "mean-absolute"},
    "max": {"block.goodness": "max"},
    "l2": {"block.handoff": "l2"},
    "identity handoff": {"block.handoff": "identity"},
    "eps": {"block.handoff": {"kind": "rms", "eps": 0.1}},
    "sum": {"contribution": "sum"},
    "mean": {"contribution": "mean"},
    "last": {"contribution": "last"},
    "strength": {"algorithm.labels": {"kind": "overlay", "strength": 3.0}},
    "normalise l2": {"algorithm.labels": {"kind": "overlay", "normalise": "l2"}},
    "normalise none": {"algorithm.labels": {"kind": "overlay", "normalise": "none"}},
    "prefix": {"algorithm.labels": {"kind": "prefix", "strength": 2.0}},
}


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("learn", [True, False], ids=["learns", "constant weights"])
def test_scores_and_classes_are_those_of_the_network(compiled, changes, learn):
    net = digits_net(**changes)
    classes, scores = compiled(net, learn=learn).predict(X)
    np.testing.assert_allclose(scores, net.scores(X).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(classes, net.predict(X).numpy())


def test_an_odd_number_of_classes_and_layers_of_torch(compiled):
    bodies = [nn.Sequential(nn.Flatten(), nn.Linear(64, 11), nn.Tanh()), nn.Linear(11, 7)]
    blocks = [ffcore.LocalBlock(body, "sum-squares", objective="logistic", handoff="rms") for body in bodies]
    net = ffcore.Network(blocks, "forward-forward", example=X[:2], classes=7, contribution="sum")
    classes, scores = compiled(net, learn=False).predict(X)
    np.testing.assert_allclose(scores, net.scores(X).numpy(), rtol=1e-4)
    np.testing.assert_array_equal(classes, net.predict(X).numpy())


def test_a_network_of_one_pass(compiled):
    net = projection_net()
    classes, scores = compiled(net, learn=False, name="one").predict(X)
    np.testing.assert_allclose(scores, net.scores(X).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(classes, net.predict(X).numpy())


def test_weights_in_float64_are_rounded(compiled):
    net = digits_net().double()
    _, scores = compiled(net, learn=False).predict(X)
    np.testing.assert_allclose(scores, net.scores(X.double()).numpy(), rtol=1e-4)


def test_constant_weights_are_in_flash(tmp_path):
    header, source = write_c(digits_net(), tmp_path, learn=False)
    assert "extern const float ffnet_weights[" in header.read_text()
    assert "learn(" not in source.read_text()
