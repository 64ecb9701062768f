import math

import pytest
import torch
from torch import nn

from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG, ClosedForm, LabelledInput
from ffcore.local import ClosedFormGradient
from ffcore.recipe.schema import Recipe
from ffcore_std.activations import ACTIVATIONS
from ffcore_std.locally_connected import LocallyConnected

# (in_shape, channels, kernel, stride, padding) and the side of the tiles that it computes in
GEOMETRIES = {
    "one place": ((2, 3, 3), 4, 3, 1, 0, 1),
    "apart": ((1, 8, 9), 50, 3, 4, 0, 1),
    "not square": ((2, 5, 8), 30, 2, 1, 1, 1),
    "tiles": ((2, 8, 8), 2, 5, 1, 2, 4),
    "tiles apart": ((1, 12, 21), 1, 6, 2, 0, 4),
}


def made(geometry, activation="identity", **options):
    in_shape, channels, kernel, stride, padding, _ = GEOMETRIES[geometry]
    body = LocallyConnected(in_shape, channels, kernel, stride, padding, activation, **options).double()
    if body.bias is not None:
        nn.init.normal_(body.bias)
    return body, torch.randn(3, *in_shape, dtype=torch.float64)


def test_two_positions_by_hand():
    # two fields of 2×2 in an image of 2×3, of which they share the middle column
    body = LocallyConnected((1, 2, 3), 1, 2)
    body.weight.data[0, 0] = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    body.weight.data[0, 1] = torch.tensor([[-1.0, 0.0], [0.0, 1.0]])
    body.bias.data[0] = torch.tensor([[0.5, -1.0]])
    x = torch.tensor([[[[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]], [[[0.0, 3.0, 0.0], [0.0, 0.0, 1.0]]]])
    # 1 + 4 + 12 + 20 + 0.5, −2 + 6 − 1; 6 + 0.5, −3 + 1 − 1
    assert body(x).tolist() == [[[[37.5, 3.0]]], [[[6.5, 0.0]]]]


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_it_is_equal_to_a_loop_over_positions(geometry):
    body, x = made(geometry)
    _, _, kernel, stride, padding, tile = GEOMETRIES[geometry]
    assert body.tile == tile, "the geometry no longer tries what it is here for"
    padded = nn.functional.pad(x, (padding,) * 4)
    right = torch.empty_like(body(x))
    for i in range(right.shape[2]):
        for j in range(right.shape[3]):
            rows, columns = (slice(at * stride, at * stride + kernel) for at in (i, j))
            field = padded[:, :, rows, columns]
            right[:, :, i, j] = torch.einsum("rcab,ucab->ru", field, body.weight[i, j]) + body.bias[:, i, j]
    torch.testing.assert_close(body(x), right)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_with_the_same_weights_everywhere_it_is_a_convolution(geometry):
    body, x = made(geometry, bias=False)
    in_shape, channels, kernel, stride, padding, _ = GEOMETRIES[geometry]
    convolution = nn.Conv2d(in_shape[0], channels, kernel, stride, padding, bias=False).double()
    body.weight.data[:] = convolution.weight.data
    torch.testing.assert_close(body(x), convolution(x))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_its_closed_form_is_autograd(geometry, activation, bias):
    body, x = made(geometry, activation, bias=bias)
    assert isinstance(body, ClosedForm)
    activity = body(x)
    up = torch.randn_like(activity)
    right = torch.autograd.grad(activity, list(body.parameters()), up)
    for times in (1, 2):  # the second on top of the first
        body.add_gradients(x, activity.detach(), up.clone())
        for parameter, gradient in zip(body.parameters(), right, strict=True):
            torch.testing.assert_close(parameter.grad, times * gradient)


def test_frozen_parameters_get_no_gradient():
    body, x = made("tiles")
    body.weight.requires_grad_(False)
    activity = body(x).detach()
    body.add_gradients(x, activity, torch.ones_like(activity))
    assert body.weight.grad is None
    assert (body.bias.grad == len(x)).all()


def test_gradients_under_a_labelled_input_are_those_of_its_dense_form():
    body, x = made("tiles")
    x.view(3, -1)[:, :3] = 0
    joined = LabelledInput(x, torch.randn(6, 3, dtype=torch.float64), torch.rand(6, 1, dtype=torch.float64))
    activity = body(joined.dense())
    (right,) = torch.autograd.grad(activity.sum(), body.weight)
    body.add_gradients(joined, activity.detach(), torch.ones_like(activity))
    torch.testing.assert_close(body.weight.grad, right)


@pytest.mark.parametrize(("init", "deviation"), [("normal", 1), ("uniform", 1 / math.sqrt(3))])
def test_weights_begin_at_one_over_the_root_of_a_unit_s_inputs(init, deviation):
    body = LocallyConnected((4, 20, 20), 8, 5, init=init)
    torch.testing.assert_close(body.weight.std(), torch.tensor(deviation / 10), rtol=0.02, atol=0)
    assert body.bias.any() == (init == "uniform")


@pytest.mark.parametrize(
    ("in_shape", "kernel", "padding", "message"),
    [
        ((12,), 3, 0, r"needs images of C×H×W, but one input sample has shape \(12,\)"),
        ((1, 8, 6), 7, 0, "a kernel of 7×7 does not fit into 8×6 pixels with padding 0; it may be at most 6"),
        ((1, 8, 6), 9, 1, "a kernel of 9×9 does not fit into 8×6 pixels with padding 1; it may be at most 8"),
    ],
)
def test_a_kernel_that_does_not_fit_is_refused_with_one_that_does(in_shape, kernel, padding, message):
    with pytest.raises(ValueError, match=message):
        LocallyConnected(in_shape, 2, kernel, padding=padding)
    with pytest.raises(UserError, match=f"network.0: locally-connected refuses its options: {message}"):
        learner(
            [{"kind": "locally-connected", "channels": 2, "kernel": kernel, "padding": padding}], in_shape
        )


def learner(network, in_shape=(1, 8, 8), **block):
    recipe = {
        "name": "test",
        "data": "digits",
        "algorithm": {"kind": "forward-forward", "labels": "overlay"},
        "network": network,
        "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms", **block},
        "trainer": {"precision": "64-true"},
    }
    return assemble(Recipe.model_validate(recipe), in_shape, 3).double()


@pytest.mark.parametrize("penalties", [{}, {"peers": "peer-normalisation"}], ids=["plain", "penalty"])
def test_blocks_learn_in_closed_form_as_by_autograd(penalties, monkeypatch):
    def learned():
        network = [
            {"kind": "locally-connected", "channels": 2, "kernel": 3, "padding": 1},
            {"kind": "locally-connected", "channels": 5, "kernel": 2, "stride": 2},
            {"kind": "dense", "units": 7},
        ]
        module = learner(network, penalties=penalties)
        module.configure_optimizers()
        before = [parameter.detach().clone() for parameter in module.network.parameters()]
        x = torch.rand(9, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        for step in range(3):
            batch = Batch(x, torch.arange(9) % 3, torch.arange(9), 0, 9, BatchRNG(1, step, 0, 9, 9))
            module.algorithm.learn(batch, module.network)
        after = list(module.network.parameters())
        assert all(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
        return after

    closed = learned()
    monkeypatch.setattr(ClosedFormGradient, "serving", lambda block: None)
    torch.testing.assert_close(closed, learned(), rtol=0, atol=1e-12)
