"""The recipe mnist/pff-released, against the authors' formulas written again with autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import ffcore
from ffcore.build.assemble import assemble
from ffcore.cli.main import main
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.load import load
from ffcore.testing.scenery import by_autograd

SHAPE, K, N, Z, STEPS, RATE = (1, 3, 4), 3, 5, 3, 4, 0.05
PARTS = ("W", "V", "b", "L")


def module(*overrides: str):
    sizes = ["network.0.units=[4, 6]", f"network.0.steps={STEPS}", "network.0.reads=null"]
    quiet = [
        "network.0.group=2",
        f"network.0.latents={Z}",
        "network.0.noise=0",
        "network.0.generator_noise=0",
    ]
    changed = [*sizes, *quiet, f"optimizer={{kind: sgd, lr: {RATE}}}", "trainer.clip_value=0.02", *overrides]
    made = assemble(load("mnist/pff-released", changed), SHAPE, K).double()
    with torch.no_grad():
        circuit = made.network.circuits[0]
        circuit.generators[0].body.linear.weight.mul_(60).sub_(0.8)  # some pixels beyond 0 and 1
        for cell in circuit.cells:
            cell.body.lateral.weight.sub_(0.02)  # some below 0, where nothing inhibits
    made.configure_optimizers()
    return made


def batch() -> Batch:
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N, BatchRNG(1, 0, 0, N, N))


def unit(v: Tensor) -> Tensor:
    return v / (torch.linalg.vector_norm(v, dim=1, keepdim=True) + 1e-8)


def relu(v: Tensor) -> Tensor:
    return v + (v.clamp_min(0) - v).detach()  # a derivative of 1


class Authors:
    """The parameters of two layers, a classifier and three generators; weights are (outputs, inputs)."""

    def __init__(self, circuit, norm: float = 0.0, norm_generator: float = 0.0) -> None:
        self.norm, self.norm_generator = norm, norm_generator
        held = [
            (c.body.below.weight, c.body.above.weight, c.body.below.bias, c.body.lateral.weight)
            for c in circuit.cells
        ]
        self.layers = [dict(zip(PARTS, map(free, parts), strict=True)) for parts in held]
        top = circuit.classifier.body.linear
        self.top, self.top_bias = free(top.weight), free(top.bias)
        self.generators = [free(block.body.linear.weight) for block in circuit.generators]

    def drive(self, i: int, below: Tensor, above: Tensor, own: Tensor) -> Tensor:
        layer, size = self.layers[i], self.layers[i]["L"].shape[1]
        signed = layer["L"].relu() * (1 - 2 * torch.eye(size))
        lateral = torch.block_diag(*signed)
        return below @ layer["W"].T + above @ layer["V"].T + layer["b"] - own @ lateral

    def bottom_up(self, x: Tensor) -> list[Tensor]:
        first = (unit(x) @ self.layers[0]["W"].T + self.layers[0]["b"]).relu()
        return [first, (unit(first) @ self.layers[1]["W"].T + self.layers[1]["b"]).relu()]

    def next_states(self, x: Tensor, y: Tensor, states: list[Tensor]) -> list[Tensor]:
        around = [unit(x), unit(states[0]), unit(states[1]), 5 * y]
        new = [self.drive(i, around[i], around[i + 2], states[i]) for i in (0, 1)]
        return [0.7 * relu(drive) + 0.3 * own for drive, own in zip(new, states, strict=True)]

    def step(self, x: Tensor, y: Tensor, right: Tensor, states: list[Tensor], latent: Tensor):
        """One iteration; ``right`` is 1 for positives. Returns the states and the latent."""
        after = self.next_states(x, y, states)
        logits = unit(states[1]) @ self.top.T + self.top_bias
        loss = -(right[:, None] * 5 * y * logits.log_softmax(1)).sum() / right.sum()
        for state in after:
            loss = loss + F.binary_cross_entropy_with_logits(10 - state.square().sum(1), right)
        weights = [self.top, *(layer[name] for layer in self.layers for name in "WV")]
        loss = loss + self.norm * sum(weight.norm() for weight in weights)
        descend(loss, [*(layer[name] for layer in self.layers for name in PARTS), self.top, self.top_bias])

        after = [state.detach() for state in after]
        latent = latent.detach().requires_grad_()
        made = [
            (unit(after[0].relu()) @ self.generators[0].T).clamp(0, 1),
            relu(unit(after[1].relu()) @ self.generators[1].T),
            relu(unit(relu(latent)) @ self.generators[2].T),
        ]
        errors = [(a - b).square().sum(1).mean() for a, b in zip(made, [x, *after], strict=True)]
        (slope,) = torch.autograd.grad(errors[2], latent, retain_graph=True)
        penalty = self.norm_generator * sum(weight.norm() for weight in self.generators)
        descend(sum(errors) + penalty, self.generators)
        return after, (latent - 0.025 * slope).detach()


def free(parameter: Tensor) -> Tensor:
    return parameter.detach().clone().requires_grad_()


def descend(loss: Tensor, parameters: list[Tensor]) -> None:
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.data.sub_(RATE * gradient.clamp(-0.02, 0.02))


def learned(made, right: Authors) -> None:
    """Check every parameter of the circuit after a batch."""
    circuit = made.network.circuits[0]
    views = made.algorithm.views(batch(), made.network)
    x, y = batch().x.flatten(1).repeat(2, 1), torch.eye(K).double()[views.hypothesis]
    positive = torch.cat([torch.ones(N), torch.zeros(N)]).double()
    states, latent = right.bottom_up(x), torch.zeros(2 * N, Z).double()
    for _ in range(STEPS):
        states, latent = right.step(x, y, positive, [s.detach() for s in states], latent)

    made.algorithm.learn(batch(), made.network)

    close = {"rtol": 0, "atol": 1e-9}
    for layer, cell in zip(right.layers, circuit.cells, strict=True):
        body = cell.body
        ours = (body.below.weight, body.above.weight, body.below.bias, body.lateral.weight)
        for name, parameter in zip(PARTS, ours, strict=True):
            torch.testing.assert_close(parameter.detach(), layer[name].detach(), **close)
    top = circuit.classifier.body.linear
    torch.testing.assert_close(top.weight.detach(), right.top.detach(), **close)
    torch.testing.assert_close(top.bias.detach(), right.top_bias.detach(), **close)
    for weight, block in zip(right.generators, circuit.generators, strict=True):
        torch.testing.assert_close(block.body.linear.weight.detach(), weight.detach(), **close)


@pytest.mark.parametrize("closed", [True, False])
def test_a_batch_is_that_of_the_authors_code(closed: bool) -> None:
    made = module()
    if not closed:
        by_autograd(made.network)
    learned(made, Authors(made.network.circuits[0]))


@pytest.mark.parametrize(
    "default",
    [
        *("network.0.classifier=bottom-up", "network.0.latent_norm=false", "network.0.latent_start=0.1"),
        *("network.0.clipped=false", "block.objective.weight=1"),
    ],
)
def test_every_option_has_a_part_in_it(default: str) -> None:
    made = module(default)
    with pytest.raises(AssertionError, match="not close"):
        learned(made, Authors(made.network.circuits[0]))


@pytest.mark.parametrize("closed", [True, False])
def test_norms_of_weights_are_penalised_as_in_the_authors_code(closed: bool) -> None:
    made = module(
        "block.penalties={norm: {kind: weight-norm, strength: 0.01}}",
        "network.0.classifier_norm=0.01",
        "network.0.generator_norm=0.003",
    )
    if not closed:
        by_autograd(made.network)
    learned(made, Authors(made.network.circuits[0], 0.01, 0.003))


def test_initial_biases_are_a_random_direction() -> None:
    for cell in module().network.circuits[0].cells:
        assert cell.body.below.bias.norm().item() == pytest.approx(1, abs=1e-6)
        assert cell.body.below.bias.min() < 0 < cell.body.below.bias.max()


def test_latents_follow_one_step_under_the_predicted_label() -> None:
    circuit = module().network.circuits[0]
    right, x = Authors(circuit), batch().x.flatten(1)
    states = right.bottom_up(x)
    predicted = (unit(states[1]) @ right.top.T + right.top_bias).softmax(1)
    target = right.next_states(x, predicted, states)[1].detach()
    latent = torch.zeros(N, Z).double()
    for _ in range(STEPS):
        latent = latent.detach().requires_grad_()
        error = (relu(unit(relu(latent)) @ right.generators[2].T.detach()) - target).square().sum(1).mean()
        latent = latent - 0.025 * torch.autograd.grad(error, latent)[0]
    torch.testing.assert_close(circuit.encoded(batch().x), latent.detach())
    z2 = (unit(latent.relu()) @ right.generators[2].T).relu()
    z1 = (unit(z2) @ right.generators[1].T).relu()
    image = (unit(z1) @ right.generators[0].T).clamp(0, 1)
    torch.testing.assert_close(circuit.decoded(latent.detach()), image.detach().view(N, *SHAPE))


def test_a_row_has_a_step_of_the_mean_times_the_number_of_rows() -> None:
    plain = "network.0.latent_norm=false"
    one, all_rows = module("network.0.latent_step=row", plain), module(plain)
    all_rows.network.load_state_dict(one.network.state_dict())
    one.network.circuits[0].latent_rate /= N
    of_row, of_mean = (m.network.circuits[0].encoded(batch().x) for m in (one, all_rows))
    torch.testing.assert_close(of_row, of_mean)
    assert of_mean.abs().max() > 1e-6


@pytest.mark.thorough
def test_one_mixture_of_all_classes_has_no_samples_by_class(tmp_path, capsys) -> None:
    run = ffcore.train(
        "digits/pff",
        run_dir=tmp_path / "run",
        **{"algorithm.mixture": "all", "network.0.units": [30, 20], "network.0.steps": 4},
        trainer={"max_epochs": 1, "threads": 1},
    )
    assert set(run.results["concluded"]) == {"samples_to_train", "test_to_train"}
    with np.load(run.path / "arrays.npz") as arrays:
        assert arrays["mixture/weights"].shape == (1, 4)
        assert arrays["samples"].shape == (10, 10, 1, 8, 8)
    assert "from the mixture of all top latents" in (run.path / "report.md").read_text()
    assert main(["sample", str(run.path), "--n", "3"]) == 0
    assert main(["sample", str(run.path), "--label", "3"]) == 2
    assert "--label 3: the mixture of this run is one for all classes" in capsys.readouterr().err
