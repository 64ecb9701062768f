import math

import pytest
import torch

from ffcore.interfaces import Views
from ffcore_std.objectives import CrossEntropy


@pytest.mark.parametrize(("smoothing", "right"), [(0.0, math.log(4 / 3)), (0.5, 0.5623351)])
def test_by_hand_on_the_first_view(smoothing, right):
    # softmax(0, ln 3) = (1/4, 3/4), the true class is 1: -ln 3/4 = 0.2876821
    # smoothed by 1/2 over two classes: 3/4 · 0.2876821 + 1/4 · ln 4 = 0.5623351
    g = torch.tensor([[0.0, math.log(3)], [9.0, 0.0]])  # the second row is a second view's
    views = Views(torch.zeros(2, 1), ("positive", "negative"), (1, 1), y=torch.tensor([1]))
    torch.testing.assert_close(CrossEntropy(smoothing)(g, views), torch.tensor(right), rtol=0, atol=1e-6)
