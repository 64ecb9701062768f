"""Hinton's gradient, worked out by hand for one layer of two units."""

import pytest
import torch

from ffcore.interfaces import Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore.testing.scenery import taught
from ffcore_ff.goodness import SumSquares
from ffcore_ff.objectives import Logistic
from ffcore_std.bodies import Dense

# W = [[0.5, 0.5], [1, -0.5]], no bias, relu; θ = 2, the number of units.
#
# positive x = (1, 1):  h = (1, 0.5),  G = 1.25,  p = σ(1.25 - 2) = 0.3208213
#   dL/dW = -(1 - p) · 2 h xᵀ = -0.6791787 · [[2, 2], [1, 1]]
#         = [[-1.3583574, -1.3583574], [-0.6791787, -0.6791787]]
# negative x = (2, 0):  h = (1, 2),    G = 5,     p = σ(5 - 2) = 0.9525741
#   dL/dW = p · 2 h xᵀ = 0.9525741 · [[4, 0], [8, 0]]
#         = [[3.8102965, 0], [7.6205930, 0]]
WEIGHT = torch.tensor([[0.5, 0.5], [1.0, -0.5]])
POSITIVE = torch.tensor([[-1.3583574, -1.3583574], [-0.6791787, -0.6791787]])
NEGATIVE = torch.tensor([[3.8102965, 0.0], [7.6205930, 0.0]])


@pytest.mark.parametrize("threshold", ["units", 2.0])
def test_weights_move_as_worked_out_by_hand(threshold):
    body = Dense((2,), 2, bias=False)
    block = LocalBlock(body, SumSquares(), GoodnessLoss(Logistic(threshold)))
    body.linear.weight.data.copy_(WEIGHT)
    net = taught(LocalNetwork(block, (2,), 2), lr=1.0)
    net.learn(Views(torch.tensor([[1.0, 1.0], [2.0, 0.0]]), ("positive", "negative"), (1, 1)))
    torch.testing.assert_close(WEIGHT - body.linear.weight.detach(), POSITIVE + NEGATIVE, rtol=0, atol=1e-6)


def test_each_view_has_its_own_share_of_the_gradient():
    weight = WEIGHT.clone().requires_grad_()
    h = torch.relu(torch.tensor([[1.0, 1.0], [2.0, 0.0]]) @ weight.T)
    objective = Logistic(2.0)
    for row, right in ((0, POSITIVE), (1, NEGATIVE)):
        goodness = SumSquares()(h).detach().clone()
        goodness.requires_grad_()
        views = Views(h.detach(), ("positive", "negative"), (1, 1))
        (up,) = torch.autograd.grad(objective(goodness, views), goodness)
        up = up * torch.nn.functional.one_hot(torch.tensor(row), 2)
        back = SumSquares().vjp(h.detach(), up)
        (found,) = torch.autograd.grad(h, weight, back, retain_graph=True)
        torch.testing.assert_close(found, right, rtol=0, atol=1e-6)
