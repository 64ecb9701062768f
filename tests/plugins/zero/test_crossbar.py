"""The simulated crossbar, and learning inside it."""

import copy

import numpy as np
import pytest
import torch

import ffcore
from ffcore.errors import UserError
from ffcore_zero.crossbar import Crossbar, Device
from ffcore_zero.losses import Hinge
from ffcore_zero.rule import Directional
from ffcore_zero.simplex import Simplex

D, U, K = 8, 6, 3
IDEAL = {"gain": 0.0, "offset": 0.0, "noise": 0.0}


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def crossbar(**options):
    torch.manual_seed(0)
    return Crossbar((D,), U, **options)


def test_without_faults_it_is_a_dense_layer_with_rounded_weights_and_clipped_sums():
    body, x = crossbar(**IDEAL, bits=4, reach=0.5, saturation=0.9), numbers(5, D)
    step = 0.5 / 7
    weight = (body.weight.detach().clamp(-0.5, 0.5) / step).round() * step
    torch.testing.assert_close(body(x), (x @ weight.T).clamp(-0.9, 0.9))
    assert body.weight.detach().abs().max() > 0.5
    assert (body(x).abs() == 0.9).any()


def test_cells_have_gains_and_columns_offsets_that_belong_to_the_device():
    x = torch.cat([torch.zeros(1, D), torch.eye(D)])
    clean = {"noise": 0.0, "bits": 16, "saturation": 1e3}
    one, again, other = (crossbar(**clean, device=n)(x) for n in (1, 1, 2))
    ideal = crossbar(**clean, gain=0.0, offset=0.0)(x)
    assert torch.equal(one, again)
    assert (one - other).abs().max() > 0.1
    assert one[0].std() > 0.1  # offsets
    gain = (one[1:] - one[0]) / ideal[1:]
    assert 0.1 < float(gain.std()) < 0.3


def test_reads_are_noisy_and_repeat_only_for_the_same_read():
    body, clean, x = crossbar(noise=0.1), crossbar(noise=0.0), numbers(400, D)
    noise = body(x) - clean(x)
    assert float(noise.std()) == pytest.approx(0.1, rel=0.1)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.02)
    correlation = np.corrcoef(noise.T)[~np.eye(U, dtype=bool)]
    assert abs(correlation).max() < 0.25
    assert torch.equal(body(x), body(x))
    with torch.no_grad():
        for each in (body, clean):
            each.weight[0, 0] += 0.5
    other = body(x) - clean(x)
    assert abs(np.corrcoef(noise[:, 1], other[:, 1])[0, 1]) < 0.25


def test_the_device_offers_weights_and_runs_alone():
    device = Device((U, D), 0, 6, 1.0, 0.2, 0.5, 0.05, 4.0)
    assert [name for name in vars(Device) if not name.startswith("_")] == ["program", "run"]
    assert all(name.startswith("_") for name in vars(device))


def network(body, rule):
    block = ffcore.LocalBlock(body, Simplex(), objective=Hinge(), rule=rule)
    algorithm = {"kind": "local-errors", "output": False}
    return ffcore.Network([block], algorithm, example=torch.zeros(2, D), classes=K)


def problem():
    x = numbers(90, D, seed=4)
    return x, x[:, :K].argmax(1)


def test_the_directional_rule_learns_inside_it():
    x, y = problem()
    net = network(crossbar(), Directional(1.0, directions=4))
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.2)
    before = (net.predict(x) == y).float().mean()
    for _ in range(40):
        net.learn(x, y, optimizers)
    after = (net.predict(x) == y).float().mean()
    assert before < 0.6
    assert after > 0.8


def test_no_gradient_leads_into_it():
    x, y = problem()
    net = network(crossbar(), "gradient")
    with pytest.raises(UserError, match="the activity that Crossbar returned has no graph"):
        net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))


def test_the_ideal_derivative_is_that_of_the_layer_without_faults():
    body, x = crossbar(derivative="ideal"), numbers(5, D).requires_grad_()
    assert torch.equal(body(x).detach(), crossbar()(x).detach())
    up = numbers(5, U, seed=2)
    of_weight, of_x = torch.autograd.grad(body(x), [body.weight, x], up)
    torch.testing.assert_close(of_weight, up.T @ x.detach())
    torch.testing.assert_close(of_x, up @ body.weight.detach())


def test_a_copy_is_the_same_device():
    body, x = crossbar(), numbers(5, D)
    assert torch.equal(copy.deepcopy(body)(x), body(x))
