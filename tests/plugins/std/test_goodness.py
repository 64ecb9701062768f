import pytest
import torch

from ffcore.interfaces import Context
from ffcore_std.goodness import Logits


def test_logits_are_the_activity_itself():
    h = torch.randn(2, 3)
    assert torch.equal(Logits()(h), h)


def test_an_activity_of_another_width_is_refused():
    with pytest.raises(ValueError, match=r"block head has activity \(4,\) for 3 classes"):
        Logits().setup(Context((4,), 3, name="head"))
