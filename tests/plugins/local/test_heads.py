import pytest
import torch
from torch.nn import functional as F

from ffcore.interfaces import Context
from ffcore_local.heads import LinearHead, cells


def bound(shape, classes=3, **options):
    made = LinearHead(**options)
    made.setup(Context(shape, classes, name="conv1"))
    return made


@pytest.mark.parametrize(
    ("channels", "side", "kernel"),
    [
        (128, 32, (8, 8)),
        (256, 32, (16, 8)),
        (256, 16, (8, 4)),
        (512, 16, (8, 8)),
        (512, 8, (4, 4)),
        (512, 4, (2, 2)),
    ],
)
def test_pooling_of_vgg8b_is_that_of_the_authors_code(channels, side, kernel):
    h, w = cells((channels, side, side), 2048, None)
    assert (side // h, side // w) == kernel


def test_odd_sides_are_pooled_without_rest():
    assert cells((256, 28, 28), 1024, None) == (2, 2)
    assert cells((256, 7, 7), 2048, None) == (1, 7)
    assert cells((5000, 7, 7), 1024, None) == (1, 1)


def test_logits_are_a_linear_map_of_cell_means():
    head = bound((2, 4, 4), features=8, init="uniform")
    x = torch.randn(5, 2, 4, 4)
    f = x.view(5, 2, 2, 2, 2, 2).mean((3, 5)).permute(0, 2, 3, 1).flatten(1)  # by cell, then channel
    torch.testing.assert_close(head(x), F.linear(f, head.linear.weight, head.linear.bias))


def test_a_normalised_head_reads_a_mean_square_of_one_and_has_a_gradient_at_zero():
    head = bound((4,), normalise=True, init="uniform")
    x = torch.randn(5, 4)
    torch.testing.assert_close(
        head(x), head.linear(2 * x / x.norm(dim=1, keepdim=True)), rtol=1e-4, atol=1e-5
    )
    silent = torch.zeros(2, 4, requires_grad=True)
    head(silent).sum().backward()
    assert silent.grad.isfinite().all()


def test_padding_changes_neither_the_mean_of_tokens_nor_what_normalises_them():
    tokens = torch.randn(3, 4, 6)
    short = bound((4, 6), dim=-1, normalise=True, init="uniform")
    for dim in (-1, 0):
        long = bound((9, 6) if dim == -1 else (6, 9), dim=dim, padding=True, normalise=True, init="uniform")
        long.linear = short.linear
        padded = torch.cat([tokens, torch.zeros(3, 5, 6)], 1)
        torch.testing.assert_close(long(padded if dim == -1 else padded.transpose(1, 2)), short(tokens))
    nothing = torch.zeros(2, 6, 9, requires_grad=True)  # of padding only
    made = long(nothing)
    torch.testing.assert_close(made, long.linear.bias.expand(2, -1))
    made.sum().backward()
    assert nothing.grad.isfinite().all()


def test_both_ways_to_average_cells_give_the_same_features_and_gradients():
    x = torch.randn(16, 3, 6, 8, dtype=torch.float64)
    head = bound((3, 6, 8), grid=2, init="uniform").double()
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(head(leaf), head(x))
    (gradient,) = torch.autograd.grad(head(leaf).sum(), leaf)
    weight = head.linear.weight.sum(0).view(2, 2, 3).permute(2, 0, 1) / 12
    right = weight.repeat_interleave(3, 1).repeat_interleave(4, 2)
    torch.testing.assert_close(gradient, right.expand(16, -1, -1, -1))


def test_tokens_are_averaged_over_the_other_dimensions():
    head = bound((7, 4), dim=-1, init="uniform")
    x = torch.randn(5, 7, 4)
    torch.testing.assert_close(head(x), head.linear(x.mean(1)))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((7, 4), {}, r"block conv1: an activity \(7, 4\) may be tokens or channels; set dim"),
        ((2, 6, 6), {"grid": 4}, "4 cells do not divide an image of 6×6 pixels; these do: 1, 2, 3, 6"),
        ((7, 4), {"dim": 3}, "dim: 3 is not a dimension of an activity"),
    ],
)
def test_a_pooling_that_does_not_fit_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        bound(shape, **options)


def test_a_fixed_head_needs_random_values():
    with pytest.raises(ValueError, match="a fixed head of zeros teaches nothing"):
        LinearHead(fixed=True)
    head = bound((8,), fixed=True, init="he")
    assert not any(p.requires_grad for p in head.parameters())
    assert head.linear.weight.std() > 0


def test_power_two_reads_the_means_of_squares_of_the_cells():
    head = bound((2, 4, 4), grid=2, init="he", fixed=True, power=2)
    x = torch.randn(5, 2, 4, 4)
    f = x.square().view(5, 2, 2, 2, 2, 2).mean((3, 5)).permute(0, 2, 3, 1).flatten(1)
    torch.testing.assert_close(head(x), F.linear(f, head.linear.weight, head.linear.bias))
