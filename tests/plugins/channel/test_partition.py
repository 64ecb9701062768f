import pytest
import torch
from torch import nn

from ffcore.interfaces import Context
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork
from ffcore_channel.objectives import CwC
from ffcore_channel.partition import ChannelPartition

R, K = 5, 3
LEVEL = [0, 1, 0]


def bound(shape, classes=K, depth=0, blocks=2, **options):
    made = ChannelPartition(**options)
    made.setup(Context(shape, classes, name="conv1", rank=depth, ranks=blocks))
    return made


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def plainly(h, power, columns=None):
    """Group by group, row by row."""
    size = h.shape[1] // K
    of_class = [(h[:, k * size : (k + 1) * size] ** power).flatten(1).mean(1) for k in range(K)]
    if columns is None:
        return torch.stack(of_class, 1)
    number = max(columns) + 1
    of = [[g for g, column in zip(of_class, columns, strict=True) if column == c] for c in range(number)]
    return torch.stack([torch.stack(classes).mean(0) for classes in of], 1)


@pytest.mark.parametrize("shape", [(6,), (6, 4, 5), (3, 1, 1), (6, 4)])
@pytest.mark.parametrize("power", [1, 2])
@pytest.mark.parametrize("columns", [None, LEVEL])
def test_goodness_and_its_gradient_are_those_of_the_plain_formula(shape, power, columns):
    goodness = bound(shape, power=power, hierarchy=None if columns is None else [columns]).double()
    h = numbers(R, *shape).requires_grad_()
    right = plainly(h, power, columns)
    made = goodness(h)
    torch.testing.assert_close(made, right, rtol=0, atol=1e-12)
    up = numbers(*right.shape, seed=1)
    (gradient,) = torch.autograd.grad(right, h, up)
    torch.testing.assert_close(goodness.vjp(h.detach(), up), gradient, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.autograd.grad(made, h, up)[0], gradient, rtol=0, atol=1e-12)


@pytest.mark.parametrize("doubled", [True, False])
def test_super_classes_are_means_in_the_precision_of_the_activity(doubled):
    """Thirds in float32 would be wrong by 1e-8."""
    goodness = bound((5,), classes=5, hierarchy=[[0, 1, 0, 0, 1]])
    h = numbers(R, 5).requires_grad_()
    made = (goodness.double() if doubled else goodness)(h)
    right = torch.stack([h[:, [0, 2, 3]].mean(1), h[:, [1, 4]].mean(1)], 1)
    assert made.dtype == torch.float64
    torch.testing.assert_close(made, right, rtol=0, atol=1e-14)
    up = numbers(R, 2, seed=1)
    (gradient,) = torch.autograd.grad(right, h, up)
    torch.testing.assert_close(goodness.vjp(h.detach(), up), gradient, rtol=0, atol=1e-14)


@pytest.mark.parametrize("power", [1, 2])
def test_channels_last_gives_the_same(power):
    goodness, h, up = bound((6, 4, 5), power=power), numbers(R, 6, 4, 5), numbers(R, K)
    last = h.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(goodness(last), goodness(h))
    gradient = goodness.vjp(last, up)
    torch.testing.assert_close(gradient, goodness.vjp(h, up))
    assert power == 1 or gradient.is_contiguous(memory_format=torch.channels_last)


def test_the_gradient_of_a_mean_is_one_number_a_channel():
    gradient = bound((6, 4, 5)).vjp(numbers(R, 6, 4, 5), numbers(R, K))
    assert gradient.untyped_storage().nbytes() == R * 6 * 8


def test_low_precision_is_averaged_in_float32():
    h = torch.full((2, 3, 64, 64), 1.01).bfloat16()
    assert bound((3, 64, 64))(h).dtype == torch.float32
    torch.testing.assert_close(bound((3, 64, 64))(h), h[:, :, 0, 0].float(), rtol=1e-6, atol=0)


def test_super_classes_show_as_evidence_of_every_class():
    goodness, h = bound((6,), hierarchy=[LEVEL]), numbers(R, 6).float()
    made = goodness(h)
    assert made.shape == (R, 2)
    assert goodness.column_of.tolist() == LEVEL
    torch.testing.assert_close(goodness.evidence(made), made[:, LEVEL])


def test_the_last_block_has_the_classes():
    goodness = bound((6,), depth=1, hierarchy=[LEVEL])
    assert goodness.column_of is None
    assert goodness(numbers(R, 6)).shape == (R, K)


def test_channels_for_super_classes_alone_are_dealt_to_these():
    # eight channels are no multiple of three classes, but of two super-classes
    goodness, h = bound((8,), hierarchy=[LEVEL]), numbers(R, 8)
    right = torch.stack([h[:, :4].mean(1), h[:, 4:].mean(1)], 1)
    torch.testing.assert_close(goodness(h), right)
    assert goodness.assignment().tolist() == [[1, 0]] * 4 + [[0, 1]] * 4


@pytest.mark.parametrize(
    ("channels", "right"), [(100, "99 or 102"), (2, "3"), (4, "3 or 6")], ids=["100", "2", "4"]
)
def test_a_width_that_does_not_divide_is_refused_with_the_nearest_that_do(channels, right):
    with pytest.raises(ValueError, match=rf"C = {channels} channels.*\(K = 3\).* widths are {right}$"):
        bound((channels, 4, 4))


def test_assignment_has_a_one_for_each_channel():
    assert bound((6, 2, 2)).assignment().tolist() == [[1, 0, 0]] * 2 + [[0, 1, 0]] * 2 + [[0, 0, 1]] * 2
    assert bound((3,), hierarchy=[LEVEL]).assignment().tolist() == [[1, 0], [0, 1], [1, 0]]


def test_in_a_network_objectives_judge_by_super_class():
    blocks = [
        LocalBlock(nn.Linear(6, 6), ChannelPartition(hierarchy=[LEVEL]), GoodnessLoss(CwC()))
        for _ in range(2)
    ]
    LocalNetwork(nn.Sequential(*blocks), (6,), K)
    assert blocks[0].loss.objective.column_of.tolist() == LEVEL
    assert blocks[1].loss.objective.column_of is None


def test_checkpoints_do_not_contain_it():
    assert not bound((6,), hierarchy=[LEVEL]).state_dict()
