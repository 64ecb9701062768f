import pytest
import torch

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch, BatchRNG, LabelledInput
from ffcore.local import ClosedFormGradient
from ffcore.recipe.schema import Recipe
from ffcore_std.activations import ACTIVATIONS, relu_pass_through
from ffcore_std.bodies import Dense

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


@pytest.mark.parametrize("penalties", [{}, {"peers": "peer-normalisation"}], ids=["plain", "penalty"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_learning_in_closed_form_is_learning_by_autograd(activation, penalties, monkeypatch):
    def learned():
        recipe = {
            "name": "test",
            "data": "digits",
            "algorithm": "forward-forward",
            "network": [{"kind": "dense", "units": 7, "repeat": 2, "activation": activation}],
            "block": {
                "goodness": "sum-squares",
                "objective": "logistic",
                "penalties": penalties,
                "handoff": "rms",
            },
            "trainer": {"precision": "64-true"},
        }
        module = assemble(Recipe.model_validate(recipe), (1, 4, 4), 3).double()
        module.configure_optimizers()
        x = torch.rand(9, 1, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for step in range(3):
            batch = Batch(x, torch.arange(9) % 3, torch.arange(9), 0, 9, BatchRNG(1, step, 0, 9, 9))
            module.algorithm.learn(batch, module.network)
        return list(module.network.parameters())

    closed = learned()
    monkeypatch.setattr(ClosedFormGradient, "serving", lambda block: None)
    torch.testing.assert_close(closed, learned(), rtol=0, atol=1e-12)
