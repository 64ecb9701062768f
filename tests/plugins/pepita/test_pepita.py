"""PEPITA beside its formulas, written a second time."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore_pepita.rule import PepitaRule

N, D, K = 8, 6, 3


def network(*layers):
    blocks = [ffcore.LocalBlock(layer, rule=PepitaRule()) for layer in layers]
    output = ffcore.LocalBlock(nn.Linear(5, K, bias=False), "logits", objective="cross-entropy")
    return ffcore.Network([*blocks, output], "pepita", example=torch.randn(2, D), classes=K)


def layer(inputs):
    return nn.Sequential(nn.Linear(inputs, 5, bias=False), nn.ReLU())


def test_a_step_is_that_of_the_two_passes_written_a_second_time():
    torch.manual_seed(0)
    net = network(layer(D), layer(5))
    w1, w2, w3 = (p.detach().clone() for p in net.local.body.parameters())
    f = net.algorithm.projection
    x, y = torch.randn(N, D), torch.arange(N) % K
    net.learn(x, y, ffcore.optimizers(net, torch.optim.SGD, lr=0.5))

    h1 = (x @ w1.T).relu()
    h2 = (h1 @ w2.T).relu()
    error = (h2 @ w3.T).softmax(1) - F.one_hot(y, K)
    moved = x + error @ f.T
    m1 = (moved @ w1.T).relu()
    m2 = (m1 @ w2.T).relu()
    again = (m2 @ w3.T).softmax(1) - F.one_hot(y, K)
    right = (
        w1 - 0.5 * (h1 - m1).T @ moved / N,
        w2 - 0.5 * (h2 - m2).T @ m1 / N,
        w3 - 0.5 * again.T @ m2 / N,
    )
    for mine, other in zip(net.local.body.parameters(), right, strict=True):
        torch.testing.assert_close(mine.detach(), other, rtol=1e-5, atol=1e-6)


def test_the_projection_is_uniform_in_its_bounds():
    net = network(layer(D))
    bound = 0.05 * (6 / D) ** 0.5
    assert net.algorithm.projection.shape == (D, K)
    assert net.algorithm.projection.abs().max() <= bound


def test_other_algorithms_make_no_first_pass():
    block = ffcore.LocalBlock(layer(D), rule=PepitaRule())
    output = ffcore.LocalBlock(nn.Linear(5, K), "logits", objective="cross-entropy")
    net = ffcore.Network([block, output], "local-errors", example=torch.randn(2, D), classes=K)
    with pytest.raises(UserError, match="there is no first pass; use the algorithm pepita"):
        net.learn(torch.randn(N, D), torch.arange(N) % K, ffcore.optimizers(net, torch.optim.SGD, lr=0.1))


def around(body=None, handoff=None, between=None):
    """Return a network of one hidden layer whose part is given."""
    body = layer(D) if body is None else nn.Sequential(nn.Linear(D, 5, bias=False), body, nn.ReLU())
    blocks = [ffcore.LocalBlock(body, handoff=handoff, rule=PepitaRule(), name="hidden")]
    output = ffcore.LocalBlock(nn.Linear(5, K, bias=False), "logits", objective="cross-entropy")
    stages = [*blocks, *([] if between is None else [between]), output]
    return ffcore.Network(stages, {"kind": "pepita", "scale": 1e-30}, example=torch.randn(2, D), classes=K)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        ({"body": nn.BatchNorm1d(5)}, "block hidden: BatchNorm1d"),
        ({"body": nn.Dropout(0.1)}, "block hidden: Dropout"),
        ({"handoff": nn.BatchNorm1d(5)}, "block hidden: BatchNorm1d"),
        ({"handoff": "channel-dropout"}, "block hidden: ChannelDropout"),
        ({"between": nn.BatchNorm1d(5, affine=False)}, "pepita: BatchNorm1d"),
        ({"between": nn.Dropout(0.1)}, "pepita: Dropout"),
    ],
)
def test_parts_that_differ_between_the_passes_by_their_mode_are_refused(part, name):
    with pytest.raises(UserError, match=f"{name} differs between learning and evaluation"):
        around(**part)


def test_layers_that_call_the_function_of_dropout_are_refused():
    item = {"kind": "conv", "channels": 4, "dropout": 0.1}
    with pytest.raises(UserError, match="differs between learning and evaluation"):
        ffcore.from_recipe("digits/pepita", network=[item])


@pytest.mark.parametrize("part", [{"body": nn.LayerNorm(5)}, {"body": nn.Dropout(0.0)}, {"handoff": "rms"}])
def test_two_equal_passes_teach_hidden_layers_nothing(part):
    net = around(**part)
    before = net.blocks[0].body[0].weight.detach().clone()
    net.learn(torch.randn(N, D), torch.arange(N) % K, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    assert torch.equal(net.blocks[0].body[0].weight, before)


def test_a_layer_with_batch_norm_that_does_not_learn_is_in_evaluation_mode_in_both_passes():
    fixed = ffcore.LocalBlock(
        nn.Sequential(nn.Linear(D, D), nn.BatchNorm1d(D, affine=False)).requires_grad_(False)
    )
    blocks = [fixed, ffcore.LocalBlock(layer(D), rule=PepitaRule())]
    output = ffcore.LocalBlock(nn.Linear(5, K, bias=False), "logits", objective="cross-entropy")
    net = ffcore.Network(
        [*blocks, output], {"kind": "pepita", "scale": 1e-30}, example=torch.randn(2, D), classes=K
    )
    before = blocks[1].body[0].weight.detach().clone()
    net.learn(torch.randn(N, D), torch.arange(N) % K, ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    assert torch.equal(blocks[1].body[0].weight, before)


def test_both_passes_are_in_single_precision_also_in_mixed_precision():
    found = []
    for mixed in (None, torch.bfloat16):
        torch.manual_seed(0)
        net = network(layer(D), layer(5))
        net.autocast = mixed
        net.learn(torch.randn(N, D), torch.arange(N) % K, ffcore.optimizers(net, torch.optim.SGD, lr=0.5))
        found.append([p.detach() for p in net.local.body.parameters()])
    for own, other in zip(*found, strict=True):
        assert torch.equal(own, other)
