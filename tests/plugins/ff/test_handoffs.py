import pytest
import torch

from ffcore_ff.handoffs import L2, RMS


def test_rms_makes_the_squares_sum_to_the_number_of_units():
    for shape in ((7,), (3, 4, 4)):
        z = RMS()(torch.randn(5, *shape, generator=torch.Generator().manual_seed(0)))
        units = z[0].numel()
        torch.testing.assert_close(z.square().flatten(1).sum(1), torch.full((5,), float(units)))


def test_rms_of_each_vector_does_not_depend_on_padding():
    tokens = torch.randn(2, 3, 4)
    padded = torch.cat([tokens, torch.zeros(2, 5, 4)], dim=1)
    z = RMS(dim=-1)(padded)
    torch.testing.assert_close(z[:, :3], RMS()(tokens.flatten(0, 1)).view(2, 3, 4))
    assert not z[:, 3:].any()
    torch.testing.assert_close(RMS(dim=0)(padded.transpose(1, 2)), z.transpose(1, 2))


def test_rms_takes_off_no_mean():
    torch.testing.assert_close(RMS()(torch.tensor([[3.0, 3.0]])), torch.tensor([[1.0, 1.0]]))


def test_l2_makes_length_one():
    torch.testing.assert_close(L2()(torch.tensor([[3.0, 4.0]])), torch.tensor([[0.6, 0.8]]))


def test_silent_rows_stay_silent():
    for handoff in (RMS(), L2()):
        assert not handoff(torch.zeros(1, 4)).any()


@pytest.mark.parametrize("handoff", [RMS(), L2(), RMS(dim=-1)])
def test_a_silent_row_has_the_gradient_of_the_row_itself(handoff):
    """x/(r + ε) has a derivative of 1/ε = 10⁸ at 0, which a window of several blocks would learn from."""
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    up = torch.tensor([[0.5, -2.0], [1.0, 1.0]], dtype=torch.float64)
    z = handoff(x)
    (given,) = torch.autograd.grad(z, x, up)
    assert not z[0].any()
    torch.testing.assert_close(given[0], up[0])
    # by hand: z = c h/‖h‖, so ∂z/∂h up = c (up − ĥ (ĥ · up))/‖h‖ with ĥ = (3, 4)/5
    c = 1 if isinstance(handoff, L2) else 2**0.5
    torch.testing.assert_close(given[1], c * torch.tensor([0.16, -0.12], dtype=torch.float64) / 5)


def test_the_graph_does_not_change_the_values():
    x = torch.cat([torch.randn(6, 5), torch.zeros(1, 5)])
    for handoff in (RMS(), L2(), RMS(dim=-1)):
        assert torch.equal(handoff(x), handoff(x.clone().requires_grad_()).detach())
