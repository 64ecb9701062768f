"""A block compiled by torch.compile computes the same."""

import shutil

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.schema import Recipe

SHAPE, K = (1, 3, 4), 3


def build(**block):
    recipe = {
        "name": "test",
        "data": "digits",
        "algorithm": "forward-forward",
        "network": [{"kind": "dense", "units": 6, "block": block}, {"kind": "dense", "units": 6}],
        "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
    }
    module = assemble(Recipe.model_validate(recipe), SHAPE, K)
    module.configure_optimizers()
    return module


def learn(module, steps=3):
    x = torch.rand(9, *SHAPE, generator=torch.Generator().manual_seed(1))
    for step in range(steps):
        batch = Batch(x, torch.arange(9) % K, torch.arange(9), 0, 9, BatchRNG(1, step, 0, 9, 9))
        module.algorithm.learn(batch, module.network)
    return module.algorithm.scores(x, module.network)


@pytest.mark.thorough
@pytest.mark.skipif(shutil.which("g++") is None, reason="no compiler here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning:torch")
def test_a_compiled_block_learns_and_predicts_the_same():
    plain, compiled = build(), build(compile=True)
    torch.testing.assert_close(learn(compiled), learn(plain))
    torch.testing.assert_close(compiled.state_dict(), plain.state_dict())  # under the same names


def test_only_blocks_with_compile_are_compiled_and_only_once():
    module = build()
    counter = CompileCounter()
    module.network.blocks[0].compile(backend=counter)
    learn(module)
    first = counter.frame_count
    learn(module)
    assert counter.frame_count == first > 0
