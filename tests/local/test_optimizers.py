import copy

import pytest
import torch
from torch import nn

from ffcore.local import BlockOptimizer, BlockOptimizers


def pair():
    torch.manual_seed(0)
    blocks = {"a": nn.Linear(2, 2), "b": nn.Linear(2, 1)}
    makes = {
        n: BlockOptimizer(b.parameters(), torch.optim.Adam(b.parameters(), lr=0.1)) for n, b in blocks.items()
    }
    return blocks, BlockOptimizers(makes)


def learn(blocks, optimizers):
    for name, block in blocks.items():
        block(torch.ones(1, 2)).sum().backward()
        optimizers.blocks[name].update(1)


def test_its_step_changes_no_parameter():
    blocks, optimizers = pair()
    before = copy.deepcopy(blocks["a"].state_dict())
    blocks["a"](torch.ones(1, 2)).sum().backward()
    optimizers.step()
    torch.testing.assert_close(blocks["a"].state_dict(), before, rtol=0, atol=0)


def test_zero_grad_clears_all_gradients():
    blocks, optimizers = pair()
    for block in blocks.values():
        block(torch.ones(1, 2)).sum().backward()
    optimizers.zero_grad()
    assert all(p.grad is None for block in blocks.values() for p in block.parameters())


def test_state_is_saved_and_restored_by_block_name():
    blocks, optimizers = pair()
    learn(blocks, optimizers)
    state = copy.deepcopy(optimizers.state_dict())
    assert list(state["blocks"]) == ["a", "b"]
    twins, restored = pair()
    for name, twin in twins.items():
        twin.load_state_dict(blocks[name].state_dict())
    restored.load_state_dict({"blocks": dict(reversed(state["blocks"].items()))})
    learn(blocks, optimizers)
    learn(twins, restored)
    for name in blocks:
        torch.testing.assert_close(twins[name].state_dict(), blocks[name].state_dict(), rtol=0, atol=0)


def test_state_of_other_blocks_is_refused():
    _, optimizers = pair()
    state = optimizers.state_dict()
    state["blocks"]["c"] = state["blocks"].pop("b")
    with pytest.raises(ValueError, match=r"state of blocks \['a', 'c'\], not of \['a', 'b'\]"):
        optimizers.load_state_dict(state)


@pytest.mark.parametrize("restored", [False, True])
def test_a_learning_rate_set_in_param_groups_is_that_of_the_blocks(restored):
    _, optimizers = pair()
    if restored:
        optimizers.load_state_dict(copy.deepcopy(optimizers.state_dict()))
    for group in optimizers.param_groups:
        group["lr"] = 0.5
    assert [g["lr"] for b in optimizers for g in b.optimizer.param_groups] == [0.5, 0.5]
