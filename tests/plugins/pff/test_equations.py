"""One batch of predictive Forward-Forward, against the equations written again in NumPy."""

import numpy as np
import pytest
import torch

from ffcore.build.assemble import assemble
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.schema import Recipe
from ffcore_ff.recurrent import Cell
from ffcore_pff.cells import Competing

SHAPE, K, N, ALPHA, STRENGTH, BETA, THETA, RATE = (1, 2, 3), 3, 5, 0.3, 5.0, 0.1, -2.0, 0.05


@pytest.fixture
def module():
    recipe = Recipe.model_validate(
        {
            "name": "equations",
            "data": {"kind": "digits"},
            "algorithm": "predictive-forward-forward",
            "network": [
                {
                    "kind": "predictive",
                    "units": [4, 6],
                    "steps": 3,
                    "group": 2,
                    "noise": 0,
                    "generator_noise": 0,
                    "latents": 3,
                    "latent_rate": BETA,
                }
            ],
            "block": {
                "goodness": "negative-sum-squares",
                "objective": {"kind": "logistic", "threshold": THETA},
            },
            "optimizer": {"kind": "sgd", "lr": RATE},
        }
    )
    made = assemble(recipe, SHAPE, K).double()
    with torch.no_grad():
        for cell in made.network.circuits[0].cells:
            cell.body.lateral.weight.sub_(0.02)  # some of them below zero, where nothing inhibits
    made.configure_optimizers()
    return made


def batch():
    random = np.random.default_rng(0)
    x = torch.tensor(random.uniform(size=(N, *SHAPE)))
    y = torch.tensor(random.integers(K, size=N))
    return Batch(x, y, torch.arange(N), 0, N, BatchRNG(1, 0, 0, N, N))


def unit(v):
    return v / (np.linalg.norm(v, axis=1, keepdims=True) + 1e-8)


def relu(v):
    return np.maximum(v, 0)


def sigmoid(v):
    return 1 / (1 + np.exp(-v))


class Layer:
    """z' = (1 − α) f(W below + V above + b − z L̃) + α z, and a descent on the logistic loss of −Σ z'²."""

    def __init__(self, body):
        self.w, self.b = body.below.weight, body.below.bias
        self.v, self.blocks = body.above.weight, body.lateral.weight
        for name in ("w", "b", "v", "blocks"):
            setattr(self, name, getattr(self, name).detach().numpy().copy())

    def lateral(self):
        groups, size, _ = self.blocks.shape
        whole = np.zeros((groups * size, groups * size))
        for g in range(groups):
            for i in range(size):
                for j in range(size):
                    sign = -1 if i == j else 1
                    whole[g * size + i, g * size + j] = sign * max(self.blocks[g, i, j], 0)
        return whole

    def step(self, below, above, own):
        drive = below @ self.w.T + above @ self.v.T + self.b - own @ self.lateral()
        state = (1 - ALPHA) * relu(drive) + ALPHA * own
        logits = -(state**2).sum(1) - THETA
        up = np.concatenate([-(1 - sigmoid(logits[:N])), sigmoid(logits[N:])]) / N
        down = (1 - ALPHA) * (-2 * state) * up[:, None]  # the derivative of f is taken as 1
        of_lateral = -own.T @ down
        size = self.blocks.shape[1]
        for g in range(len(self.blocks)):
            part = of_lateral[g * size : (g + 1) * size, g * size : (g + 1) * size]
            signed = part * (1 - 2 * np.eye(size))
            self.blocks[g] -= RATE * signed * (self.blocks[g] > 0)
        self.w -= RATE * down.T @ below
        self.v -= RATE * down.T @ above
        self.b -= RATE * down.sum(0)
        return state


class Generator:
    """e = f(G above) − target, and a descent on the mean of Σ e²."""

    def __init__(self, body):
        self.g, self.image = body.linear.weight.detach().numpy().copy(), body.image

    def step(self, above, target):
        drive = above @ self.g.T
        error = (drive.clip(0, 1) if self.image else relu(drive)) - target
        pull = 2 * error @ self.g
        self.g -= RATE * (2 * error / len(error)).T @ above
        return pull


