"""Accuracy on changed inputs, against a linear model."""

import pytest
import torch
from torch import nn

import ffcore
from ffcore.analysis.robustness import Scale, robustness, shifted, signs_of
from ffcore.errors import UserError

X = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))
Y = torch.arange(12) % 3


def linear(classes=3):
    """A network of one layer, whose scores are those of the layer."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Flatten(), nn.Linear(64, classes))
    block = ffcore.LocalBlock(body, "logits", objective="cross-entropy")
    return ffcore.Network([block], "channel-class", X[:2], classes)


def test_fgsm_follows_the_gradient_by_hand():
    net = linear(2)
    y = Y % 2
    weight = net.blocks[0].body[1].weight
    by_hand = torch.stack([weight[1 - own] - weight[own] for own in y]).sign().view(X.shape)
    assert torch.equal(signs_of(net, X, y), by_hand)


def test_fgsm_has_the_direction_of_autograd_on_the_cross_entropy():
    net = linear()
    leaf = X.clone().requires_grad_()
    nn.functional.cross_entropy(net.blocks[0].body(leaf), Y).backward()
    assert torch.equal(signs_of(net, X, Y), leaf.grad.sign())


def test_fgsm_passes_hypotheses_and_spares_the_label():
    net = ffcore.from_recipe("digits/ff", shape=(1, 8, 8), classes=10, **{"network.0.units": 40})
    signs = signs_of(net, X, Y)
    assert float(signs.flatten(1)[:, :10].abs().max()) == 0, "the label is written over these pixels"
    assert float((signs.flatten(1)[:, 10:] != 0).double().mean()) > 0.9
    before, after = (net.scores(x).gather(1, Y[:, None]) for x in (X, X + 1e-3 * signs))
    others, changed = (net.scores(x).logsumexp(1, keepdim=True) for x in (X, X + 1e-3 * signs))
    assert float((changed - after).mean()) > float((others - before).mean())


def test_readouts_are_part_of_the_graph():
    net = ffcore.from_recipe(
        "digits/ff",
        shape=(1, 8, 8),
        classes=10,
        **{
            "network.0.units": 40,
            "readouts": {"softmax": {"kind": "softmax"}},
            "contribution": {"kind": "readout"},
        },
    )
    for parameter in net.local.readout_blocks.parameters():
        nn.init.normal_(parameter)
    signs = signs_of(net, X, Y)
    assert float((signs.flatten(1)[:, 10:] != 0).double().mean()) > 0.9


def test_shifts_move_pixels_and_fill_with_empty_ones():
    x = torch.arange(1.0, 10).view(1, 1, 3, 3)
    empty = torch.tensor([-1.0])
    assert shifted(x, 1, (1, 0), empty)[0, 0].tolist() == [[-1, -1, -1], [1, 2, 3], [4, 5, 6]]
    assert shifted(x, 2, (0, -1), empty)[0, 0].tolist() == [[3, -1, -1], [6, -1, -1], [9, -1, -1]]
    assert torch.equal(x.flatten(), torch.arange(1.0, 10)), "the images have not changed"


def test_the_range_of_bytes_follows_standardisation():
    scale = Scale.of_bytes((0.5, 0.25), (0.5, 0.125), 3, torch.float32)
    assert scale.unit.flatten().tolist() == [2, 8]
    assert scale.low.flatten().tolist() == [-1, -2]
    assert scale.high.flatten().tolist() == [1, 6]
    assert torch.equal(scale.cut(torch.full((1, 2, 1, 1), 9.0)).flatten(), torch.tensor([1.0, 6.0]))


def test_other_floats_have_the_unit_of_their_deviation():
    x = torch.tensor([[1.0, 3.0], [1.0, 3.0]])
    scale = Scale.of_values(x)
    assert scale.unit.tolist() == [1]
    assert scale.empty.tolist() == [1]
    assert scale.cut(x + 100) is not None
    assert float(scale.cut(x + 100).max()) == 103


def test_curves_have_the_accuracy_of_changed_inputs():
    net = linear()
    y = net.predict(X)
    accuracy, (noise, shift, fgsm) = robustness(
        net, X, y, Scale.of_bytes((0.0,), (1.0,), 3, torch.float32), net.scores, seed=1, at_once=5
    )
    assert accuracy == 1
    assert noise.levels == (0.1, 0.2, 0.3, 0.5)
    assert shift.levels == (1, 2, 3)
    changed = (X + 0.05 * signs_of(net, X, y)).clamp(0, 1)
    assert fgsm.accuracies[2] == pytest.approx(float((net.predict(changed) == y).double().mean()))
    assert fgsm.accuracies[-1] < 0.5
    again = robustness(
        net, X, y, Scale.of_bytes((0.0,), (1.0,), 3, torch.float32), net.scores, seed=1, at_once=5
    )
    assert again == (accuracy, [noise, shift, fgsm])


def test_the_gradient_of_another_network_is_applied_to_inputs_of_the_own():
    net, other = linear(), ffcore.from_recipe("digits/backprop", shape=(1, 8, 8), classes=10)
    scale = Scale.of_bytes((0.5,), (0.5,), 3, torch.float32)
    x = 2 * X - 1
    _, curves = robustness(net, x, Y, scale, net.scores, seed=1, at_once=5, other=(other, X))
    signs = signs_of(other, X, Y)
    changed = (x + 0.2 * 2 * signs).clamp(-1, 1)
    assert curves[-1].change == "transfer"
    assert curves[-1].accuracies[-1] == float((net.predict(changed) == Y).double().mean())


def test_what_cannot_be_changed_says_why():
    net = ffcore.from_recipe("digits/pff", shape=(1, 8, 8), classes=10)
    scale = Scale.of_values(X)
    _, (_, _, fgsm) = robustness(net, X, Y, scale, net.scores, seed=1, at_once=12)
    assert "circuit" in fgsm.reason
    with pytest.raises(UserError, match="not one tensor of floats"):
        robustness(net, X.long(), Y, scale, net.scores, seed=1, at_once=12)
