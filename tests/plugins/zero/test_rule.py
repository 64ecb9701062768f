"""The rule `directional` beside its formulas and autograd."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Progress
from ffcore.recipe.load import load
from ffcore_ff.penalties import PeerNormalisation
from ffcore_local.bodies import ConvBatchNorm
from ffcore_zero import rule as module
from ffcore_zero.losses import ChannelHinge, Hinge
from ffcore_zero.rule import Directional
from ffcore_zero.simplex import Simplex

N, D, K = 12, 6, 3
LOCAL = {"kind": "local-errors", "output": False}


def directional(*args, **options):
    torch.manual_seed(0)
    return Directional(*args, **options)


def data(shape=(D,), dtype=torch.float64):
    random = torch.Generator().manual_seed(3)
    return torch.randn(N, *shape, generator=random, dtype=dtype), torch.arange(N) % K


def dense_block(rule, body=None):
    torch.manual_seed(0)
    return ffcore.LocalBlock(body or nn.Linear(D, 5), Simplex(), objective=Hinge(), rule=rule)


def image_block(rule, **options):
    torch.manual_seed(0)
    body = ConvBatchNorm((1, 6, 6), 4, activation="identity", bias=False)
    return ffcore.LocalBlock(body, Simplex(), loss=ChannelHinge(), rule=rule, **options)


def network(*blocks, shape=(D,)):
    return ffcore.Network(blocks, LOCAL, example=torch.randn(2, *shape), classes=K).double()


def stepped(net, x, y):
    """Returns what a step subtracts from each parameter: with a rate of 1, the gradient."""
    before = [p.detach().clone() for p in net.local.parameters()]
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    return [old - new.detach() for old, new in zip(before, net.local.parameters(), strict=True)]


def gradient_of(net, x, y):
    """Returns the gradient of a block's loss with respect to all its parameters, by autograd."""
    (block,) = net.blocks
    views = net.algorithm.neutral(x, y)
    with torch.enable_grad():
        loss = sum(block.losses(block.make((x,), views), views).values())
    return torch.autograd.grad(loss, list(block.parameters()))


def flat(tensors, rows=1):
    return torch.cat([t.reshape(rows, -1) for t in tensors], dim=1)


def test_a_step_is_the_slope_along_its_direction():
    x, y = data()
    net = network(dense_block(directional(1e-5)))
    gradient = flat(gradient_of(net, x, y))
    step = flat(stepped(net, x, y))
    direction = step / step.norm()
    torch.testing.assert_close(
        step, step.numel() * (gradient * direction).sum() * direction, rtol=1e-6, atol=1e-8
    )


def test_the_error_of_a_slope_falls_with_the_square_of_epsilon():
    def error(epsilon):
        x, y = data()
        rule = directional(epsilon)
        body = nn.Sequential(nn.Linear(D, K), nn.Tanh())
        net = network(ffcore.LocalBlock(body, "logits", objective="cross-entropy", rule=rule))
        gradient, step = flat(gradient_of(net, x, y)), flat(stepped(net, x, y))
        d = step / step.norm()
        return float((step.norm() - step.numel() * (gradient * d).sum()).abs())

    assert error(0.02) / error(0.01) == pytest.approx(4, rel=0.05)


@pytest.fixture
def basis(monkeypatch):
    """Directions along the axes, one after the other: the mean of n d dᵀ is then exactly the identity."""
    turn, randn = itertools.count(), torch.randn

    def along(shape, *more, dtype=None, **how):
        if not isinstance(shape, torch.Size):  # the data
            return randn(shape, *more, dtype=dtype, **how)
        made = torch.zeros(shape, dtype=dtype)
        made[:, next(turn) % shape[1]] = 3.0
        return made

    monkeypatch.setattr(module.torch, "randn", along)


def test_the_mean_over_directions_is_the_gradient(basis):
    x, y = data()
    net = network(dense_block(directional(1e-5, directions=35)))
    gradient, step = flat(gradient_of(net, x, y)), flat(stepped(net, x, y))
    torch.testing.assert_close(step, gradient, rtol=1e-6, atol=1e-8)


