"""Backpropagation in ffcore's trainer is equal to PyTorch's."""

import copy

import torch
from torch import nn

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch
from ffcore.recipe.schema import Recipe

N, K, SHAPE = 10, 3, (1, 4, 4)


def module(**more):
    recipe = {
        "name": "test",
        "data": "digits",
        "algorithm": "backprop",
        "network": [{"kind": "dense", "units": 8, "repeat": 2}],
        "block": {"goodness": "sum-squares", "objective": "logistic"},
        "optimizer": {"kind": "sgd", "lr": 0.3, "momentum": 0.9},
        **more,
    }
    made = assemble(Recipe.model_validate(recipe), SHAPE, K)
    made.configure_optimizers()
    return made


def batch(step):
    x = torch.randn(N, *SHAPE, generator=torch.Generator().manual_seed(step))
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N)


def test_learns_as_a_plain_mlp_does():
    made = module()
    linears = [copy.deepcopy(block.body.linear) for block in made.network.blocks]
    mlp = nn.Sequential(nn.Flatten(), linears[0], nn.ReLU(), linears[1], nn.ReLU(), linears[2])
    optimizer = torch.optim.SGD(mlp.parameters(), lr=0.3, momentum=0.9)
    for step in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(mlp(batch(step).x), batch(step).y).backward()
        optimizer.step()
        made.algorithm.learn(batch(step), made.network)
    right = list(mlp.parameters())
    torch.testing.assert_close(list(made.network.parameters()), right, rtol=0, atol=1e-6)
    x = batch(9).x
    torch.testing.assert_close(made.algorithm.scores(x, made.network)[0], mlp(x).detach(), rtol=0, atol=1e-5)


def test_a_rule_and_a_loss_of_the_recipe_are_left_out():
    plain = module()
    for block in ({"rule": "forward-projection"}, {"loss": "self-contrastive"}):
        made = module(block=block)
        assert [type(b.rule) for b in made.network.blocks] == [type(b.rule) for b in plain.network.blocks]
        assert [b.loss is None for b in made.network.blocks] == [True, True, False]


def test_a_readout_learns_beside_it():
    made = module(readouts={"readout": "softmax"})
    made.algorithm.learn(batch(0), made.network)
    assert made.network.readout_blocks["readout"].body.linear.weight.any()


def test_the_head_takes_no_penalty_of_the_recipe():
    block = {"goodness": "sum-squares", "objective": "logistic", "penalties": {"peers": "peer-normalisation"}}
    made = module(block=block)
    made.algorithm.learn(batch(0), made.network)
    assert not any(block.loss.penalties for block in made.network.blocks if block.loss is not None)
