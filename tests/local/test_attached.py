"""Class scores with one graph through all blocks: the same numbers, and gradients against autograd."""

import pytest
import torch

import ffcore
from ffcore.errors import UserError
from ffcore.local.attached import Attached

X = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
READOUT = {"readouts": {"softmax": {"kind": "softmax"}}}


def scores(net, x):
    return net.combine(net.algorithm.scores(x, Attached(net.local)))


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("digits/ff", {}),
        ("digits/ff", READOUT),
        ("digits/ff", {"algorithm.labels": {"kind": "overlay", "normalise": "none"}}),
        ("digits/ff", {"algorithm.labels": {"kind": "prefix"}}),
        ("digits/channel", {}),
        ("digits/backprop", {}),
        ("digits/mono-forward", {}),
        ("digits/sigprop", {}),
        ("digits/trifecta", {}),
        ("digits/predsim", READOUT),
    ],
)
def test_scores_are_those_of_the_network_with_a_graph(recipe, options):
    net = ffcore.from_recipe(recipe, shape=(1, 8, 8), classes=10, **options).eval()
    x = X.clone().requires_grad_()
    made = scores(net, x)
    assert torch.allclose(made.detach(), net.scores(X), rtol=1e-5, atol=1e-5)
    (gradient,) = torch.autograd.grad(made.square().sum(), x)
    assert float(gradient.abs().max()) > 0


def test_the_gradient_of_labelled_samples_is_that_of_differences():
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10, **{"network.0.units": 30})
    net = net.double().eval()
    x = X[:2].double().requires_grad_()
    weights = torch.arange(20.0, dtype=torch.float64).view(2, 10)
    (gradient,) = torch.autograd.grad((weights * scores(net, x)).sum(), x)
    step = torch.zeros_like(x)
    for row, column in ((3, 4), (5, 2)):
        step.zero_()[0, 0, row, column] = 1e-6
        change = (weights * (net.scores(x.detach() + step) - net.scores(x.detach() - step))).sum() / 2e-6
        assert float(gradient[0, 0, row, column]) == pytest.approx(float(change), rel=1e-4)


def test_nothing_learns_and_circuits_and_boxes_are_refused():
    with pytest.raises(UserError, match="circuit"):
        Attached(ffcore.from_recipe("digits/pff", shape=(1, 8, 8), classes=10).local)
    with pytest.raises(UserError, match="black box"):
        Attached(ffcore.from_recipe("digits/blackbox-sign", shape=(1, 8, 8), classes=10).local)
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10, **READOUT)
    with pytest.raises(UserError, match="need blocks that learn"):
        Attached(net.local).read(net.algorithm.neutral(X), learn=True)
