"""Forward projection in C: sums of one sample at a time give the weights of the network."""

import numpy as np
import pytest
import torch

from ffcore.data.digits import Digits
from ffcore.errors import UserError
from ffcore.exports.c99 import write_c
from ffcore.interfaces import Progress
from tests.exports.c99.conftest import projection_net, weights_of

SETS = Digits().load()
X = torch.from_numpy(SETS.train.x[:600]).float() / 16
Y = torch.from_numpy(SETS.train.y[:600])
TEST, CLASSES = torch.from_numpy(SETS.test.x).float() / 16, torch.from_numpy(SETS.test.y).numpy()


def learned_in_python(net):
    count = len(net.blocks)
    for epoch in range(count):
        for rows in torch.arange(len(X)).split(50):
            net.learn(X[rows], Y[rows], progress=Progress(epoch, 0, count))
        net.end_epoch()
    return net


def learned_in_c(in_c, net):
    for remaining in reversed(range(len(net.blocks))):
        in_c.accumulate(X, Y)
        assert in_c.call("solve") == remaining
    assert in_c.call("solve") == -1
    assert in_c.call("accumulate", None, 0) == -1


@pytest.mark.parametrize("bias", [True, False])
def test_weights_are_those_of_the_network(compiled, bias):
    net = projection_net(40, **{f"network.{i}.bias": bias for i in (0, 1)})
    in_c = compiled(net, sums="float64")
    before = in_c.weights.copy()
    learned_in_c(in_c, net)
    learned_in_python(net)
    assert np.abs(in_c.weights - before).max() > 0.1
    np.testing.assert_allclose(in_c.weights, weights_of(net), rtol=1e-4, atol=2e-6)
    classes, scores = in_c.predict(TEST)
    np.testing.assert_allclose(scores, net.scores(TEST).numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(classes, net.predict(TEST).numpy())


def test_sums_in_float32_predict_as_well(compiled):
    net = projection_net(100)
    in_c = compiled(net)
    learned_in_c(in_c, net)
    learned_in_python(net)
    classes, scores = in_c.predict(TEST)
    assert np.abs(scores - net.scores(TEST).numpy()).max() < 0.02
    assert (classes == net.predict(TEST).numpy()).mean() > 0.99
    assert (classes == CLASSES).mean() > 0.85


def test_learning_can_begin_again(compiled):
    net = projection_net(20)
    in_c = compiled(net)
    learned_in_c(in_c, net)
    first = in_c.weights.copy()
    in_c.call("restart", gives=None)
    in_c.accumulate(X[:5], Y[:5])
    in_c.call("restart", gives=None)
    learned_in_c(in_c, net)
    np.testing.assert_array_equal(in_c.weights, first)


def test_sums_that_cannot_be_solved(compiled):
    changes = {"block.rule.strength": 0.0}
    in_c = compiled(projection_net(20, **changes))
    before = in_c.weights.copy()
    assert in_c.call("solve") == -1
    in_c.accumulate(X[:3], Y[:3])
    assert in_c.call("solve") == -1
    np.testing.assert_array_equal(in_c.weights, before)


def test_other_schedules_are_refused(tmp_path):
    with pytest.raises(
        UserError, match=r"^c99: schedule Joint; closed forms are solved one block after another"
    ):
        write_c(projection_net(20, schedule="joint"), tmp_path)
    greedy = {"kind": "greedy", "epochs": None}
    assert write_c(projection_net(20, schedule=greedy), tmp_path)
