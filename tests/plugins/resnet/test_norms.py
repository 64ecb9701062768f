"""Norms between convolutions, compared with torch's and with the formulas."""

import pytest
import torch
from torch.nn import functional as F

from ffcore.interfaces import Context
from ffcore_resnet.norms import BatchNorm, GroupNorm, InstanceNorm


def activity(channels=6, side=5):
    return torch.randn(4, channels, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("graph", [False, True])
def test_instance_norm_is_torchs(layout, graph):
    x = activity().contiguous(memory_format=layout)
    with torch.set_grad_enabled(graph):
        torch.testing.assert_close(InstanceNorm()(x), F.instance_norm(x), rtol=1e-5, atol=1e-5)


def test_instance_norm_takes_every_channels_mean_off():
    made = InstanceNorm()(activity().relu())
    torch.testing.assert_close(made.mean((2, 3)), torch.zeros(4, 6), rtol=0, atol=1e-6)


def test_a_single_pixel_is_unchanged():
    x = activity(side=1)
    assert InstanceNorm()(x) is x


def test_group_norm_has_a_group_a_class():
    norm = GroupNorm()
    norm.setup(Context((6, 5, 5), 3))
    x = activity()
    groups = x.view(4, 3, -1)
    centred = groups - groups.mean(2, keepdim=True)
    right = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(norm(x), right.view_as(x), rtol=1e-5, atol=1e-5)


def test_channels_that_the_groups_do_not_divide_are_refused():
    with pytest.raises(
        ValueError, match="4 groups do not divide 6 channels; the nearest valid widths are 4 or 8"
    ):
        GroupNorm().setup(Context((6, 5, 5), 4))


def test_batch_norm_remembers_the_batches():
    norm = BatchNorm((6, 5, 5))
    norm(activity())
    assert norm.norm.running_mean.abs().sum() > 0
    assert not list(norm.parameters())
