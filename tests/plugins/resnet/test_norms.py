"""Norms between convolutions, compared with torch's and with the formulas."""

import pytest
import torch
from torch.nn import functional as F

from ffcore.interfaces import Context
from ffcore_resnet.norms import BatchNorm, GroupNorm, InstanceNorm, channels_last_norm


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


@pytest.mark.parametrize("groups", [1, 4, 12])
def test_the_norm_of_gpus_is_torchs_and_keeps_channels_last(groups):
    x = torch.randn(3, 12, 5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) + 2
    last = x.to(memory_format=torch.channels_last).requires_grad_()
    plain = x.clone().requires_grad_()
    made, wanted = channels_last_norm(last, groups), F.group_norm(plain, groups)
    torch.testing.assert_close(made, wanted, rtol=1e-10, atol=1e-10)
    assert made.is_contiguous(memory_format=torch.channels_last)
    weight = torch.randn_like(x)
    (made * weight).sum().backward()
    (wanted * weight).sum().backward()
    torch.testing.assert_close(last.grad, plain.grad, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("autocast", [True, False])
def test_in_bfloat16_it_sums_in_float32(autocast):
    x = (torch.randn(2, 4, 6, 6) + 30).bfloat16().to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        made = channels_last_norm(x, 4)
    assert made.dtype == (torch.float32 if autocast else torch.bfloat16)
    wanted = F.group_norm(x.float(), 4)
    torch.testing.assert_close(made.float(), wanted, rtol=1e-2, atol=1e-2)
