"""Random convolutions and binary layers."""

import pytest
import torch
from torch.nn import functional as F

import ffcore
from ffcore_local.fixed import BinaryDense, RandomConv, binary


def test_a_random_convolution_has_no_trainable_parameters():
    body = RandomConv((3, 8, 8), 5)
    assert not [p for p in body.parameters() if p.requires_grad]
    x = torch.randn(4, 3, 8, 8)
    image = F.max_pool2d(F.relu(F.conv2d(x, body.conv.weight, body.conv.bias, padding=1)), 2)
    right = F.batch_norm(image, None, None, training=True)
    torch.testing.assert_close(body(x), right)
    assert body.norm.num_batches_tracked == 1


def test_a_single_value_per_channel_uses_the_running_statistics():
    body = RandomConv((1, 2, 2), 3)
    with pytest.raises(ValueError, match="a batch of one sample has no statistics"):
        body(torch.ones(1, 1, 2, 2))
    body(torch.rand(4, 1, 2, 2))
    made = body(torch.ones(1, 1, 2, 2))  # the last batch of an epoch
    torch.testing.assert_close(made, body.eval()(torch.ones(1, 1, 2, 2)))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((8,), {}, "needs images"),
        ((1, 8, 8), {"kernel": 2}, "2 is even"),
        ((1, 1, 8), {}, "an image of 1×8 pixels is smaller than 2"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(shape, options, message):
    with pytest.raises(ValueError, match=message):
        RandomConv(shape, 4, **options)


def test_binary_values_have_the_mean_size_and_a_derivative_of_one():
    v = torch.tensor([[1.0, -2.0, 0.0], [4.0, 4.0, -4.0]], requires_grad=True)
    made = binary(v, (1,))
    torch.testing.assert_close(made, torch.tensor([[1.0, -1.0, 1.0], [4.0, 4.0, -4.0]]))
    up = torch.randn(2, 3)
    torch.testing.assert_close(torch.autograd.grad(made, v, up)[0], up)


def test_a_binary_layer_multiplies_signs():
    body = BinaryDense((2,), 2, activation="identity", bias=False)
    with torch.no_grad():
        body.linear.weight.copy_(torch.tensor([[0.1, -0.3], [0.2, 0.2]]))
    made = body(torch.tensor([[3.0, -1.0]]))  # signs times 2 and 0.2
    torch.testing.assert_close(made, torch.tensor([[0.8, 0.0]]))


def test_latent_weights_are_clamped_while_learning_only():
    body = BinaryDense((2,), 1, bias=False)
    with torch.no_grad():
        body.linear.weight.copy_(torch.tensor([[3.0, -0.5]]))
    body.eval()(torch.ones(1, 2))
    assert body.linear.weight.tolist() == [[3.0, -0.5]]
    body.train()(torch.ones(1, 2))
    assert body.linear.weight.tolist() == [[1.0, -0.5]]


def test_latent_weights_are_clamped_for_a_rule_without_a_graph():
    torch.manual_seed(0)
    body = BinaryDense((6,), 4)
    with torch.no_grad():
        body.linear.weight.mul_(6)
    rule = {"kind": "directional", "epsilon": 0.1}
    head = {"kind": "linear-head", "init": "uniform"}
    block = ffcore.LocalBlock(body, head, objective="cross-entropy", rule=rule)
    x, y = torch.randn(9, 6), torch.arange(9) % 3
    net = ffcore.Network([block], {"kind": "local-errors", "output": False}, example=x[:2], classes=3)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=1e-9)
    net.learn(x, y, optimizers)
    assert body.linear.weight.detach().abs().max() == pytest.approx(1)
    body.train()
    with torch.no_grad():
        learning = body(x)
    torch.testing.assert_close(learning, body.eval()(x))


def test_real_inputs_are_an_option():
    body = BinaryDense((2,), 1, activation="identity", bias=False, binary_inputs=False)
    x = torch.randn(3, 2)
    torch.testing.assert_close(body(x), x @ binary(body.linear.weight, (0, 1)).T)