def test_the_mean_over_directions_of_channels_is_the_gradient(basis):
    x, y = data((1, 6, 6))
    net = network(image_block(directional(1e-5, 11, "channel")), shape=(1, 6, 6))
    gradient, step = flat(gradient_of(net, x, y), 4), flat(stepped(net, x, y), 4)
    torch.testing.assert_close(step, gradient, rtol=1e-5, atol=1e-8)


def test_directions_are_spread_over_the_sphere():
    x, y = data()
    net = network(dense_block(directional(1e-5, directions=150)))
    gradient, step = flat(gradient_of(net, x, y)), flat(stepped(net, x, y))
    # the standard deviation of the error is √(n/M) of the gradient's length
    assert (step - gradient).norm() / gradient.norm() < 1.5 * math.sqrt(step.numel() / 150)


def test_two_passes_measure_all_channels():
    x, y = data((1, 6, 6))
    net = network(image_block(directional(1e-5, per="channel")), shape=(1, 6, 6))
    (block,) = net.blocks
    gradient = flat(gradient_of(net, x, y), 4)
    passes = []
    block.body.register_forward_hook(lambda *_: passes.append(1))
    step = flat(stepped(net, x, y), 4)
    assert len(passes) == 3  # one for the output, two for all four slopes
    d = step / step.norm(dim=1, keepdim=True)
    right = step.shape[1] * (gradient * d).sum(1, keepdim=True) * d
    torch.testing.assert_close(step, right, rtol=1e-5, atol=1e-8)
    assert not torch.allclose(d[0].abs(), d[1].abs())


class Failing(nn.Linear):
    """Counts its passes, writes into a buffer, replaces another one, and may fail."""

    def __init__(self):
        super().__init__(D, 5)
        self.register_buffer("sum", torch.zeros(5))
        self.register_buffer("last", torch.zeros(1))
        self.passes, self.fails_at = 0, None

    def forward(self, x):
        self.passes += 1
        if self.passes == self.fails_at:
            raise RuntimeError("the device does not answer")
        made = super().forward(x)
        self.sum += made.detach().mean(0).to(self.sum)
        self.last = made.detach().mean().view(1).to(self.last)
        return made


@pytest.mark.parametrize("fails_at", [2, 3, 5])
def test_parameters_and_buffers_are_restored_if_a_pass_fails(fails_at):
    x, y = data()
    body = Failing()
    net = network(dense_block(directional(0.5, directions=2), body))
    body.passes = 0
    body.fails_at = 1
    with pytest.raises(RuntimeError):
        stepped(net, x, y)
    before = {name: value.clone() for name, value in net.local.state_dict().items()}
    body.passes, body.fails_at = 0, fails_at
    sums = body.sum.clone() + F.linear(x, body.weight, body.bias).detach().mean(0)
    with pytest.raises(RuntimeError, match="does not answer"):
        stepped(net, x, y)
    after = net.local.state_dict()
    for name, value in before.items():
        if not name.endswith(("sum", "last")):
            assert torch.equal(after[name], value), name
    torch.testing.assert_close(body.sum, sums)  # of the one pass that counts


def test_running_statistics_and_random_numbers_are_those_of_one_pass():
    x, y = data((1, 6, 6))
    nets = [
        network(image_block(rule), shape=(1, 6, 6)) for rule in (directional(0.1, 3, "channel"), "gradient")
    ]
    drawn = []
    for net in nets:
        torch.manual_seed(5)
        stepped(net, x, y)
        drawn.append(torch.rand(3))
    norms = [net.blocks[0].body.norm for net in nets]
    torch.testing.assert_close(norms[0].running_mean, norms[1].running_mean)
    torch.testing.assert_close(norms[0].running_var, norms[1].running_var)
    assert norms[0].num_batches_tracked == norms[1].num_batches_tracked == 1
    assert torch.equal(*drawn)


