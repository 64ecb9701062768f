import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ffcore.interfaces import Context, Out, Progress, Views
from ffcore.local import LocalBlock
from ffcore_channel.contrast import Contrast, supervised_contrast

BLOCK = LocalBlock(nn.Identity())


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bound(shape, **options):
    made = Contrast(**options)
    made.setup(Context(shape, 3, name="conv1", blocks=2))
    return made.double()


def term(penalty, handoff, y):
    views = Views(torch.zeros(len(y), 1), ("all",), (len(y),), y=torch.tensor(y))
    return penalty(Out(handoff, handoff, None), BLOCK, views)


def plainly(z, y, temperature):
    """Anchor by anchor, pair by pair."""
    total = torch.zeros((), dtype=z.dtype)
    for i in range(len(z)):
        friends = [p for p in range(len(z)) if p != i and y[p] == y[i]]
        rivals = sum(torch.exp(z[i] @ z[a] / temperature) for a in range(len(z)) if a != i)
        for p in friends:
            total = total - torch.log(torch.exp(z[i] @ z[p] / temperature) / rivals) / len(friends)
    return total / len(z)


@pytest.mark.parametrize("y", [[0, 0, 1, 1, 2, 2], [0, 1, 1, 1, 2, 0], [0, 0, 0, 0, 0, 0]])
def test_contrast_and_its_gradient_are_those_of_the_plain_formula(y):
    z = F.normalize(numbers(6, 5), dim=1).requires_grad_()
    made, right = supervised_contrast(z, torch.tensor(y), 0.3), plainly(z, y, 0.3)
    torch.testing.assert_close(made, right, rtol=0, atol=1e-12)
    (mine,), (theirs,) = (torch.autograd.grad(loss, z) for loss in (made, right))
    torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)


def test_without_any_pair_of_a_class_the_term_is_zero():
    h = numbers(3, 8).requires_grad_()
    made = term(bound((8,)), h, [0, 1, 2])
    (gradient,) = torch.autograd.grad(made, h)
    assert made == 0
    assert not gradient.any()


@pytest.mark.parametrize("mode", [True, False])
def test_the_term_of_one_sample_is_zero(mode):
    assert term(bound((8,)).train(mode), numbers(1, 8), [0]) == 0


@pytest.mark.parametrize(
    ("shape", "places", "inputs"),
    [
        ((100, 8, 8), (4, 4), 1600),
        ((101, 8, 8), (2, 2), 404),
        ((401, 8, 8), (1, 1), 401),
        ((50, 3, 3), (3, 3), 450),
        ((50,), (), 50),
    ],
)
def test_projections_read_pooled_positions(shape, places, inputs):
    penalty = bound(shape)
    assert penalty.places == places
    assert penalty.projection[0].weight.shape == (128, inputs)
    assert term(penalty, numbers(4, *shape), [0, 0, 1, 1]).isfinite()


def test_the_term_is_the_weighted_contrast_of_projections():
    penalty, h, y = bound((6, 8, 8), weight=0.5), numbers(4, 6, 8, 8), [0, 0, 1, 1]
    pooled = h.view(4, 6, 4, 2, 4, 2).mean((3, 5)).flatten(1) @ penalty.projection[0].weight.T
    centred = pooled - pooled.mean(0)
    normed = centred / (centred.square().mean(0) + 1e-5).sqrt()
    right = 0.5 * plainly(F.normalize(normed, dim=1), y, 0.8)
    torch.testing.assert_close(term(penalty, h, y), right, rtol=1e-6, atol=1e-8)


def test_temperature_falls_linearly_then_by_half_a_cosine():
    penalty, seen = bound((8,)), {}
    for epoch in (0, 25, 50, 75, 100):
        penalty.advance(Progress(epoch, 0, 100))
        seen[epoch] = float(penalty.temperature)
    assert seen == pytest.approx({0: 0.8, 25: 0.5, 50: 0.2, 75: 0.15, 100: 0.1})
    after = 0.1 + 0.05 * (1 + math.cos(math.pi * 0.2))
    assert penalty.temperature_at(60, 100) == pytest.approx(after)


def test_a_run_shorter_than_the_warm_up_only_falls():
    penalty = bound((8,))
    assert [penalty.temperature_at(e, 10) for e in (0, 9)] == pytest.approx([0.8, 0.692])
    assert bound((8,), warmup=0).temperature_at(0, 10) == pytest.approx(0.2)


def test_a_handoff_of_another_shape_is_refused():
    with pytest.raises(ValueError, match="the handoff has the shape \\(4,\\), the activity \\(8,\\)"):
        term(bound((8,)), numbers(4, 4), [0, 0, 1, 1])


def test_its_state_is_in_checkpoints():
    one, other, h = bound((8,)), bound((8,)), numbers(4, 8)
    term(one, h, [0, 0, 1, 1])  # moves the running statistics on
    one.advance(Progress(30, 0, 100))
    other.load_state_dict(one.state_dict())
    made = [term(penalty.eval(), h, [0, 0, 1, 1]) for penalty in (one, other)]
    torch.testing.assert_close(made[0], made[1], rtol=0, atol=0)
