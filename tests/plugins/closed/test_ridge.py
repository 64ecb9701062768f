"""Closed forms beside scikit-learn's ridge and the formulas written a second time."""

import copy

import pytest
import torch
from sklearn.linear_model import Ridge as Reference
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces.affine import columns, layer_of
from ffcore.tasks import MultiLabel, Regression, TokenClassification
from ffcore_closed.projection import ForwardProjection
from ffcore_closed.readout import RidgeReadout
from ffcore_closed.ridge import Ridge

N, D, K = 60, 7, 3
X = torch.randn(N, D, generator=torch.Generator().manual_seed(0))
Y = torch.arange(N) % K


def network(rule, task=None, units=K, **more):
    how = {"task": task} if task is not None else {"classes": K}
    blocks = [ffcore.LocalBlock(nn.Linear(D, units), "logits" if units == K else None, rule=rule)]
    if units != K:
        blocks.append(ffcore.LocalBlock(nn.Linear(units, K), "logits", rule=Ridge()))
    return ffcore.Network(blocks, {"kind": "local-errors", "output": False}, example=X[:2], **how, **more)


def solved(net, y, size=25):
    for rows in torch.arange(N).split(size):
        net.learn(X[rows], y[rows], ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    net.end_epoch()
    return net


@pytest.mark.parametrize(
    ("task", "y", "target"),
    [
        (None, Y, 2.0 * nn.functional.one_hot(Y, K) - 1),
        (MultiLabel(K), (X[:, :K] > 0).long(), 2.0 * (X[:, :K] > 0) - 1),
        (Regression(K), X[:, :K].sin(), X[:, :K].sin()),
    ],
    ids=["classes", "labels", "real numbers"],
)
def test_weights_are_those_of_ridge_regression_for_any_batches(task, y, target):
    ones = torch.cat([X, torch.ones(N, 1)], dim=1)
    right = Reference(alpha=0.7, fit_intercept=False).fit(ones.double().numpy(), target.double().numpy())
    for size in (25, N):
        layer = solved(network(Ridge(0.7), task), y, size).local.blocks[0].body
        found = torch.cat([layer.weight, layer.bias[:, None]], dim=1).detach()
        torch.testing.assert_close(found.double(), torch.tensor(right.coef_), rtol=1e-5, atol=1e-6)


def test_a_second_epoch_changes_nothing_and_sums_are_stored_within_one():
    net = solved(network(Ridge()), Y)
    weight = net.local.blocks[0].body.weight.clone()
    net.learn(X[:30], Y[:30], ffcore.optimizers(net, torch.optim.SGD, lr=1.0))
    twin = network(Ridge())
    twin.local.load_state_dict(net.local.state_dict())
    for each in (net, twin):
        each.learn(X[30:], Y[30:], ffcore.optimizers(each, torch.optim.SGD, lr=1.0))
        each.end_epoch()
        torch.testing.assert_close(each.local.blocks[0].body.weight, weight)


@pytest.mark.parametrize("size", [3, 20, N])
def test_behind_batch_norm_the_second_epoch_solves_for_what_the_head_reads_in_prediction(size):
    body = nn.Sequential(nn.Linear(D, 9), nn.ReLU(), nn.BatchNorm1d(9, affine=False)).requires_grad_(False)
    block = ffcore.LocalBlock(body, "linear-head", rule=Ridge(0.5, of="goodness"))
    net = ffcore.Network([block], {"kind": "local-errors", "output": False}, example=X[:2], classes=K)
    solved(solved(net, Y, size), Y, size)
    assert body[2].training  # as before
    h = torch.cat([copy.deepcopy(body).eval()(X), torch.ones(N, 1)], dim=1).double()
    z = 2.0 * nn.functional.one_hot(Y, K).double() - 1
    right = torch.linalg.solve(h.T @ h + 0.5 * torch.eye(10), h.T @ z).T
    layer = block.goodness.linear
    found = torch.cat([layer.weight, layer.bias[:, None]], dim=1).double().detach()
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)


def test_forward_projection_is_the_formula_written_a_second_time():
    rule = ForwardProjection(strength=10.0)
    net = solved(network(rule, units=16), Y)
    q = torch.Generator().manual_seed(int(rule.seed))
    q, u = (torch.randn(n, 16, generator=q, dtype=torch.float64) for n in (D, K))
    z = torch.sign(X.double() @ q) + torch.sign(u)[Y]
    ones = torch.cat([X, torch.ones(N, 1)], dim=1).double()
    right = torch.linalg.solve(ones.T @ ones + 10 * torch.eye(D + 1), ones.T @ z).T
    layer = net.local.blocks[0].body
    found = torch.cat([layer.weight, layer.bias[:, None]], dim=1).double()
    torch.testing.assert_close(found, right, rtol=1e-5, atol=1e-6)


