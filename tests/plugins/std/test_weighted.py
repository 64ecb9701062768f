"""An objective with a weight."""

import pytest
import torch
from torch import nn

import ffcore
from ffcore.interfaces import Objective, Views
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.objectives import Logistic
from ffcore_std.weighted import Weighted


class Gap(Objective):
    """Without a closed form."""

    reads = frozenset({"none"})

    def forward(self, goodness, views):
        return torch.relu(1 - views.of(goodness, "positive") + views.of(goodness, "negative")).mean()


def test_the_loss_and_its_derivative_are_scaled():
    goodness = torch.tensor([3.0, 1.0, 1.0, 5.0])
    views = Views(torch.zeros(4, 1), ("positive", "negative"), (2, 2))
    plain, weighted = Logistic(1.0), Weighted({"kind": "logistic", "threshold": 1.0}, weight=0.25)
    torch.testing.assert_close(weighted(goodness, views), 0.25 * plain(goodness, views))
    torch.testing.assert_close(
        weighted.with_derivative(goodness, views),
        tuple(0.25 * each for each in plain.with_derivative(goodness, views)),
    )
    assert weighted.boundary() == 1.0


@pytest.mark.parametrize("objective", [Logistic(2.0), Gap()], ids=["closed form", "autograd"])
def test_a_step_is_the_weight_times_that_of_the_objective(objective):
    changes = []
    for made in (objective, Weighted(objective, weight=0.5)):
        torch.manual_seed(0)
        body = nn.Linear(20, 5, dtype=torch.float64)
        before = body.weight.detach().clone()
        net = ffcore.Network(
            [ffcore.LocalBlock(body, "mean-squares", objective=made)],
            ForwardForward("overlay", "wrong-label"),
            example=torch.zeros(2, 20, dtype=torch.float64),
            classes=3,
        )
        x = torch.rand(6, 20, dtype=torch.float64)
        net.learn(x, torch.arange(6) % 3, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))
        changes.append(body.weight.detach() - before)
    torch.testing.assert_close(changes[1], 0.5 * changes[0])
    assert changes[0].abs().max() > 1e-4


def test_it_reads_what_the_objective_reads():
    assert Weighted("cross-entropy").accepts == "class"
    assert Weighted("squared-error").reads == frozenset({"values"})
