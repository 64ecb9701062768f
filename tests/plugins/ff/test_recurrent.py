"""Forward-Forward with top-down connections."""

import pytest
import torch

from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG, Views
from ffcore.recipe.schema import Recipe
from ffcore.testing.scenery import by_autograd

N, K, SHAPE = 6, 3, (1, 3, 3)


def module(block=None, algorithm=None, **circuit):
    recipe = Recipe.model_validate(
        {
            "name": "test",
            "data": "digits",
            "algorithm": {"kind": "forward-forward", "labels": None, **(algorithm or {})},
            "network": [{"kind": "recurrent", "units": [5, 4], **circuit}],
            "block": {"goodness": "sum-squares", "objective": "logistic", **(block or {})},
        }
    )
    made = assemble(recipe, SHAPE, K)
    made.configure_optimizers()
    return made


def batch():
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N, BatchRNG(1, 0, 0, N, N))


def unit(x):
    return x * (x.shape[1] ** 0.5) / x.norm(dim=1, keepdim=True)


def test_states_move_together_from_those_of_the_iteration_before():
    made = module(leak=0.3)
    one, two = (cell.body for cell in made.network.circuits[0].cells)
    x, y = batch().x, batch().y
    image, clamp = unit(x.flatten(1)), torch.eye(K)[y]
    low = torch.relu(one.below(image))
    high = torch.relu(two.below(unit(low)))
    energies = []
    for _ in range(5):
        up, down = unit(low), unit(high)
        new = torch.relu(one.below(image) + down @ one.above.weight.T)
        top = torch.relu(two.below(up) + clamp @ two.above.weight.T)
        low, high = 0.7 * new + 0.3 * low, 0.7 * top + 0.3 * high
        energies.append(torch.stack([low.square().sum(1), high.square().sum(1)]))
    right = torch.stack(energies[2:5]).mean(0)  # iterations 3 to 5
    views = Views(x, ("all",), (N,), hypothesis=y)
    torch.testing.assert_close(torch.stack(made.network.goodness(views)), right)


def test_scores_are_those_of_a_pass_for_each_class_however_many_go_at_once():
    few, many = module(algorithm={"rows": 1}), module(algorithm={"rows": 1000})
    x = batch().x
    scores = many.algorithm.scores(x, many.network)
    torch.testing.assert_close(few.algorithm.scores(x, few.network), scores)
    for k in range(K):
        views = Views(x, ("all",), (N,), hypothesis=torch.full((N,), k))
        torch.testing.assert_close(scores[:, :, k], torch.stack(many.network.goodness(views)))


def test_predicting_stops_after_the_last_iteration_that_is_read():
    made = module(iterations=8, reads=(2, 4))
    hypotheses = Views(batch().x, ("all",), (N,), hypothesis=batch().y)
    assert [len(calls) for calls in made.network.trace(hypotheses)] == [4, 4]
    learned = made.algorithm.views(batch(), made.network)
    assert [len(calls) for calls in made.network.trace(learned)] == [8, 8]


def test_a_pass_without_hypotheses_is_bottom_up():
    made = module()
    one, two = (cell.body for cell in made.network.circuits[0].cells)
    low = torch.relu(one.below(unit(batch().x.flatten(1))))
    right = torch.relu(two.below(unit(low))).square().sum(1)
    torch.testing.assert_close(made.network.goodness(made.algorithm.neutral(batch().x))[1], right)


@pytest.mark.parametrize("activation", ["relu", "relu-pass-through", "tanh"])
def test_closed_forms_make_the_same_step_as_autograd(activation):
    closed, graph = module(activation=activation), module(activation=activation)
    by_autograd(graph.network)
    assert {closed.network.place(block).rule.begins for block in closed.network.blocks} == {"loss"}
    for made in (closed, graph):
        made.double().algorithm.learn(_double(batch()), made.network)
    torch.testing.assert_close(closed.network.state_dict(), graph.network.state_dict(), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"units": []}, "units"),
        ({"reads": [3, 9]}, r"reads: \[3, 9\]: should be the first and last of iterations 1 to 8"),
        ({"reads": [0, 2]}, "reads"),
        ({"blocks": {"layer3": {"optimizer": "sgd"}}}, "there is no block 'layer3'; did you mean 'layer"),
    ],
)
def test_a_circuit_that_cannot_be_is_refused(said, complaint):
    with pytest.raises((UserError, ValueError), match=complaint):
        module(**said)


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"algorithm": {"labels": "overlay"}}, "algorithm: a circuit is clamped to the label.*labels: null"),
        ({"block": {"per_view": True}}, "block.per_view: views of a circuit share rows"),
        (
            {"block": {"handoff": "rms"}},
            "block.handoff: the circuit recurrent passes activities between its blocks itself",
        ),
    ],
)
def test_parts_that_do_not_work_with_a_circuit_are_refused(parts, complaint):
    with pytest.raises(UserError, match=complaint):
        module(**parts)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"network": [{"kind": "dense", "units": 4}]}, "algorithm: labels: null is for circuits"),
        (
            {"network": [{"kind": "residual", "items": [{"kind": "recurrent", "units": [4]}]}]},
            "network.0.items.0: recurrent is a circuit, which cannot be inside a residual",
        ),
        ({"schedule": {"kind": "greedy", "cache": True}}, "schedule.cache: blocks of a circuit run several"),
        ({"schedule": "one-window"}, "blocks of a circuit learn one by one"),
        ({"algorithm": "backprop"}, "algorithm: the views of Backprop have no hypothesis, but a circuit"),
    ],
)
def test_recipes_that_circuits_cannot_follow_are_refused(changes, complaint):
    parts = {
        "name": "test",
        "data": "digits",
        "algorithm": {"kind": "forward-forward", "labels": None},
        "network": [{"kind": "recurrent", "units": [5, 4]}],
        "block": {"goodness": "sum-squares", "objective": "logistic"},
    }
    with pytest.raises(UserError, match=complaint):
        assemble(Recipe.model_validate({**parts, **changes}), SHAPE, K)


def _double(batch):
    batch.x = batch.x.double()
    return batch
