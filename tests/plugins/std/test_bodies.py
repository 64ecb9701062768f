import pytest
import torch

from ffcore.interfaces import LabelledInput
from ffcore_std.bodies import Dense, relu_pass_through

X = torch.tensor([[1.0, 2.0], [-1.0, 0.5]])


@pytest.mark.parametrize(
    ("activation", "right"),
    [
        ("identity", [[-1.0, 3.5], [-1.5, 0.0]]),
        ("relu", [[0.0, 3.5], [0.0, 0.0]]),
        ("relu-pass-through", [[0.0, 3.5], [0.0, 0.0]]),
        ("tanh", [[-0.761594, 0.998178], [-0.905148, 0.0]]),
    ],
)
def test_dense_by_hand(activation, right):
    # W = [[1, -1], [1, 1]], b = (0, 0.5)
    dense = Dense((2,), 2, activation)
    dense.linear.weight.data = torch.tensor([[1.0, -1.0], [1.0, 1.0]])
    dense.linear.bias.data = torch.tensor([0.0, 0.5])
    torch.testing.assert_close(dense(X), torch.tensor(right), rtol=0, atol=1e-5)


def test_dense_flattens_images():
    dense = Dense((2, 3, 3), 4)
    assert dense(torch.zeros(5, 2, 3, 3)).shape == (5, 4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("views", [1, 3])
def test_a_labelled_input_gives_what_its_dense_form_gives(bias, views):
    dense = Dense((1, 3, 3), 4, "identity", bias)
    base = torch.rand(2, 1, 3, 3)
    base.view(2, -1)[:, :3] = 0
    joined = LabelledInput(base, torch.rand(2 * views, 3), torch.rand(2 * views, 1))
    torch.testing.assert_close(dense(joined), dense(joined.dense()))


def test_pass_through_lets_the_gradient_through_silent_units():
    x = torch.tensor([-1.0, 2.0], requires_grad=True)
    relu_pass_through(x).backward(torch.tensor([3.0, 4.0]))
    assert x.grad.tolist() == [3.0, 4.0]


def test_normal_weights_have_a_deviation_of_one_over_the_root_of_inputs():
    dense = Dense((400,), 500, init="normal")
    torch.testing.assert_close(dense.linear.weight.std(), torch.tensor(1 / 20), rtol=0.02, atol=0)
    assert not dense.linear.bias.any()
