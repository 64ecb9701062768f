"""Accumulation, sums over ranks and clipping between gradients and steps."""

import copy
import functools
import threading

import pytest
import torch
from torch import nn

from ffcore.interfaces import Idle, Ranks, Views, shared_by
from ffcore.local import BlockOptimizer, GoodnessLoss, LocalBlock, LocalNetwork, block_optimizers
from ffcore.testing.scenery import Energy, Margin

D = 5


def pair(x):
    """Samples x (N, 2, D), each with a positive and a negative row."""
    return Views(torch.cat([x[:, 0], x[:, 1]]), ("positive", "negative"), (len(x),) * 2)


def network(depth=2, **options):
    torch.manual_seed(0)
    blocks = [LocalBlock(nn.Linear(D, D), Energy(), GoodnessLoss(Margin())) for _ in range(depth)]
    return with_optimizers(LocalNetwork(nn.Sequential(*blocks), (D,), 2), **options)


def with_optimizers(net, make=torch.optim.SGD, lr=0.5, **options):
    net.optimizers = block_optimizers(net, make, lr=lr, fused=False, **options)
    return net


def samples(n):
    return torch.randn(n, 2, D, generator=torch.Generator().manual_seed(1))


def assert_equal_weights(one, other):
    torch.testing.assert_close(one.state_dict(), other.state_dict(), rtol=0, atol=1e-6)


def test_uneven_micro_batches_make_the_step_of_one_large_batch():
    x = samples(20)
    large, small = network(), network(accumulate=4)
    large.learn(pair(x))
    before = copy.deepcopy(small.state_dict())
    for part in torch.split(x, [3, 8, 2, 7]):
        torch.testing.assert_close(small.state_dict(), before, rtol=0, atol=0)
        small.learn(pair(part))
        small.end_batch()
    assert_equal_weights(small, large)


def test_an_incomplete_group_steps_with_its_samples():
    x = samples(9)
    large, small = network(), network(accumulate=4)
    large.learn(pair(x))
    for part in torch.split(x, [5, 4]):
        small.learn(pair(part))
        small.end_batch()
    for each in small.optimizers:
        each.step()
    assert_equal_weights(small, large)


def test_a_step_without_batches_does_nothing():
    net = network(accumulate=2)
    before = copy.deepcopy(net.state_dict())
    for each in net.optimizers:
        each.step()
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_without_targets_makes_no_step(accumulate):
    weight = nn.Parameter(torch.ones(3))
    decayed = torch.optim.SGD([weight], lr=0.1, weight_decay=0.5)
    each = BlockOptimizer([weight], decayed, accumulate=accumulate)
    for _ in range(2):
        weight.grad = torch.zeros(3)
        each.update(0)
        each.end_batch()
    assert weight.grad is None
    assert torch.equal(weight.detach(), torch.ones(3))


