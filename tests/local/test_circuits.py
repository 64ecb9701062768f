"""Circuits: connected blocks that run several times in one pass."""

import pytest
import torch
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import BatchRNG, Circuit, Context, Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.testing.scenery import Energy, Margin, taught

D, ROWS = 4, 6


class Ring(Circuit):
    """Two blocks, each fed by the other, ``calls`` times."""

    def __init__(self, calls, reads=range(1)):
        super().__init__()
        self.calls, self.reads = calls, reads
        self.states = []

    def setup(self, context):
        self.one, self.two = (context.block(name, nn.Linear(D, D)) for name in ("one", "two"))

    def forward(self, x, views):
        self.states = []
        for _ in range(self.calls):
            x = self.two(self.one(x))
            self.states.append(x)
        return x


def block(name, body, loss=None):
    return LocalBlock(body, Energy(), GoodnessLoss(Margin()), name=name)


def network(calls=3, reads=range(1), after=()):
    torch.manual_seed(0)
    ring = Ring(calls, reads)
    ring.setup(Context((D,), 2, block=block))
    return taught(LocalNetwork(nn.Sequential(nn.Tanh(), ring, *after), (D,), 2))


def views(**extra):
    x = torch.randn(2 * ROWS, D, generator=torch.Generator().manual_seed(1))
    return Views(x, ("positive", "negative"), (ROWS, ROWS), **extra)


def test_a_circuit_is_called_with_the_views_of_the_pass():
    net = network()
    seen = []
    net.circuits[0].register_forward_pre_hook(lambda module, args: seen.append(args))
    pass_ = views(rng=BatchRNG(1, 0, 0, ROWS, ROWS))
    net.learn(pass_)
    net.goodness(pass_)
    (x, learning), (_, watching) = seen
    torch.testing.assert_close(x, pass_.x.tanh())
    assert learning.rng is pass_.rng
    assert (learning.learns, watching.learns) == (True, False)


def test_blocks_learn_in_each_of_their_calls():
    net = network(calls=3)
    terms = []
    net.record = lambda of, values, samples: terms.append(of.name)
    net.learn(views())
    assert terms == ["one", "two"] * 3


def test_the_result_of_a_call_has_no_graph():
    net = network()
    net.learn(views())
    assert not any(state.requires_grad for state in net.circuits[0].states)


def test_the_evidence_is_the_mean_over_reads():
    net = network(calls=4, reads=range(1, 3))
    traced = net.trace(views())
    assert [len(calls) for calls in traced] == [4, 4]
    for calls, evidence in zip(traced, net.goodness(views()), strict=True):
        torch.testing.assert_close(evidence, (calls[1] + calls[2]) / 2)


def test_a_block_outside_circuits_that_runs_twice_has_the_evidence_of_its_last_call():
    shared = LocalBlock(nn.Linear(D, D), Energy(), GoodnessLoss(Margin()), name="shared")
    net = LocalNetwork(nn.Sequential(shared, nn.Tanh(), shared), (D,), 2)
    (calls,) = net.trace(views())
    assert len(calls) == 2
    torch.testing.assert_close(net.goodness(views())[0], calls[-1])


def test_upstream_has_each_block_once():
    net = network(calls=5)
    pass_ = views()
    net.learn(pass_)
    assert len(pass_.upstream) == 2


def test_stages_after_a_circuit_get_its_output():
    tail = LocalBlock(nn.Linear(D, 3), Energy(), GoodnessLoss(Margin()), name="tail")
    net = network(after=(tail,))
    assert net(views().x).shape == (2 * ROWS, 3)
    assert [b.name for b in net.blocks] == ["one", "two", "tail"]


def test_blocks_of_a_circuit_do_not_share_a_window():
    with pytest.raises(UserError, match="blocks of a circuit learn one by one, but one, two share"):
        network().plan([range(2)])
