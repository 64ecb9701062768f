import math

import pytest
import torch
from torch import nn

from ffcore.interfaces import Context, Progress
from ffcore_channel.assignment import ChannelAssignment
from ffcore_channel.pooling import responses

R, C, K = 4, 6, 3


def numbers(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bound(shape=(C, 4, 5), **options):
    made = ChannelAssignment(**options)
    made.setup(Context(shape, K, name="conv1", blocks=2))
    return made


def plainly(h, logits, tau, epoch, factors=(0.94, 0.06, -0.05)):
    """As in the reference: response, temperature, softmax over classes, sum over channels."""
    flat = h.flatten(2) if h.dim() > 2 else h.unsqueeze(2)
    a = factors[0] * flat.mean(2) + factors[1] * flat.amax(2) + factors[2] * flat.amin(2)
    temperature = torch.clamp(torch.exp(tau), 0.1, 100) * 0.995**epoch
    e = torch.exp(logits / temperature)
    return torch.einsum("rc,ck->rk", a, e / e.sum(1, keepdim=True))


@pytest.mark.parametrize("shape", [(C,), (C, 4, 5), (C, 1, 1), (C, 7), (C, 2, 3, 4)])
@pytest.mark.parametrize("epoch", [0, 40])
def test_goodness_and_gradients_are_those_of_the_plain_formula(shape, epoch):
    goodness = bound(shape).double()
    nn.init.normal_(goodness.logits)
    goodness.advance(Progress(epoch, 0, 100))
    h = numbers(R, *shape).requires_grad_()
    wanted = [h, goodness.logits, goodness.log_temperature]
    made, right = goodness(h), plainly(h, goodness.logits, goodness.log_temperature, epoch)
    torch.testing.assert_close(made, right, rtol=0, atol=1e-12)
    up = numbers(R, K, seed=1)
    mine, theirs = (torch.autograd.grad(g, wanted, up) for g in (made, right))
    for one, other in zip(mine, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


@pytest.mark.parametrize("factors", [(0.9, 0.0, 0.0), (1.0, 0.2, 0.0), (1.0, 0.0, -0.3), (0.0, 1.0, 1.0)])
@pytest.mark.parametrize(
    "memory_format", [torch.contiguous_format, torch.channels_last], ids=["contiguous", "channels-last"]
)
def test_responses_keep_the_memory_format(factors, memory_format):
    h = numbers(R, C, 4, 5).contiguous(memory_format=memory_format).requires_grad_()
    right = sum(f * s for f, s in zip(factors, (h.mean((2, 3)), h.amax((2, 3)), h.amin((2, 3))), strict=True))
    made, up = responses(h, *factors), numbers(R, C, seed=1)
    torch.testing.assert_close(made, right, rtol=0, atol=1e-12)
    (mine,), (theirs,) = (torch.autograd.grad(a, h, up) for a in (made, right))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    assert mine.is_contiguous(memory_format=memory_format)


def test_responses_of_a_part_of_a_tensor():
    whole = numbers(R, 2 * C, 4, 5)
    h = whole[:, ::2, :, 1:].requires_grad_()
    right = h.mean((2, 3)) + 0.5 * h.amax((2, 3)) + 0.25 * h.amin((2, 3))
    made = responses(h, 1.0, 0.5, 0.25)
    torch.testing.assert_close(made, right)
    (mine,), (theirs,) = (torch.autograd.grad(a.square().sum(), h) for a in (made, right))
    torch.testing.assert_close(mine, theirs)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_one_of_several_maxima_gets_the_gradient(memory_format):
    h = torch.zeros(1, 1, 2, 3).contiguous(memory_format=memory_format).requires_grad_()
    (gradient,) = torch.autograd.grad(responses(h, 0.0, 1.0, 0.0).sum(), h)
    assert sorted(gradient.flatten().tolist()) == [0, 0, 0, 0, 0, 1]


def test_the_activity_is_not_kept_for_backward():
    kept = []
    h = numbers(R, C, 8, 8).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
        responses(h, 0.94, 0.06, -0.05)
    assert kept == [R * C, R * C]


def test_autocast_does_not_lower_the_precision():
    goodness = bound((C, 4, 4))
    h = numbers(R, C, 4, 4, dtype=torch.float32).bfloat16()
    right = plainly(h.double(), goodness.logits.double(), goodness.log_temperature.double(), 0)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(goodness(h).double(), right, rtol=1e-5, atol=1e-5)
    leaf = h.requires_grad_()
    (gradient,) = torch.autograd.grad(goodness(leaf).sum(), leaf)
    assert gradient.dtype == torch.bfloat16


def test_every_channel_holds_a_distribution():
    goodness = bound()
    assert goodness.assignment().shape == (C, K)
    torch.testing.assert_close(goodness.assignment().sum(1), torch.ones(C))


def test_temperature_starts_at_ten_and_cools():
    goodness = bound()
    assert goodness.temperature().item() == pytest.approx(10)
    goodness.advance(Progress(149, 0, 150))
    assert goodness.temperature().item() == pytest.approx(10 * 0.474, rel=1e-3)  # the reference's figure
    with torch.no_grad():
        goodness.log_temperature.fill_(math.log(1e-3))
    assert goodness.temperature().item() == pytest.approx(0.1 * 0.995**149)


def first_gradients(init):
    """Of a convolution before a cross-entropy on its goodness, and of A."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv, goodness = nn.Conv2d(2, C, 3).double(), bound((C, 4, 4), init=init).double()
    g = goodness(torch.relu(conv(numbers(8, 2, 6, 6))))
    loss = nn.functional.cross_entropy(g, torch.arange(8) % K)
    found = torch.autograd.grad(loss, [conv.weight, goodness.logits])
    return [float(gradient.abs().max()) for gradient in found]


def test_the_constant_init_leaves_the_body_without_a_first_gradient():
    of_weights, of_logits = first_gradients("constant")
    assert of_weights < 1e-15
    assert of_logits > 1e-4


def test_the_random_init_gives_the_body_a_small_first_gradient():
    assert first_gradients("normal")[0] > 1e-6


def test_the_init_as_a_partition_gives_the_body_its_full_gradient_from_the_start():
    assert first_gradients("partition")[0] > 100 * first_gradients("normal")[0]


@pytest.mark.parametrize("odds", [2.0, 9.0])
@pytest.mark.parametrize("temperature", [1.0, 10.0])
@pytest.mark.parametrize(
    ("classes", "own"), [(1, [0] * 7), (2, [0, 0, 0, 0, 1, 1, 1]), (3, [0, 0, 0, 1, 1, 2, 2])]
)
def test_a_partition_gives_every_channel_a_class(classes, own, odds, temperature):
    goodness = ChannelAssignment(temperature=temperature, odds=odds)
    goodness.setup(Context((7, 2, 2), classes, name="conv1", blocks=2))
    shares = goodness.assignment()
    right = torch.full((7, classes), 1.0)
    right[torch.arange(7), own] = odds
    torch.testing.assert_close(shares, right / (odds + classes - 1))


def test_its_state_is_in_checkpoints():
    goodness, other = bound(), bound()
    goodness.advance(Progress(7, 0, 10))
    assert not torch.equal(goodness.assignment(), other.assignment())
    other.load_state_dict(goodness.state_dict())
    torch.testing.assert_close(other.assignment(), goodness.assignment(), rtol=0, atol=0)
    assert set(goodness.state_dict()) == {"logits", "log_temperature", "cooled"}


def test_odds_that_make_all_classes_equal_are_refused():
    with pytest.raises(ValueError, match="odds: 1 should be greater than 1"):
        ChannelAssignment(odds=1)
