"""Peer normalisation, by hand."""

from dataclasses import replace

import pytest
import torch

from ffcore.interfaces import Context, Out, Ranks, Views, shared_by
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.testing.scenery import Energy, Margin, taught
from ffcore_ff.penalties import PeerNormalisation
from ffcore_std.bodies import Dense

CONTEXT = Context((2,), 2, name="block1")
VIEWS = Views(torch.zeros(4, 1), ("positive", "negative"), (2, 2))
H = torch.tensor([[1.0, 0.0], [3.0, 0.0], [7.0, 7.0], [9.0, 9.0]])


def penalty():
    made = PeerNormalisation(strength=0.03, momentum=0.9, start=0.5)
    made.setup(CONTEXT)
    return made


def test_its_gradient_pulls_units_to_their_peers():
    # positives' mean (2, 0); m = 0.9 · 0.5 + 0.1 · (2, 0) = (0.65, 0.45), m̄ = 0.55
    # gradient on a positive row λ (m - m̄)/N = 0.03 · (0.1, -0.1)/2 = (0.0015, -0.0015); 0 on negatives
    made, h = penalty(), H.clone().requires_grad_()
    term = made(Out(h, h, None), None, VIEWS)
    term.backward()
    torch.testing.assert_close(made.running, torch.tensor([0.65, 0.45]))
    right = torch.tensor([[0.0015, -0.0015]] * 2 + [[0.0, 0.0]] * 2)
    torch.testing.assert_close(h.grad, right)


def test_measuring_does_not_move_the_running_means():
    made = penalty()
    with torch.no_grad():
        made(Out(H, H, None), None, VIEWS)
    made.eval()
    made(Out(H, H, None), None, VIEWS)
    assert made.running.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("activation", "revived"), [("relu-pass-through", True), ("relu", False)])
def test_silent_units_are_revived_where_the_body_lets_gradients_through(activation, revived):
    body = Dense((3,), 2, activation)
    with torch.no_grad():
        body.linear.bias[1] = -100.0
    block = LocalBlock(body, Energy(), GoodnessLoss(Margin(), {"peers": PeerNormalisation()}))
    net = taught(LocalNetwork(block, (3,), 2))
    with torch.no_grad():
        body.linear.bias[0] = 1.0
    before = body.linear.bias.detach().clone()
    x = torch.rand(4, 3, generator=torch.Generator().manual_seed(0))
    net.learn(Views(x, ("positive", "negative"), (2, 2)))
    assert (body.linear.bias[1] > before[1]) == revived
    assert body.linear.bias[0] != before[0]


def test_images_have_a_running_mean_per_position_also_over_ranks():
    class Twice(Ranks):
        """Another rank has the same samples."""

        world = 2

        def sum(self, t):
            return t.mul_(2)

    found = []
    for group in (Ranks(), Twice()):
        made, h = PeerNormalisation(), torch.rand(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
        made.setup(replace(CONTEXT, shape=(2, 3, 3)))
        with shared_by(group):
            made(Out(h.requires_grad_(), h, None), None, VIEWS)
        found.append(made.running)
    assert found[0].shape == (2, 3, 3)
    torch.testing.assert_close(*found)