def test_a_head_and_a_readout_are_solved_for():
    block = ffcore.LocalBlock(nn.Linear(D, 9).requires_grad_(False), "linear-head", rule=Ridge(of="goodness"))
    net = ffcore.Network(
        [block],
        {"kind": "local-errors", "output": False},
        example=X[:2],
        classes=K,
        readouts={"ridge": RidgeReadout(strength=1.0)},
    )
    solved(net, Y)
    head, readout = block.goodness.linear, net.local.readout_blocks["ridge"].body.linear
    torch.testing.assert_close(head.weight, readout.weight)
    assert head.weight.abs().max() > 0.01


@pytest.mark.parametrize("layer", [nn.Linear(4, 5), nn.Conv2d(3, 5, 3, stride=2, padding=1)])
def test_columns_are_what_the_weight_multiplies(layer):
    x = torch.randn(6, 4) if isinstance(layer, nn.Linear) else torch.randn(6, 3, 8, 8)
    x.requires_grad_()
    made = layer(x)
    rows = columns(layer, x) @ layer.weight.flatten(1).T + layer.bias
    torch.testing.assert_close(
        rows, made if made.dim() == 2 else made.flatten(2).transpose(1, 2).flatten(0, 1)
    )


def test_what_has_no_closed_form_is_refused():
    with pytest.raises(
        ValueError, match="Sequential has 2 linear layers and convolutions; the rule needs one"
    ):
        layer_of(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)))
    with pytest.raises(UserError, match="the layer has 5 units, but there are 3 targets"):
        solved(network(Ridge(), units=5), Y)
    few = network(Ridge(strength=0.0))
    few.learn(X[:4], Y[:4], ffcore.optimizers(few, torch.optim.SGD, lr=1.0))
    with pytest.raises(UserError, match="4 rows do not determine 8 weights of a unit; use strength > 0"):
        few.end_epoch()
    with pytest.raises(UserError, match="codes classes, not the targets of Regression"):
        network(ForwardProjection(), Regression(K))
    tokens = ffcore.LocalBlock(nn.Embedding(5, K), "logits", rule=Ridge())
    with pytest.raises(UserError, match="needs one target a sample, not TokenClassification"):
        ffcore.Network(
            [tokens],
            {"kind": "local-errors", "output": False},
            example=torch.zeros(2, 4).long(),
            task=TokenClassification(K),
        )


def test_copies_of_a_rule_draw_other_codes_in_other_blocks():
    rule = ForwardProjection()
    blocks = [ffcore.LocalBlock(nn.Linear(D, D), rule=copy.deepcopy(rule)) for _ in range(2)]
    last = ffcore.LocalBlock(nn.Linear(D, K), "logits", rule=Ridge())
    net = ffcore.Network([*blocks, last], {"kind": "local-errors", "output": False}, example=X[:2], classes=K)
    first, second = (block.rule._drawn(X, D)[0] for block in net.local.blocks[:2])
    assert not torch.equal(first, second)


def test_codes_follow_the_seed_of_a_loaded_state():
    one, other = (network(ForwardProjection(), units=16) for _ in range(2))
    for net in (one, other):
        solved(net, Y)
    other.local.load_state_dict(one.local.state_dict())
    weights = [solved(net, Y).local.blocks[0].body.weight.detach() for net in (one, other)]
    torch.testing.assert_close(*weights)


class Rows(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(D, K)

    def forward(self, x):
        return self.layer(x.reshape(-1, D)).reshape(len(x), -1)


def test_what_hides_the_inputs_of_a_layer_is_refused():
    block = ffcore.LocalBlock(Rows(), rule=Ridge())
    last = ffcore.LocalBlock(nn.Linear(2 * K, K), "logits", objective="cross-entropy")
    x = torch.cat([X, X], dim=1)
    algorithm = {"kind": "local-errors", "output": False}
    net = ffcore.Network([block, last], algorithm, example=x[:2], classes=K)
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=1.0)
    with pytest.raises(UserError, match=f"rule Ridge: its layer reads {2 * N} rows of a pass of {N}"):
        net.learn(x, Y, optimizers)
    compiled = network(Ridge())
    compiled.local.blocks[0].compile(backend="eager")
    with pytest.raises(UserError, match="the block must not be compiled"):
        solved(compiled, Y)
    normed = nn.utils.parametrizations.weight_norm(nn.Linear(3, 2))
    with pytest.raises(ValueError, match="is computed, so it cannot be set"):
        layer_of(normed)
