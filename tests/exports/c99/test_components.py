"""A component of one's own with a C form: what a plugin author writes."""

import numpy as np
import torch

import ffcore
from ffcore.interfaces import Goodness, Objective, c99
from tests.exports.c99.conftest import digits_net, one_sample, weights_of

X = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(6))


class LogCosh(Goodness):
    """G = Σ ln cosh h, ∂G/∂h = tanh h."""

    def forward(self, activity):
        return activity.cosh().log().sum(1)

    def c99(self):
        return c99.Energy(
            "float sum = 0.0f;\n"
            "for (uint32_t i = 0u; i < units; ++i) {\n"
            "    sum += logf(coshf(h[i]));\n"
            "}\n"
            "return sum;",
            "return tanhf(h[j]);",
        )


class Hinge(Objective):
    """max(0, 1 − G⁺ + G⁻)."""

    accepts = "energy"

    def forward(self, goodness, views):
        return (1 - views.of(goodness, "positive") + views.of(goodness, "negative")).relu().mean()

    def c99(self):
        return c99.ContrastLoss(
            "const float loss = 1.0f - positive + negative;\n"
            "*up_positive = loss > 0.0f ? -1.0f : 0.0f;\n"
            "*up_negative = loss > 0.0f ? 1.0f : 0.0f;\n"
            "return fmaxf(loss, 0.0f);"
        )


def test_its_scores_and_steps(compiled):
    net = digits_net(**{"block.goodness": LogCosh(), "block.objective": Hinge()})
    net.local.optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.02)
    in_c = compiled(net)
    np.testing.assert_allclose(in_c.predict(X)[1], net.scores(X).numpy(), rtol=1e-5)
    for i, x in enumerate(X):
        steps = one_sample(net, x, i % 10, (i + 3) % 10)
        losses = in_c.learn(x, i % 10, (i + 3) % 10)[1]
        np.testing.assert_allclose(
            losses, [float(s.losses["objective"]) for s in steps], rtol=1e-3, atol=1e-5
        )
    np.testing.assert_allclose(in_c.weights, weights_of(net), atol=1e-6)


def test_blocks_that_differ_choose_by_their_index(compiled):
    network = [
        {"kind": "dense", "units": 12, "block": {"goodness": "max", "handoff": "l2"}},
        {"kind": "dense", "units": 12, "activation": "tanh", "block": {"goodness": LogCosh()}},
        {
            "kind": "dense",
            "units": 9,
            "block": {"handoff": "identity", "objective": {"kind": "symba", "alpha": 1}},
        },
        {"kind": "dense", "units": 7},
    ]
    net = digits_net(network=network, contribution="sum")
    net.local.optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.02)
    in_c = compiled(net)
    for i, x in enumerate(X):
        one_sample(net, x, i % 10, (i + 3) % 10)
        in_c.learn(x, i % 10, (i + 3) % 10)
    np.testing.assert_allclose(in_c.weights, weights_of(net), atol=1e-6)
    np.testing.assert_allclose(in_c.predict(X)[1], net.scores(X).numpy(), rtol=1e-4)