def test_all_passes_with_changed_weights_have_the_same_dropout():
    seen = []

    class Dropping(nn.Linear):
        def forward(self, x):
            mask = F.dropout(torch.ones_like(x), 0.5, self.training)
            seen.append(mask)
            return super().forward(x * mask)

    x, y = data()
    net = network(dense_block(directional(directions=2), Dropping(D, 5)))
    net.train()
    seen.clear()
    stepped(net, x, y)
    assert len(seen) == 5
    assert 0 < float((seen[1] == 0).double().mean()) < 1
    assert all(torch.equal(seen[1], mask) for mask in seen[2:])
    assert not torch.equal(seen[0], seen[1])


def test_running_means_of_penalties_move_once_in_a_step():
    (x, y), running = data(), []
    for rule in (directional(0.1, 3), "gradient"):
        torch.manual_seed(0)
        peers = PeerNormalisation()
        loss = {"objective": "logistic", "penalties": {"peers": peers}}
        block = ffcore.LocalBlock(nn.Linear(D, 5), "sum-squares", rule=rule, **loss)
        net = ffcore.Network([block], "forward-forward", example=x[:2].float(), classes=K)
        stepped(net.double(), x, y)
        running.append(peers.running)
    torch.testing.assert_close(*running)
    assert (running[0] != 0.5).all()


def rates(net):
    return ffcore.optimizers(net, torch.optim.SGD, lr=0.1)


def test_directions_depend_on_step_and_block_and_repeat_with_the_state():
    x, y = data()

    def steps(net, numbers):
        made = []
        for number in numbers:
            before = [p.detach().clone() for p in net.local.parameters()]
            net.learn(x, y, net.local.optimizers or rates(net), progress=Progress(0, number, 1))
            pairs = zip(before, net.local.parameters(), strict=True)
            made.append(torch.cat([(old - new.detach()).flatten() for old, new in pairs]))
        return made

    def twins():
        torch.manual_seed(1)
        blocks = [
            ffcore.LocalBlock(nn.Linear(D, D), Simplex(), objective=Hinge(), rule=directional()) for _ in "ab"
        ]
        return network(*blocks)

    first, other = twins(), twins()
    one = steps(first, [0, 1])
    state = copy.deepcopy(first.state_dict())
    two = steps(first, [2])[0]
    assert not torch.allclose(one[0] / one[0].norm(), one[1] / one[1].norm(), atol=1e-3)
    half = len(two) // 2
    assert not torch.allclose(two[:half] / two[:half].norm(), two[half:] / two[half:].norm(), atol=1e-3)
    other.load_state_dict(state)
    assert torch.equal(steps(other, [2])[0], two)


def test_the_weighted_mean_of_shares_of_a_batch_is_the_estimate_of_the_batch():
    # what the block optimiser computes of the gradients of two ranks
    x, y = data()
    whole = flat(stepped(network(dense_block(directional(directions=2))), x, y))
    shares = [
        flat(stepped(network(dense_block(directional(directions=2))), x[own], y[own]))
        for own in (slice(0, 4), slice(4, N))
    ]
    torch.testing.assert_close((4 * shares[0] + 8 * shares[1]) / N, whole, rtol=1e-9, atol=1e-12)


def test_autocast_does_not_round_the_change_away():
    x, y = data(dtype=torch.float32)
    made = []
    for mixed in (False, True):
        net = ffcore.Network([dense_block(directional(1e-3))], LOCAL, example=x[:2], classes=K)
        with torch.autocast("cpu", torch.bfloat16, enabled=mixed):
            made.append(flat(stepped(net, x.bfloat16().float(), y)))
    torch.testing.assert_close(made[0], made[1], rtol=1e-6, atol=1e-7)


class Hardware:
    """Holds weights that torch does not know."""

    def program(self, weight):
        self.weight = [[round(w, 2) for w in row] for row in weight]

    def run(self, rows):
        return [[sum(w * v for w, v in zip(row, x, strict=True)) for row in self.weight] for x in rows]


