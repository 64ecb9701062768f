"""Blocks of one window share a graph; everything else is detached."""

import copy

import pytest
import torch
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import LearningRule, Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork, Residual
from ffcore.testing.scenery import Energy, Margin, taught

N, D = 4, 5


def views(width=D):
    x = torch.randn(2 * N, width, generator=torch.Generator().manual_seed(3))
    return Views(x, ("positive", "negative"), (N, N))


def block(width_in=D, width_out=D, loss=True):
    body = nn.Sequential(nn.Linear(width_in, width_out), nn.Tanh())
    return LocalBlock(body, Energy() if loss else None, GoodnessLoss(Margin()) if loss else None)


def network(body, windows):
    net = taught(LocalNetwork(body, (D,), 2))
    net.plan(windows)
    return net


def loss(h):
    positive, negative = h.square().mean(1).chunk(2)
    return nn.functional.softplus(negative - positive).mean()


def stepped(module, value):
    """Parameters after a step of plain gradient descent."""
    parameters = list(module.parameters())
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    return [p if g is None else p - 0.1 * g for p, g in zip(parameters, gradients, strict=True)]


def test_one_window_is_ordinary_backpropagation():
    net = network(nn.Sequential(block(loss=False), block(loss=False), block()), [range(3)])
    plain = nn.Sequential(*(copy.deepcopy(b.body) for b in net.blocks))
    right = stepped(plain, loss(plain(views().x)))
    net.learn(views())
    assert_same([p for b in net.blocks for p in b.parameters()], right)


def test_a_window_of_two_shares_a_graph_and_the_third_block_does_not():
    net = network(nn.Sequential(block(), block(), block()), [range(2), range(2, 3)])
    a, b, c = (copy.deepcopy(x.body) for x in net.blocks)
    h1 = a(views().x)
    h2 = b(h1)
    pair = nn.ModuleList([a, b])
    right = [*stepped(pair, loss(h1) + loss(h2)), *stepped(c, loss(c(h2.detach())))]
    net.learn(views())
    assert_same([p for x in net.blocks for p in x.parameters()], right)


@pytest.mark.parametrize("learning", [0, 1, 2])
def test_frozen_blocks_are_bit_identical_after_a_step(learning):
    net = network(nn.Sequential(block(), block(), block()), [range(learning, learning + 1)])
    before = [copy.deepcopy(b.state_dict()) for b in net.blocks]
    net.learn(views())
    for i, (b, then) in enumerate(zip(net.blocks, before, strict=True)):
        same = all(torch.equal(now, then[name]) for name, now in b.state_dict().items())
        assert same == (i != learning)


@pytest.mark.parametrize("merge", ["add", "concat", "concat-last"])
@pytest.mark.parametrize("one_window", [True, False])
def test_a_shortcut_has_a_graph_only_within_a_window(merge, one_window):
    last = block(D if merge == "add" else 2 * D)
    body = nn.Sequential(block(), Residual(nn.Sequential(block()), merge), last)
    net = network(body, [range(3)] if one_window else [range(i, i + 1) for i in range(3)])
    a, b, c = (copy.deepcopy(x.body) for x in net.blocks)

    def join(x, y):
        return x + y if merge == "add" else torch.cat([x, y] if merge == "concat" else [y, x], 1)

    h1 = a(views().x)
    if one_window:
        h2 = b(h1)
        h3 = c(join(h1, h2))
        right = stepped(nn.ModuleList([a, b, c]), loss(h1) + loss(h2) + loss(h3))
    else:
        h2 = b(h1.detach())
        h3 = c(join(h1, h2).detach())
        right = [*stepped(a, loss(h1)), *stepped(b, loss(h2)), *stepped(c, loss(h3))]
    net.learn(views())
    assert_same([p for x in net.blocks for p in x.parameters()], right)


def test_a_shortcut_from_a_window_that_ended_inside_it_is_detached():
    net = network(
        nn.Sequential(block(), Residual(nn.Sequential(block(), block())), block()), [range(2), range(2, 4)]
    )
    a, b, c, d = (copy.deepcopy(x.body) for x in net.blocks)
    h1 = a(views().x)
    h2 = b(h1)
    h3 = c(h2.detach())
    h4 = d(h1.detach() + h3)
    right = stepped(nn.ModuleList([a, b, c, d]), loss(h1) + loss(h2) + loss(h3) + loss(h4))
    net.learn(views())
    assert_same([p for x in net.blocks for p in x.parameters()], right)