def test_a_batch_changes_every_parameter_as_the_equations_say(module):
    circuit, data = module.network.circuits[0], batch()
    layers = [Layer(cell.body) for cell in circuit.cells]
    generators = [Generator(block.body) for block in circuit.generators]
    top, bias = (p.detach().numpy().copy() for p in circuit.classifier.body.parameters())
    views = module.algorithm.views(data, module.network)
    hypotheses = views.hypothesis.numpy()

    image = data.x.flatten(1).numpy()
    x, both, clamp = unit(image), np.concatenate([image, image]), STRENGTH * np.eye(K)[hypotheses]
    states = [relu(x @ layers[0].w.T + layers[0].b)]
    states.append(relu(unit(states[0]) @ layers[1].w.T + layers[1].b))
    states = [np.concatenate([state, state]) for state in states]
    initial, latent = unit(states[1][:N]), np.zeros((2 * N, 3))
    for _ in range(3):
        logits = initial @ top.T + bias
        share = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        off = STRENGTH * (share - np.eye(K)[data.y.numpy()]) / N
        top, bias = top - RATE * off.T @ initial, bias - RATE * off.sum(0)
        around = [np.concatenate([x, x]), unit(states[0]), unit(states[1]), clamp]
        states = [layers[i].step(around[i], around[i + 2], states[i]) for i in range(2)]
        generators[0].step(unit(relu(states[0])), both)
        generators[1].step(unit(relu(states[1])), states[0])
        latent = latent - BETA * generators[2].step(relu(latent), states[1])

    module.algorithm.learn(batch(), module.network)  # which draws the same wrong labels

    close = {"rtol": 0, "atol": 1e-9}
    for layer, cell in zip(layers, circuit.cells, strict=True):
        np.testing.assert_allclose(cell.body.below.weight.detach().numpy(), layer.w, **close)
        np.testing.assert_allclose(cell.body.below.bias.detach().numpy(), layer.b, **close)
        np.testing.assert_allclose(cell.body.above.weight.detach().numpy(), layer.v, **close)
        np.testing.assert_allclose(cell.body.lateral.weight.detach().numpy(), layer.blocks, **close)
    for generator, block in zip(generators, circuit.generators, strict=True):
        np.testing.assert_allclose(block.body.linear.weight.detach().numpy(), generator.g, **close)
    np.testing.assert_allclose(circuit.classifier.body.linear.weight.detach().numpy(), top, **close)
    np.testing.assert_allclose(circuit.classifier.body.linear.bias.detach().numpy(), bias, **close)


def test_the_states_of_a_pass_are_those_of_the_equations(module):
    circuit, data = module.network.circuits[0], batch()
    layers = [Layer(cell.body) for cell in circuit.cells]
    views = module.algorithm.views(data, module.network)
    images = circuit.normalised(circuit.images(views.x))
    states = circuit.begin(images, 2 * N)
    clamp = circuit.eye[views.hypothesis].double()
    made = circuit.iterate(images, states, clamp)
    x = images.numpy()
    around = [np.concatenate([x, x]), *(unit(state.numpy()) for state in states), clamp.numpy()]
    for i, layer in enumerate(layers):
        right = layer.step(around[i], around[i + 2], states[i].numpy())
        np.testing.assert_allclose(made[i].numpy(), right, rtol=0, atol=1e-12)


def test_units_inhibit_only_their_group_and_never_excite_it():
    competing = Competing(6, 2)
    with torch.no_grad():
        drawn = torch.randn(competing.weight.shape, generator=torch.Generator().manual_seed(0))
        competing.weight.copy_(drawn)
    inhibition = competing(torch.eye(6)).detach()  # row i: unit i alone is active
    group = torch.arange(6) // 2
    same = group.unsqueeze(1) == group.unsqueeze(0)
    others = same & ~torch.eye(6, dtype=torch.bool)
    assert (inhibition[~same] == 0).all()
    assert (inhibition[others] >= 0).all()
    assert (inhibition[others] > 0).any()
    assert (inhibition.diagonal() <= 0).all()  # a unit excites itself


@pytest.mark.parametrize("shared", [True, False])
@pytest.mark.parametrize("activation", ["relu", "relu-pass-through", "tanh"])
def test_closed_forms_of_a_cell_are_autograds(activation, shared):
    cell = Cell(5, 3, 6, 0.3, activation, Competing(6, 3)).double()
    rows = [torch.randn(n, d, dtype=torch.float64) for n, d in ((4 if shared else 8, 5), (8, 3), (8, 6))]
    up = torch.randn(8, 6, dtype=torch.float64)
    made = cell(*rows)
    right = torch.autograd.grad(made, list(cell.parameters()), up)
    cell.add_gradients(rows[0], made.detach(), up.clone(), *rows[1:])
    for parameter, gradient in zip(cell.parameters(), right, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, rtol=0, atol=1e-12)


def test_nothing_in_the_circuit_needs_a_graph(module):
    assert {module.network.place(block).rule.begins for block in module.network.blocks} == {"loss"}