class OnHardware(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(K, D, generator=torch.Generator().manual_seed(0)))
        self.hardware = Hardware()

    def forward(self, x):
        self.hardware.program(self.weight.tolist())
        return torch.tensor(self.hardware.run(x.tolist()), dtype=x.dtype)


def test_a_body_without_autograd_learns():
    x, _ = data()
    y = x[:, :K].argmax(1)
    net = network(dense_block(directional(0.3, directions=4), OnHardware()))
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.3)
    first, *_, last = (float(net.learn(x, y, optimizers)["block1"]) for _ in range(100))
    assert last < 0.6 * first
    assert (net.predict(x) == y).double().mean() > 0.8


def test_the_default_rule_cannot_learn_in_that_body():
    x, y = data()
    net = network(dense_block("gradient", OnHardware()))
    with pytest.raises(UserError, match="the activity that OnHardware returned has no graph"):
        net.learn(x, y, rates(net))


def test_it_learns_the_loss_of_any_algorithm():
    torch.manual_seed(0)
    x, y = torch.rand(60, 20), torch.arange(60) % 4
    x[range(60), 10 + y] = 3.0
    block = ffcore.LocalBlock(
        nn.Sequential(nn.Linear(20, 16), nn.ReLU()),
        "sum-squares",
        objective={"kind": "logistic", "threshold": "units", "temperature": 10},
        rule=directional(0.01, directions=4),
    )
    net = ffcore.Network([block], "forward-forward", example=x[:2], classes=4)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.02)
    losses = [float(net.learn(x, y, optimizers)["block1"]) for _ in range(60)]
    assert sum(losses[-10:]) < 0.9 * sum(losses[:10])


def test_many_weights_a_direction_warn_once(monkeypatch):
    monkeypatch.setattr(module, "MANY", 20)
    x, y = data()
    net = network(dense_block(directional()))
    optimizers = rates(net)
    with pytest.warns(
        UserWarning, match="rule directional: 35 weights learn from directions: 1; the variance"
    ):
        net.learn(x, y, optimizers)
    net.learn(x, y, optimizers)  # a second warning would be an error
    many = network(dense_block(directional(directions=2)))
    many.learn(x, y, rates(many))


def test_a_block_without_a_loss_is_refused():
    x, y = data()
    net = network(
        ffcore.LocalBlock(nn.Linear(D, 4), rule=directional()), dense_block("gradient", nn.Linear(4, 5))
    )
    with pytest.raises(UserError, match="block block1: rule directional: the block has no loss; give it"):
        net.learn(x, y, rates(net))


def test_channels_need_a_loss_of_channels():
    x, y = data()
    net = network(dense_block(directional(per="channel")))
    with pytest.raises(UserError, match="needs a loss that is a sum over channels, such as channel-hinge"):
        net.learn(x, y, rates(net))


def test_channels_need_parameters_with_a_row_for_each():
    x, y = data((1, 6, 6))
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), nn.Conv2d(2, 4, 3, bias=False))
    block = ffcore.LocalBlock(body, Simplex(), loss=ChannelHinge(), rule=directional(per="channel"))
    net = network(block, shape=(1, 6, 6))
    with pytest.raises(UserError, match=r"body.0.weight has the shape \(2, 1, 3, 3\); per: channel needs"):
        net.learn(x, y, rates(net))


def test_windows_of_several_blocks_are_refused():
    x, y = data()
    blocks = [ffcore.LocalBlock(nn.Linear(D, D)), dense_block(directional())]
    net = ffcore.Network(blocks, LOCAL, example=x[:2].float(), classes=K, schedule="one-window").double()
    with pytest.raises(UserError, match="learns in windows of one block, not of 2"):
        net.learn(x, y, rates(net))


@pytest.mark.parametrize(("option", "value"), [("epsilon", 0), ("directions", 0), ("per", "unit")])
def test_options_have_bounds(option, value):
    with pytest.raises(UserError, match=f"block.rule.{option}"):
        load("digits/ff", [f"block.rule={{kind: directional, {option}: {value}}}"])
