"""Square heads."""

import pytest
import torch
from torch.nn import functional as F

from ffcore.interfaces import Context
from ffcore_local.square_head import SquareHead


def bound(shape, **options):
    made = SquareHead(**options)
    made.setup(Context(shape, 3, name="conv1"))
    return made


def test_images_give_the_mean_of_squares_of_a_convolution():
    head = bound((4, 5, 6))
    x = torch.randn(2, 4, 5, 6)
    z = F.conv2d(x, head.linear.weight.view(3, 4, 1, 1))
    torch.testing.assert_close(head(x), z.square().mean((2, 3)))


def test_dense_activities_give_the_square():
    head = bound((2,), bias=True)
    with torch.no_grad():
        head.linear.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]))
        head.linear.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    torch.testing.assert_close(head(torch.tensor([[3.0, 1.0]])), torch.tensor([[9.0, 9.0, 16.0]]))


def test_tokens_are_averaged_over_their_positions():
    head = bound((7, 4), dim=-1)
    x = torch.randn(5, 7, 4)
    torch.testing.assert_close(head(x), head.linear(x).square().mean(1))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [((7, 4), {}, "block conv1: .*set dim"), ((7, 4), {"dim": 2}, "dim: 2 is not a dimension")],
)
def test_a_dimension_that_does_not_fit_is_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        bound(shape, **options)
