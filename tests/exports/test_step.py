"""The learning step as a function of tensors is that of `Network.learn`."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

import ffcore
from ffcore.errors import UserError
from ffcore.exports.golden import warmed
from ffcore.exports.random import Noting
from ffcore.exports.step import LearningStep
from ffcore.exports.trace import program, traced
from tests.chosen import thorough_but
from tests.exports.conftest import FIRST, NETWORKS, batched, distance, network, samples

OPTIMIZERS: dict[str, tuple[Any, dict[str, Any]]] = {
    "sgd": (torch.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}),
    "momentum": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.9}),
    "nesterov": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 0.01}),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3, "betas": (0.8, 0.99)}),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_is_that_of_learn(name: str) -> None:
    net = network(name)
    x, y = samples(6)
    step = LearningStep(net, None, FIRST, x, y)
    after, losses = step.run(x, y, torch.ones(()), step.state, Noting(6, net.seed, 0))
    real = net.learn(x, y, progress=FIRST)
    learned = net.state_dict()
    assert {k for k in learned if k in after}
    for key, value in after.items():
        if key in learned:
            assert distance(value, learned[key]) < 1e-6, key
    assert {key: float(value) for key, value in losses.items()} == pytest.approx(
        {key: float(value) for key, value in real.items()}, abs=1e-6
    )


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize("clip", [None, 0.01])
def test_five_steps_of_an_optimiser_are_those_of_torch(kind: str, clip: float | None) -> None:
    net = network("local error signals")
    make, options = OPTIMIZERS[kind]
    optimizers = ffcore.optimizers(net, make, clip=clip, **options)
    x, y = samples(6)
    step = LearningStep(net, optimizers, FIRST, x, y)
    state = step.state
    for number in range(5):
        x, y = samples(6, seed=number)
        state, _ = step.run(x, y, torch.ones(()), state, Noting(6))
        net.learn(x, y, optimizers, progress=FIRST)
    learned = net.state_dict()
    # a rounding error of Adam's first gradients near zero is a part of the rate
    assert max(distance(state[k], learned[k]) for k in learned if k in state) < (
        1e-4 if "adam" in kind else 1e-6
    )


def test_a_step_continues_from_the_state_of_torchs_optimiser() -> None:
    net = network("forward-forward")
    x, y = samples(6)
    for _ in range(3):
        net.learn(x, y, progress=FIRST)
    step = LearningStep(net, None, FIRST, x, y)
    after, _ = step.run(x, y, torch.ones(()), step.state, Noting(6, net.seed, 3))
    net.learn(x, y, progress=FIRST)
    learned = net.state_dict()
    assert max(distance(after[k], learned[k]) for k in learned if k in after) < 1e-6


def test_half_the_rate_moves_weights_half_as_far() -> None:
    net = network("local error signals")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    x, y = samples(6)
    step = LearningStep(net, optimizers, FIRST, x, y)
    whole, _ = step.run(x, y, torch.ones(()), step.state, Noting(6))
    half, _ = step.run(x, y, torch.tensor(0.5), step.state, Noting(6))
    key = "local.body.dense1.body.linear.weight"
    assert torch.allclose(2 * (half[key] - step.state[key]), whole[key] - step.state[key], atol=1e-6)


def test_the_network_and_the_callers_random_numbers_stay_as_they_are() -> None:
    net = network("hard negatives and a readout")
    before = copy.deepcopy(net.state_dict())
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    x, y = samples(6)
    LearningStep(net, None, FIRST, x, y)
    assert torch.equal(torch.rand(3), expected)
    assert all(
        torch.equal(value, before[k]) for k, value in net.state_dict().items() if torch.is_tensor(value)
    )
    assert net.batches == 0


@pytest.mark.parametrize(
    "name",
    thorough_but(["hard negatives and a readout", "closed form"], list(NETWORKS)),
)
def test_the_traced_step_takes_any_number_of_rows(name: str) -> None:
    x, y = samples(7)
    step = LearningStep(network(name), None, FIRST, x, y)
    graph = traced(step.flat, step.example(7, x, y), batched(step))
    made = program(graph, step.example(7, x, y), batched(step)).module()
    x, y = samples(12, seed=1)
    rng = Noting(12)
    state = warmed(step)
    after, _ = step.run(x, y, torch.ones(()), state, rng)
    flat = made(x, y, torch.ones(()), *state.values(), *rng.noted.values())
    # sums over samples are taken in another order
    assert (
        max(
            distance(a, after[k]) / (1 + float(after[k].abs().max()))
            for k, a in zip(step.state, flat, strict=False)
        )
        < 1e-5
    )


def test_dropout_takes_its_numbers_from_an_input() -> None:
    net = ffcore.Network(
        [
            ffcore.LocalBlock(
                nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 4)),
                "logits",
                objective="cross-entropy",
            )
        ],
        algorithm="local-errors",
        example=samples(2)[0],
        classes=4,
    )
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    x, y = samples(6)
    step = LearningStep(net, optimizers, FIRST, x, y)
    assert [(draw.name, draw.kind) for draw in step.draws] == [("random/dropout/0", "uniform")]
    one, _ = step.run(x, y, torch.ones(()), step.state, Noting(6, 1))
    same, _ = step.run(x, y, torch.ones(()), step.state, Noting(6, 1))
    other, _ = step.run(x, y, torch.ones(()), step.state, Noting(6, 2))
    key = next(k for k in one if k.endswith("weight"))
    assert torch.equal(one[key], same[key])
    assert not torch.equal(one[key], other[key])


def test_an_optimiser_without_formulas_is_refused() -> None:
    net = network("local error signals")
    optimizers = ffcore.optimizers(net, torch.optim.RMSprop, lr=0.1)
    with pytest.raises(
        UserError, match="block dense1: the step of RMSprop cannot be exported; use sgd, adam"
    ):
        LearningStep(net, optimizers, FIRST, *samples(6))


def test_accumulated_batches_are_refused() -> None:
    net = network("local error signals")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1, accumulate=2)
    with pytest.raises(UserError, match="gradients of 2 batches are accumulated"):
        LearningStep(net, optimizers, FIRST, *samples(6))


def test_an_algorithm_may_change_its_random_numbers_in_place() -> None:
    rng = Noting(4)
    rng.normal("noise", 3).zero_()
    (noted,) = rng.noted.values()
    assert noted.abs().sum() > 0


def test_a_parameter_that_begins_later_has_its_own_count_of_steps() -> None:
    net = network("local error signals")
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    biases = [p for name, p in net.named_parameters() if name.endswith("bias")]
    x, y = samples(6)
    for bias in biases:
        bias.requires_grad_(False)
    for _ in range(5):
        net.learn(x, y, optimizers, progress=FIRST)
    for bias in biases:
        bias.requires_grad_(True)
    step = LearningStep(net, optimizers, FIRST, x, y)
    after, _ = step.run(x, y, torch.ones(()), step.state, Noting(6))
    net.learn(x, y, optimizers, progress=FIRST)
    learned = net.state_dict()
    assert max(distance(after[k], learned[k]) for k in learned if k in after) < 1e-6


def test_the_rate_is_the_one_from_which_a_schedule_began() -> None:
    net = network("local error signals")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.1)
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizers, 1.0, 0.5, total_iters=1)
    x, y = samples(6)
    first = LearningStep(net, optimizers, FIRST, x, y)
    fresh, _ = first.run(x, y, torch.ones(()), first.state, Noting(6))
    optimizers.step()
    scheduler.step()
    assert optimizers.param_groups[0]["lr"] == pytest.approx(0.05)
    step = LearningStep(net, optimizers, FIRST, x, y)
    after, _ = step.run(x, y, torch.ones(()), step.state, Noting(6))
    key = "local.body.dense1.body.linear.weight"
    assert torch.equal(after[key], fresh[key])


def test_a_rate_of_zero_is_refused() -> None:
    net = network("local error signals")
    optimizers = ffcore.optimizers(net, torch.optim.SGD, lr=0.0)
    with pytest.raises(UserError, match="block dense1: the learning rate is 0"):
        LearningStep(net, optimizers, FIRST, *samples(6))


def test_optimisers_of_another_network_are_refused() -> None:
    optimizers = ffcore.optimizers(network("local error signals"), torch.optim.SGD, lr=0.1)
    with pytest.raises(UserError, match="holds parameters of another network"):
        LearningStep(network("local error signals"), optimizers, FIRST, *samples(6))
