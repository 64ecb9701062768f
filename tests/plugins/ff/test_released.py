"""The recipe mnist/ff-released, against Hinton's update written again in plain torch."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.load import load
from ffcore_std.lr_schedules import HoldThenLinear

SHAPE, K, N, UNITS = (1, 3, 5), 3, 8, 12
RATE, READOUT_RATE, COST, READOUT_COST, PEERS = 0.01, 0.1, 0.001, 0.003, 0.03


def batch(step: int) -> Batch:
    drawn = torch.Generator().manual_seed(step)
    x = torch.rand(N, *SHAPE, generator=drawn, dtype=torch.float64)
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N, BatchRNG(1, step, 0, N, N))


def normalised(rows: Tensor) -> Tensor:
    return rows / rows.square().mean(1, keepdim=True).sqrt()


class Hinton:
    """The weights of a network after steps by his formulas; C is the log probability of the right answers."""

    def __init__(self, weights: list[Tensor], readout: Tensor, drawn) -> None:
        self.weights, self.biases = weights, [torch.zeros(len(w)).double() for w in weights]
        self.readout, self.drawn = readout, drawn
        self.smooth = [(torch.zeros_like(w), torch.zeros(len(w)).double()) for w in weights]
        self.smooth_readout = torch.zeros_like(readout)
        self.means = [torch.full((len(w),), 0.5).double() for w in weights]

    def states(self, x: Tensor, codes: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Inputs and states of each layer."""
        rows = x.flatten(1).clone()
        rows[:, :K] = codes
        inputs, states = [], []
        for weight, bias in zip(self.weights, self.biases, strict=True):
            inputs.append(normalised(states[-1] if states else rows))
            states.append((inputs[-1] @ weight.T + bias).clamp_min(0))
        return inputs, states

    def step(self, data: Batch, gain: float) -> None:
        hot = torch.eye(K).double()
        inputs, states = self.states(data.x, hot[data.y])
        sums = []
        for i, (below, h) in enumerate(zip(inputs, states, strict=True)):
            probability = torch.sigmoid(h.square().sum(1) - h.shape[1])
            self.means[i] = 0.9 * self.means[i] + 0.1 * h.mean(0)
            up = (1 - probability)[:, None] * h + PEERS * (self.means[i].mean() - self.means[i])
            sums.append([up.T @ below, up.sum(0)])

        _, neutral = self.states(data.x, torch.full((N, K), 1 / K, dtype=torch.float64))
        read = torch.cat([normalised(h) for h in neutral[1:]], 1)
        probabilities = (read @ self.readout.T).softmax(1)
        slope = (hot[data.y] - probabilities).T @ read / N
        self.smooth_readout = 0.9 * self.smooth_readout + 0.1 * slope
        change = self.smooth_readout - READOUT_COST * self.readout
        self.readout = self.readout + gain * READOUT_RATE * change

        inputs, states = self.states(data.x, hot[self.drawn(data, probabilities)])
        for i, (below, h) in enumerate(zip(inputs, states, strict=True)):
            up = -torch.sigmoid(h.square().sum(1) - h.shape[1])[:, None] * h
            weight, bias = (
                0.9 * old + 0.1 * (new + more) / N
                for old, new, more in zip(self.smooth[i], sums[i], (up.T @ below, up.sum(0)), strict=True)
            )
            self.smooth[i] = (weight, bias)
            self.biases[i] = self.biases[i] + gain * RATE * bias
            self.weights[i] = self.weights[i] + gain * RATE * (weight - COST * self.weights[i])


def test_three_steps_are_those_of_hintons_code() -> None:
    recipe = load("mnist/ff-released", [f"network.0.units={UNITS}"])
    module = assemble(recipe, SHAPE, K).double()
    module.configure_optimizers()
    network, algorithm = module.network, module.algorithm
    layers: list[nn.Linear] = [block.body.linear for block in network.blocks]
    readout = network.readout_blocks["softmax"].body.linear
    assert readout.bias is None

    def drawn(data: Batch, probabilities: Tensor) -> Tensor:
        return algorithm.negatives.of(data, data.y, lambda: probabilities)[1]

    right = Hinton(
        [layer.weight.detach().clone() for layer in layers], readout.weight.detach().clone(), drawn
    )
    for step in range(3):
        algorithm.learn(batch(step), network)
        right.step(batch(step), 1.0)
    close = {"rtol": 0, "atol": 1e-12}
    torch.testing.assert_close(readout.weight.detach(), right.readout, **close)
    for layer, weight, bias in zip(layers, right.weights, right.biases, strict=True):
        torch.testing.assert_close(layer.weight.detach(), weight, **close)
        torch.testing.assert_close(layer.bias.detach(), bias, **close)
        assert bias.abs().max() > 1e-6


def test_rates_are_those_of_his_epochs() -> None:
    schedule, epochs = HoldThenLinear(per="middle"), 7
    for epoch in range(1, epochs + 1):  # as he counts them
        gain = 1.0 if epoch <= epochs / 2 else (1 + 2 * (epochs - epoch)) / epochs
        for batch_of_epoch in (0, 0.4, 0.999):
            assert math.isclose(schedule.factor(epoch - 1 + batch_of_epoch, epochs), gain)