def test_a_window_whose_last_block_never_runs_is_an_error():
    class Shy(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.skips = block(), block(), False

        def forward(self, x):
            x = self.a(x)
            return x if self.skips else self.b(x)

    net = network(Shy(), [range(2)])
    net.body.skips = True
    with pytest.raises(RuntimeError, match="block1 ran, but the last block of their window did not"):
        net.learn(views())


class Twice(nn.Module):
    """Calls its blocks in a given order."""

    def __init__(self, order):
        super().__init__()
        self.parts, self.order = nn.ModuleList(block() for _ in range(max(order) + 1)), order

    def forward(self, x):
        for index in self.order:
            x = self.parts[index](x)
        return x


@pytest.mark.parametrize(
    ("order", "windows", "named"),
    [
        ((0, 1, 2, 1), [range(1), range(1, 3)], "block2"),
        ((0, 1, 2, 1), [range(3)], "block2"),
        ((0, 1, 2, 3, 0, 2, 1, 3), [range(2), range(2, 4)], "block1"),
        ((0, 1, 0, 2), [range(1), range(1, 3)], "block2"),
    ],
)
def test_a_window_that_a_second_call_leaves_open_is_refused_before_any_block_learns(order, windows, named):
    net = taught(LocalNetwork(Twice(order), (D,), 2))
    with pytest.raises(UserError, match=f"^schedule: .* before the window of block {named} has learned"):
        net.plan(windows)


@pytest.mark.parametrize("order", [(0, 1, 2, 1), (0, 1, 0, 1, 2)])
def test_a_window_that_ends_after_each_call_learns(order):
    network(Twice(order), [range(2), range(2, 3)]).learn(views())


def test_a_window_without_a_loss_is_refused():
    net = LocalNetwork(nn.Sequential(block(loss=False), block()), (D,), 2)
    with pytest.raises(UserError, match="the window of block1 has no objective and no rule"):
        net.plan([range(1)])


def test_overlapping_windows_are_refused():
    net = LocalNetwork(nn.Sequential(block(), block()), (D,), 2)
    with pytest.raises(UserError, match=r"^schedule: windows .*block2 is in two"):
        net.plan([range(2), range(1, 2)])


def assert_same(now, right):
    torch.testing.assert_close([p.detach() for p in now], [p.detach() for p in right], rtol=0, atol=1e-6)


def pool(goodness=False):
    return LocalBlock(nn.ReLU(), Energy() if goodness else None, GoodnessLoss(Margin()) if goodness else None)


def test_windows_count_only_blocks_that_can_learn():
    net = network(nn.Sequential(block(), pool(), block(), pool(goodness=True)), [range(1), range(1, 2)])
    assert net.learning == [0, 2]
    before = copy.deepcopy(net.state_dict())
    net.learn(views())
    assert all(not torch.equal(net.state_dict()[name], value) for name, value in before.items())


def test_a_block_without_a_loss_learns_from_the_pooling_after_it():
    net = network(nn.Sequential(block(loss=False), pool(goodness=True)), [range(1)])
    plain = copy.deepcopy(net.blocks[0].body)
    right = stepped(plain, loss(plain(views().x).relu()))
    net.learn(views())
    torch.testing.assert_close(list(net.parameters()), right)


def test_each_block_of_a_window_gets_the_goodness_of_earlier_blocks():
    seen = {}

    class Note(Margin):
        def __init__(self, name):
            super().__init__()
            self.name = name

        def forward(self, goodness, views):
            seen[self.name] = len(views.upstream)
            return super().forward(goodness, views)

    for windows in ([range(4)], [range(2), range(2, 4)], [range(3, 4)]):
        seen.clear()
        blocks = [LocalBlock(nn.Linear(D, D), Energy(), GoodnessLoss(Note(i))) for i in range(4)]
        network(nn.Sequential(*blocks), windows).learn(views())
        assert seen == {i: i for window in windows for i in window}


def test_a_handoff_with_parameters_is_refused():
    idle = LocalBlock(nn.Linear(D, D), Energy(), GoodnessLoss(Margin()), handoff=nn.LayerNorm(D))
    net = LocalNetwork(nn.Sequential(idle, block()), (D,), 2)
    with pytest.raises(UserError, match="block1: its handoff has parameters"):
        net.plan([range(1), range(1, 2)])
    net.plan([range(2)])  # in one window a gradient comes back


def test_another_rule_needs_no_goodness_and_no_loss():
    class Hebb(LearningRule):
        """W ← W + mean of h xᵀ."""

        @torch.no_grad()
        def learn(self, window, views):
            ((made, (x,), out),) = window
            made.body[0].weight += out.activity.T @ x / len(x)
            return [{}]

    first, second = block(loss=False), block()
    first.rule = Hebb()
    net = network(nn.Sequential(first, second), [range(1), range(1, 2)])
    before = copy.deepcopy(first.body)
    x = views().x
    net.learn(views())
    torch.testing.assert_close(first.body[0].weight, before[0].weight + before(x).T @ x / len(x))
    assert [source.name for source in net.sources] == ["block2"]


def test_a_rule_may_make_buffers_in_setup():
    class Gathers(LearningRule):
        def setup(self, context):
            self.register_buffer("sum", torch.zeros(*context.shape, *context.in_shape))

        def learn(self, window, views):
            return [{} for _ in window]

    first = LocalBlock(nn.Linear(D, 3), rule=Gathers())
    LocalNetwork(nn.Sequential(first, block(3)), (D,), 2)
    assert first.rule.sum.shape == (3, D)
