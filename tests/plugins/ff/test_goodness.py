import pytest
import torch

from ffcore_ff.goodness import MeanSquares, NegativeSumSquares, SumSquares

H = torch.tensor([[1.0, 2.0], [0.0, 3.0]])


@pytest.mark.parametrize(
    ("goodness", "right"),
    [(SumSquares, [5.0, 9.0]), (MeanSquares, [2.5, 4.5]), (NegativeSumSquares, [-5.0, -9.0])],
)
def test_by_hand_for_vectors_and_for_maps(goodness, right):
    assert goodness()(H).tolist() == right
    assert goodness()(H.view(2, 2, 1, 1)).tolist() == right


def test_low_precision_is_summed_in_float32():
    h = torch.ones(1, 1000, dtype=torch.bfloat16)  # bfloat16 counts to 256 only
    assert SumSquares()(h).item() == 1000.0


def test_a_mean_over_real_tokens_does_not_depend_on_padding():
    tokens = torch.randn(2, 3, 4)
    padded = torch.cat([tokens, torch.zeros(2, 5, 4)], dim=1)
    goodness = MeanSquares(padding=True)
    torch.testing.assert_close(goodness(padded), MeanSquares()(tokens))
    assert goodness(torch.zeros(1, 3, 4)).item() == 0
    padded.requires_grad_()
    (gradient,) = torch.autograd.grad(goodness(padded).sum(), padded)
    torch.testing.assert_close(goodness.vjp(padded, torch.ones(2)), gradient)
