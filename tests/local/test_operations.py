"""What torch's counter of operations leaves out or gets wrong."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ffcore.local.operations import OperationCounter


def test_attention_on_a_cpu_is_counted_as_its_matrix_products():
    q, k, v = (torch.rand(3, 4, n, 8, requires_grad=True) for n in (5, 7, 7))
    counted = {}
    for backend in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION):
        with sdpa_kernel(backend), OperationCounter() as forward:
            made = nn.functional.scaled_dot_product_attention(q, k, v)
        with OperationCounter() as backward:
            made.sum().backward()
        counted[backend] = forward.get_total_flops(), backward.get_total_flops()
    product = 2 * 3 * 4 * 5 * 7 * 8  # Q Kᵀ
    assert counted[SDPBackend.MATH] == (2 * product, 4 * product)
    assert counted[SDPBackend.FLASH_ATTENTION] == (2 * product, 5 * product)  # which computes Q Kᵀ again


def test_the_backward_pass_of_a_grouped_convolution_has_twice_its_operations():
    conv = nn.Conv2d(6, 4, 3, padding=1, groups=2, bias=False)
    x = torch.rand(2, 6, 5, 5, requires_grad=True)
    with OperationCounter() as forward:
        made = conv(x)
    with OperationCounter() as backward:
        made.sum().backward()
    assert forward.get_total_flops() == 2 * 2 * 25 * 4 * 3 * 9
    assert backward.get_total_flops() == 2 * forward.get_total_flops()


@pytest.mark.parametrize("learns", [False, True])
def test_layers_of_torch_are_counted_in_evaluation_mode_and_in_training(learns):
    """Six positions of 8 features: four projections, two products of attention, two layers of 16 units."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True).train(learns)
    before = torch.backends.mha.get_fastpath_enabled()
    with torch.set_grad_enabled(learns), OperationCounter() as operations:
        layer(torch.rand(3, 6, 8))
    assert operations.get_total_flops() == 2 * 3 * (6 * 4 * 8 * 8 + 2 * 6 * 6 * 8 + 2 * 6 * 8 * 16)
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_an_lstm_is_counted_as_its_matrix_products():
    lstm = nn.LSTM(5, 7, num_layers=2, batch_first=True)
    x = torch.rand(3, 4, 5, requires_grad=True)
    with OperationCounter() as forward:
        made, _ = lstm(x)
    with OperationCounter() as backward:
        made.sum().backward()
    assert forward.get_total_flops() == 2 * 3 * 4 * 4 * 7 * (5 + 7 + 7 + 7)
    assert backward.get_total_flops() == 2 * forward.get_total_flops()
