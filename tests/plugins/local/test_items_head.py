"""Heads of several layers."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context
from ffcore_local.items_head import ItemsHead

LAST = {"kind": "dense", "units": "classes", "activation": "identity"}
ONE_CONVOLUTION_TWO_DENSE = [
    {"kind": "conv-bn", "channels": 8, "stride": 2, "activation": "relu"},
    {"kind": "pooled-dense", "units": 6},
    {"kind": "torch.nn:ReLU"},
    LAST,
]


def bound(shape, items, classes=3):
    head = ItemsHead(items)
    head.setup(Context(shape, classes, name="conv1"))
    return head


def test_items_run_in_order_and_the_last_has_one_value_per_class():
    head = bound((4,), [{"kind": "dense", "units": 5, "activation": "tanh"}, LAST])
    first, last = head.layers
    x = torch.randn(7, 4)
    hidden = torch.tanh(F.linear(x, first.linear.weight, first.linear.bias))
    torch.testing.assert_close(head(x), F.linear(hidden, last.linear.weight, last.linear.bias))
    assert last.linear.weight.shape == (3, 5)


def test_the_auxiliary_network_of_dgl():
    head = bound((4, 6, 6), ONE_CONVOLUTION_TWO_DENSE)
    conv, pooled, _, last = head.layers
    x = torch.randn(5, 4, 6, 6)
    image = F.conv2d(x, conv.conv.weight, conv.conv.bias, stride=2, padding=1)
    image = F.relu(F.batch_norm(image, None, None, training=True))
    hidden = F.relu(F.linear(image.mean((2, 3)), pooled.linear.weight, pooled.linear.bias))
    right = F.linear(hidden, last.linear.weight, last.linear.bias)
    torch.testing.assert_close(head(x), right, rtol=1e-4, atol=1e-5)


def test_the_dry_run_changes_no_running_statistics():
    head = bound((4, 6, 6), ONE_CONVOLUTION_TWO_DENSE)
    assert head.layers[0].norm.num_batches_tracked == 0
    assert head.training
    assert all(layer.training for layer in head.layers)


def test_modules_are_items_too():
    head = bound((4,), [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)])
    assert len(list(head.parameters())) == 4
    assert head(torch.randn(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([{"kind": "dense", "units": 5}], r"items\.0: block conv1: the last item .* returns \(5,\) .*\(3,\)"),
        ([LAST, {"kind": "conv", "channels": 2}], r"goodness\.items\.1: .*images"),
        ([{"kind": "dense", "unit": 5}], r"goodness\.items\.0.*unit"),
        ([{"kind": "dens", "units": 5}], r"goodness\.items\.0.*dens"),
        ([nn.Linear(9, 3)], r"goodness\.items\.0: does not take an input of shape \(4,\)"),
        ([nn.Linear(4, 3), nn.LSTM(3, 3)], r"goodness\.items\.1: .* one tensor"),
        ([7], r"goodness\.items\.0"),
    ],
)
def test_items_that_do_not_fit_are_named(items, message):
    with pytest.raises(UserError, match=message):
        bound((4,), items)


def test_a_head_without_items_is_refused():
    with pytest.raises(ValueError, match="at least one item"):
        ItemsHead([])


def test_an_error_names_the_path_in_the_recipe(tmp_path):
    goodness = {"kind": "items-head", "items": [LAST, {"kind": "dense", "units": 7}]}
    with pytest.raises(UserError, match=r"block\.goodness\.items\.1: .* returns \(7,\)"):
        ffcore.train("digits/predsim", run_dir=tmp_path / "run", block={"goodness": goodness}, report=False)


def test_a_block_learns_through_its_head():
    torch.manual_seed(0)
    block = ffcore.LocalBlock(
        nn.Sequential(nn.Linear(6, 5), nn.Tanh()),
        goodness={"kind": "items-head", "items": [{"kind": "dense", "units": 4, "activation": "tanh"}, LAST]},
        objective="cross-entropy",
    )
    net = ffcore.Network(
        [block], algorithm={"kind": "local-errors", "output": False}, example=torch.zeros(2, 6), classes=3
    )
    x, y = torch.randn(7, 6), torch.tensor([0, 1, 2, 2, 1, 0, 0])
    first, last = block.goodness.layers
    h = torch.tanh(F.linear(x, block.body[0].weight, block.body[0].bias))
    logits = F.linear(
        torch.tanh(F.linear(h, first.linear.weight, first.linear.bias)), last.linear.weight, last.linear.bias
    )
    right = torch.autograd.grad(F.cross_entropy(logits, y), list(block.parameters()))
    before = [p.detach().clone() for p in block.parameters()]
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    for p, old, gradient in zip(block.parameters(), before, right, strict=True):
        torch.testing.assert_close(old - p, gradient, rtol=1e-4, atol=1e-6)
