"""SGD with the first step and the weight decay of Hinton's code."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ffcore_std.optimizers import sgd


def stepped(gradients: list[float], **options: object) -> list[float]:
    """Values of one parameter, from 1, after steps with these gradients."""
    parameter = nn.Parameter(torch.ones(1, 1))
    optimizer = sgd([parameter], lr=1.0, **options)  # type: ignore[arg-type]
    values = []
    for gradient in gradients:
        parameter.grad = torch.full_like(parameter, gradient)
        optimizer.step()
        values.append(float(parameter.detach()))
    return values


def test_momentum_that_starts_at_zero_damps_the_first_step() -> None:
    # m = 0.1 g, then 0.9·0.1 + 0.1 = 0.19
    assert stepped([1, 1], momentum=0.9, dampening=0.9, start="zero") == pytest.approx([0.9, 0.71])
    # torch: m = g, then 0.9 + 0.1 = 1
    assert stepped([1, 1], momentum=0.9, dampening=0.9) == pytest.approx([0, -1])


def test_a_start_without_dampening_is_that_of_torch() -> None:
    assert stepped([1, 1], momentum=0.9, start="zero") == stepped([1, 1], momentum=0.9)


def test_biases_may_keep_their_values() -> None:
    linear = nn.Linear(2, 2)
    before = copy.deepcopy(linear.state_dict())
    optimizer = sgd(linear.parameters(), lr=0.1, weight_decay=0.5, decay_biases=False)
    for parameter in linear.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(linear.bias, before["bias"])
    assert torch.allclose(linear.weight, 0.95 * before["weight"])


def test_a_decoupled_decay_stays_out_of_the_momentum() -> None:
    # m = 0.1, then 0.19; θ = 1 − 0.1 − 0.5, then θ − 0.19 − 0.5 θ
    options = {"momentum": 0.9, "dampening": 0.9, "start": "zero", "weight_decay": 0.5}
    assert stepped([1, 1], decoupled=True, **options) == pytest.approx([0.4, 0.01])
    # beside it: m = 0.1 (1 + 0.5), then 0.9 m + 0.1 (1 + 0.5·0.85)
    assert stepped([1, 1], **options) == pytest.approx([0.85, 0.5725])


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"momentum": 0.9, "dampening": 0.5}])
def test_without_decay_decoupled_steps_are_those_of_torch(options: dict[str, float]) -> None:
    assert stepped([1, 2, -3], decoupled=True, **options) == pytest.approx(stepped([1, 2, -3], **options))


def test_a_decoupled_decay_spares_biases_and_has_no_nesterov() -> None:
    linear = nn.Linear(2, 2)
    before = copy.deepcopy(linear.state_dict())
    optimizer = sgd(linear.parameters(), lr=0.1, weight_decay=0.5, decay_biases=False, decoupled=True)
    for parameter in linear.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    assert torch.equal(linear.bias, before["bias"])
    assert torch.allclose(linear.weight, 0.95 * before["weight"])
    with pytest.raises(ValueError, match="decoupled: true has no Nesterov momentum"):
        sgd(linear.parameters(), momentum=0.9, nesterov=True, decoupled=True)


def test_a_block_of_biases_alone_has_an_optimiser() -> None:
    optimizer = sgd([nn.Parameter(torch.ones(3))], weight_decay=0.5, decay_biases=False)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.0]


def test_the_first_buffer_is_part_of_the_state() -> None:
    parameter = nn.Parameter(torch.ones(2, 2))
    state = sgd([parameter], momentum=0.9, start="zero").state_dict()
    assert torch.equal(state["state"][0]["momentum_buffer"], torch.zeros(2, 2))
