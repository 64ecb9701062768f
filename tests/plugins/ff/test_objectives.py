import pytest
import torch
from torch import nn

from ffcore.interfaces import Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore_ff.goodness import MeanSquares, NegativeSumSquares, SumSquares
from ffcore_ff.objectives import Logistic, SymBa


def pair(n):
    return Views(torch.zeros(2 * n, 1), ("positive", "negative"), (n, n))


@pytest.mark.parametrize(
    ("goodness", "theta"), [(SumSquares, 7.0), (MeanSquares, 1.0), (NegativeSumSquares, -7.0)]
)
def test_units_is_the_goodness_of_ones(goodness, theta):
    block = LocalBlock(nn.Linear(3, 7), goodness(), GoodnessLoss(Logistic("units")))
    LocalNetwork(block, (3,), 2)
    assert block.loss.objective.theta == theta


def test_logistic_by_hand():
    # θ = 1, T = 2; G⁺ = 3, 1: softplus(-1) = 0.3132617, softplus(0) = 0.6931472, mean 0.5032044
    #               G⁻ = 1, 5: softplus(0) = 0.6931472, softplus(2) = 2.1269280, mean 1.4100376
    loss = Logistic(1.0, temperature=2.0)(torch.tensor([3.0, 1.0, 1.0, 5.0]), pair(2))
    torch.testing.assert_close(loss, torch.tensor(1.9132420), rtol=0, atol=1e-6)


def test_symba_by_hand():
    # α = 4; gaps 0.25 and -0.5: softplus(-1) = 0.3132617, softplus(2) = 2.1269280, mean 1.2200949
    loss = SymBa()(torch.tensor([1.25, 1.0, 1.0, 1.5]), pair(2))
    torch.testing.assert_close(loss, torch.tensor(1.2200949), rtol=0, atol=1e-6)
