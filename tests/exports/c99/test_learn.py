"""A step in C is that of the network on a batch of one sample with the same wrong label."""

import ctypes

import numpy as np
import pytest
import torch

import ffcore
from tests.chosen import thorough_but
from tests.exports.c99.conftest import digits_net, one_sample, weights_of

X = torch.rand(200, 1, 8, 8, generator=torch.Generator().manual_seed(4))
LABELS = torch.arange(200) % 10
WRONG = (LABELS + 1 + torch.randint(9, (200,), generator=torch.Generator().manual_seed(5))) % 10

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
OPTIMISERS = {
    "sgd": (SGD, {"lr": 0.02}),
    "sgd, weight decay": (SGD, {"lr": 0.02, "weight_decay": 0.01}),
    "momentum": (SGD, {"lr": 0.01, "momentum": 0.9}),
    "momentum, dampening": (SGD, {"lr": 0.01, "momentum": 0.9, "dampening": 0.9, "weight_decay": 0.003}),
    "nesterov": (SGD, {"lr": 0.01, "momentum": 0.8, "nesterov": True}),
    "adam": (ADAM, {"lr": 1e-3}),
    "adam, options": (ADAM, {"lr": 1e-3, "betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.01}),
    "adamw": (ADAMW, {"lr": 1e-3, "weight_decay": 0.1}),
}
NETWORKS = {
    "tanh, l2": {
        "network": [{"kind": "dense", "units": units, "activation": "tanh"} for units in (19, 14)],
        "block.handoff": "l2",
        "contribution": "sum",
    },
    "relu-pass-through": {"network": [{"kind": "dense", "units": 25, "activation": "relu-pass-through"}]},
    "leaky-relu": {"network": [{"kind": "dense", "units": 25, "activation": "leaky-relu"}]},
    "no bias": {"network": [{"kind": "dense", "units": 25, "bias": False}]},
    "mean-squares": {
        "block.goodness": "mean-squares",
        "block.objective": {"kind": "logistic", "threshold": 2.0},
    },
    "negative-sum-squares": {"block.goodness": "negative-sum-squares"},
    "mean-absolute": {"block.goodness": "mean-absolute"},
    "max": {"block.goodness": "max", "block.objective": {"kind": "logistic", "temperature": 0.5}},
    "symba": {"block.objective": {"kind": "symba", "alpha": 0.3}},
    "identity handoff, prefix": {"block.handoff": "identity", "algorithm.labels": "prefix"},
    "hard negatives without readout": {"algorithm.labels": {"kind": "overlay", "normalise": "none"}},
}


def both(compiled, changes, make=ADAM, **options):
    net = digits_net(**changes)
    net.local.optimizers = ffcore.optimizers(net, make, **(options or {"lr": 1e-3}))
    return net, compiled(net)


def walk(net, in_c, samples):
    """Largest difference of a weight after each step."""
    worst = []
    for x, label, wrong in zip(X[samples], LABELS[samples], WRONG[samples], strict=True):
        steps = one_sample(net, x, int(label), int(wrong))
        total, losses = in_c.learn(x, label, wrong)
        right = [float(step.losses["objective"]) for step in steps]
        np.testing.assert_allclose(losses, right, rtol=2e-3, atol=1e-5)
        assert total == pytest.approx(sum(right), rel=2e-3, abs=1e-4)
        worst.append(float(np.abs(weights_of(net) - in_c.weights).max()))
    return worst


@pytest.mark.parametrize(("make", "options"), thorough_but(["momentum, dampening", "adam"], OPTIMISERS))
def test_steps_of_every_optimiser(compiled, make, options):
    net, in_c = both(compiled, {}, make, **options)
    before = in_c.weights.copy()
    worst = walk(net, in_c, slice(0, 200))
    assert worst[0] < 1e-6
    assert max(worst) < 1e-4
    assert np.abs(in_c.weights - before).max() > 1e-3
    classes, scores = in_c.predict(X)
    np.testing.assert_allclose(scores, net.scores(X).numpy(), rtol=1e-3)
    assert (classes == net.predict(X).numpy()).mean() > 0.98


@pytest.mark.parametrize("changes", thorough_but(["symba", "identity handoff, prefix"], NETWORKS))
def test_steps_of_every_component(compiled, changes):
    net, in_c = both(compiled, changes, SGD, lr=0.01, momentum=0.5)
    before = in_c.weights.copy()
    worst = walk(net, in_c, slice(0, 50))
    assert worst[0] < 1e-6
    assert max(worst) < 1e-4
    assert np.abs(in_c.weights - before).max() > 1e-4


@pytest.mark.parametrize(("make", "options"), [OPTIMISERS["adam"], OPTIMISERS["momentum, dampening"]])
def test_the_state_of_the_optimiser_continues(compiled, make, options):
    net = digits_net()
    optimizers = ffcore.optimizers(net, make, **options)
    for i in range(5):
        net.learn(X[i * 8 : i * 8 + 8], LABELS[i * 8 : i * 8 + 8], optimizers)
    assert max(walk(net, compiled(net), slice(0, 20))) < 1e-5


def test_learning_rates_of_blocks_and_their_change(compiled):
    net = digits_net()
    make = {"*": lambda p: SGD(p, lr=0.01), "dense2": lambda p: SGD(p, lr=0.05)}
    net.local.optimizers = ffcore.optimizers(net, make)
    in_c = compiled(net)
    assert max(walk(net, in_c, slice(0, 3))) < 1e-6
    for group in net.optimizers.param_groups:
        group["lr"] *= 0.5
    in_c.array("rate", 3)[:] *= 0.5
    assert max(walk(net, in_c, slice(3, 6))) < 1e-5
    np.testing.assert_allclose(in_c.array("rate", 3), [0.005, 0.025, 0.005])


def test_other_compilers_optimisations_give_the_same_bits(compiled):
    """-O0, -O2 and -O3 of the same file: the order of all sums is that of the C code."""
    net = digits_net()
    found = []
    for level in ("-O0", "-O2", "-O3"):
        in_c = compiled(net, level, "-ffp-contract=off")
        losses = [in_c.learn(x, y, z)[0] for x, y, z in zip(X[:60], LABELS[:60], WRONG[:60], strict=True)]
        state = in_c.array("state", 2 * len(in_c.weights))
        found.append(
            np.concatenate([np.float32(losses), in_c.weights, state, in_c.predict(X[:20])[1].ravel()])
        )
    np.testing.assert_array_equal(found[0].view(np.int32), found[1].view(np.int32))
    np.testing.assert_array_equal(found[0].view(np.int32), found[2].view(np.int32))


def test_wrong_arguments_and_non_finite_losses_change_nothing(compiled):
    _, in_c = both(compiled, {})
    before = in_c.weights.copy()
    for label, wrong in ((-1, 2), (10, 2), (1, 10), (3, 3)):
        assert np.isnan(in_c.learn(X[0], label, wrong)[0])
    for value in (torch.inf, torch.nan):
        assert not np.isfinite(in_c.learn(X[0] * value, 1, 2)[0])
    np.testing.assert_array_equal(in_c.weights, before)


def test_wrong_labels_are_uniform(compiled):
    _, in_c = both(compiled, {})
    state = ctypes.c_uint32(7)
    drawn = [in_c.call("wrong_label", 4, ctypes.byref(state)) for _ in range(9000)]
    counts = np.bincount(drawn, minlength=10)
    assert counts[4] == 0
    assert np.delete(counts, 4).min() > 850