class TwoRanks(Ranks):
    """Sums over two threads."""

    world = 2

    def __init__(self):
        self.barrier = threading.Barrier(2, timeout=10)
        self.parts = {}

    def sum(self, t):
        self.parts[threading.get_ident()] = t.clone()
        self.barrier.wait()
        total = sum(self.parts.values())
        self.barrier.wait()
        return t.copy_(total)

    def begin_sum(self, *parts):
        flat = torch.cat([t.reshape(-1) for t in parts])
        return lambda: self.sum(flat)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_uneven_shards_on_two_ranks_make_the_step_of_one_rank(accumulate):
    x = samples(20)
    large = network()
    large.learn(pair(x))
    both = TwoRanks()
    ranks = [network(accumulate=accumulate, ranks=both) for _ in range(2)]
    shards = torch.split(x, [13, 7])

    def work(net, shard):
        for part in shard.chunk(accumulate):
            net.learn(pair(part))
            net.end_batch()

    threads = [threading.Thread(target=work, args=pair) for pair in zip(ranks, shards, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert_equal_weights(ranks[0], ranks[1])
    assert_equal_weights(ranks[0], large)


def test_the_gradient_is_clipped_block_by_block():
    free, held = network(), network(clip=1e-3)
    start = copy.deepcopy(free.state_dict())
    for net in (free, held):
        net.learn(pair(100 * samples(6)))
    for name in ("0", "1"):
        for net, clipped in ((free, False), (held, True)):
            moved = [
                (p - start[key]).flatten()
                for key, p in net.state_dict().items()
                if key.startswith(f"body.{name}.")
            ]
            length = torch.cat(moved).norm() / 0.5
            if clipped:
                torch.testing.assert_close(length, torch.tensor(1e-3), rtol=1e-2, atol=0)
            else:
                assert length > 1e-2


def test_a_window_that_ends_without_parameters_makes_the_step_of_one_large_batch():
    class Relu(nn.Module):
        def forward(self, x):
            return x.relu()

    def made(accumulate):
        torch.manual_seed(0)
        first = LocalBlock(nn.Linear(D, D))
        net = LocalNetwork(
            nn.Sequential(first, LocalBlock(Relu(), Energy(), GoodnessLoss(Margin()))), (D,), 2
        )
        net.plan([range(1)])
        return with_optimizers(net, accumulate=accumulate)

    one, many, x = made(1), made(2), samples(8)
    one.learn(pair(x))
    for part in x.split((5, 3)):
        many.learn(pair(part))
        many.end_batch()
    assert_equal_weights(one, many)


def test_a_callers_leaf_gets_the_gradient_of_a_mean_with_accumulation():
    def gradient(accumulate):
        net, views = network(1, accumulate=accumulate), pair(samples(4))
        leaf = views.x.clone().requires_grad_()
        net.learn(Views(leaf, views.roles, views.sizes))
        return leaf.grad

    torch.testing.assert_close(gradient(3), gradient(1))


def test_parameters_without_a_gradient_do_not_change():
    net = network(1, accumulate=2)
    idle = nn.Parameter(torch.ones(3))
    net.blocks[0].body.register_parameter("idle", idle)
    with_optimizers(net, torch.optim.AdamW, lr=0.1, accumulate=2)
    for part in samples(4).split(2):
        net.learn(pair(part))
        net.end_batch()
    assert torch.equal(idle, torch.ones(3))


def test_an_idle_rank_adds_nothing():
    net = network(1, accumulate=2)
    net.record = lambda *_: pytest.fail("nothing of it is recorded")
    before = copy.deepcopy(net.state_dict())
    with shared_by(Idle(Ranks())):
        net.learn(pair(samples(3)))
    net.record = None
    net.learn(pair(samples(2)))
    assert net.optimizers.blocks["block1"].samples == 2
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("listens", [False, True])
def test_a_step_is_the_optimisers_own_and_its_hooks_are_called(listens):
    mine, theirs = (nn.Parameter(torch.ones(D)) for _ in range(2))
    reference = torch.optim.Adam([theirs], fused=True)
    each = BlockOptimizer([mine], torch.optim.Adam([mine], fused=True))
    heard = []
    if listens:
        each.optimizer.register_step_post_hook(lambda *_: heard.append("after"))
    for k in range(3):
        mine.grad, theirs.grad = (torch.linspace(-1, k, D) for _ in range(2))
        each.update(1)
        reference.step()
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0)
    assert heard == ["after"] * 3 * listens


def test_a_users_own_step_is_called():
    taken = []

    class Mine(torch.optim.SGD):
        @functools.wraps(torch.optim.SGD.step)
        def step(self, closure=None):
            taken.append(1)
            return super().step(closure)

    parameter = nn.Parameter(torch.ones(D))
    torch.optim.SGD([parameter], lr=1.0)  # torch wraps the class's step when the first one is made
    each = BlockOptimizer([parameter], Mine([parameter], lr=1.0))
    parameter.grad = torch.ones(D)
    each.update(1)
    assert taken == [1]
    assert (parameter == 0).all()


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_a_gradient_with_other_strides_makes_the_same_step(make):
    weights = []
    for lies in (torch.Tensor.contiguous, lambda g: g.T.contiguous().T):
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3))
        each = BlockOptimizer([weight], make([weight], lr=0.1, fused=True))
        for _ in range(2):
            weight.grad = lies(torch.randn(4, 3))
            each.update(1)
        weights.append(weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=0)


@pytest.mark.parametrize("make", [torch.optim.SGD, torch.optim.Adam])
def test_a_loaded_state_with_other_strides_makes_the_same_step(make):
    options = {"momentum": 0.9} if make is torch.optim.SGD else {}
    weights = []
    for lies in (torch.clone, torch.Tensor.contiguous):  # a message between ranks is contiguous
        torch.manual_seed(0)
        weight = nn.Parameter(torch.randn(4, 3, 2, 2).contiguous(memory_format=torch.channels_last))
        each = BlockOptimizer([weight], make([weight], lr=0.1, fused=True, **options))
        for _ in range(2):
            weight.grad = torch.randn(4, 3, 2, 2)
            each.update(1)
            state = each.optimizer.state_dict()
            for values in state["state"].values():
                values.update({key: lies(v) for key, v in values.items() if isinstance(v, torch.Tensor)})
            each.load_optimizer(state)
        weights.append(weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=0)
