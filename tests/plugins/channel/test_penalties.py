import math

import pytest
import torch
from torch import nn

from ffcore.interfaces import Context, Out, Progress, Views
from ffcore.local import LocalBlock
from ffcore_channel.assignment import ChannelAssignment
from ffcore_channel.partition import ChannelPartition
from ffcore_channel.penalties import AssignmentEntropy, AssignmentOrthogonality


def block_of(channels, classes, init="normal", sigma=None):
    goodness = ChannelAssignment(init=init)
    goodness.setup(Context((channels,), classes, name="conv1", blocks=2))
    if sigma is not None:
        nn.init.normal_(goodness.logits, std=sigma)
    return LocalBlock(nn.Identity(), goodness.double())


def term(penalty, block):
    x = torch.zeros(2, 3)
    return penalty(Out(x, x, None), block, Views(x, ("all",), (2,)))


def entropy_plainly(w, form):
    """Section by section of the reference, with sums in loops."""
    rows = [-sum(v * math.log(v + 1e-10) for v in row) for row in w.tolist()]
    return sum(rows) / w.shape[1] if form == "released" else sum(rows) / len(rows) / math.log(w.shape[1])


def orthogonality_plainly(w, form):
    unit = w / w.square().sum(0).sqrt()
    off = torch.stack([torch.stack([(a * b).sum() for b in unit.T]) for a in unit.T]) - torch.eye(w.shape[1])
    channels, classes = w.shape
    return (off**2).sum() / classes**2 / (classes**2 * channels if form == "released" else 1)


@pytest.mark.parametrize(("form", "weight"), [("released", 1e-2), ("scale-free", 0.1)])
def test_entropy_is_the_plain_formula(form, weight):
    block = block_of(7, 4, sigma=20.0)
    right = weight * entropy_plainly(block.goodness.assignment(), form)
    assert term(AssignmentEntropy(form), block).item() == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize(("form", "weight"), [("released", 1e-3), ("scale-free", 1e-2)])
def test_orthogonality_is_the_plain_formula(form, weight):
    block = block_of(7, 4, sigma=20.0)
    right = weight * orthogonality_plainly(block.goodness.assignment(), form)
    made = term(AssignmentOrthogonality(form, warmup=0), block)
    torch.testing.assert_close(made, right, rtol=1e-6, atol=0)
    wanted = [block.goodness.logits, block.goodness.log_temperature]
    for one, other in zip(*(torch.autograd.grad(t, wanted) for t in (made, right)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-18)


@pytest.mark.parametrize(("channels", "classes"), [(100, 10), (800, 10), (100, 100)])
def test_at_uniform_assignments_the_released_figures_are_those_derived(channels, classes):
    block = block_of(channels, classes, init="constant")
    entropy = term(AssignmentEntropy("released", weight=1.0), block).item()
    assert entropy == pytest.approx(channels / classes * math.log(classes), rel=1e-6)
    overlap = term(AssignmentOrthogonality("released", weight=1.0, warmup=0), block).item()
    assert overlap == pytest.approx((1 - 1 / classes) / (classes**2 * channels), rel=1e-6)


def test_the_released_figures_at_the_start_of_the_papers_network():
    # weighted entropy 0.23 (C = 100) to 1.84 (C = 800); orthogonality about 9e-8: negligible
    first, last = (block_of(c, 10, init="constant") for c in (100, 800))
    assert term(AssignmentEntropy("released"), first).item() == pytest.approx(0.23, abs=0.005)
    assert term(AssignmentEntropy("released"), last).item() == pytest.approx(1.84, abs=0.005)
    assert term(AssignmentOrthogonality("released", warmup=0), first).item() == pytest.approx(9e-8, rel=0.01)


@pytest.mark.parametrize(("channels", "classes"), [(10, 10), (100, 10), (100, 20)])
def test_scale_free_forms_do_not_depend_on_the_width(channels, classes):
    block = block_of(channels, classes, init="constant")
    assert term(AssignmentEntropy(weight=1.0), block).item() == pytest.approx(1, rel=1e-6)
    overlap = term(AssignmentOrthogonality(weight=1.0, warmup=0), block)
    assert overlap.item() == pytest.approx(1 - 1 / classes, rel=1e-6)


def test_the_penalty_of_one_hot_assignments_is_zero():
    block = block_of(6, 3)
    with torch.no_grad():
        block.goodness.logits.copy_(1e4 * torch.eye(3).repeat(2, 1))
    assert term(AssignmentEntropy(), block).item() == pytest.approx(0, abs=1e-9)
    assert term(AssignmentOrthogonality(warmup=0), block).item() == pytest.approx(0, abs=1e-9)
    gradient = torch.autograd.grad(term(AssignmentEntropy(), block), block.goodness.logits)[0]
    assert gradient.isfinite().all()


@pytest.mark.parametrize(("epoch", "share"), [(0, 0), (25, 0.5), (50, 1), (120, 1)])
def test_orthogonality_warms_up(epoch, share):
    block = block_of(6, 3)
    whole = term(AssignmentOrthogonality(warmup=0), block).item()
    warming = AssignmentOrthogonality()
    warming.advance(Progress(epoch, 0, 150))
    assert term(warming, block).item() == pytest.approx(share * whole, rel=1e-6)


def test_the_warm_up_is_in_checkpoints():
    one, other = AssignmentOrthogonality(), AssignmentOrthogonality()
    one.advance(Progress(10, 0, 100))
    other.load_state_dict(one.state_dict())
    assert float(other.warmth) == pytest.approx(0.2)


@pytest.mark.parametrize("penalty", [AssignmentEntropy(), AssignmentOrthogonality()])
@pytest.mark.parametrize("goodness", [ChannelPartition(), None])
def test_a_block_that_learns_no_assignment_is_refused_before_it_learns(penalty, goodness):
    context = Context((10, 2, 2), 10, name="conv1", goodness=goodness)
    with pytest.raises(
        ValueError, match=r"block conv1 does not learn an assignment.*goodness: channel-assignment"
    ):
        penalty.setup(context)


@pytest.mark.parametrize("form", ["released", "scale-free"])
def test_the_entropy_of_one_class_is_refused(form):
    goodness = ChannelAssignment()
    goodness.setup(Context((6,), 1, name="conv1", blocks=2))
    with pytest.raises(ValueError, match="assignment-entropy: block conv1: all samples are of one class"):
        AssignmentEntropy(form).setup(Context((6,), 1, name="conv1", goodness=goodness))
