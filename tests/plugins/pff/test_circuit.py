"""The predictive circuit: learning, memory, reconstructions and refused options."""

import pytest
import torch

from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG, Views
from ffcore.recipe.schema import Recipe
from ffcore.testing.memory import kept_for_backward
from ffcore.testing.scenery import by_autograd

N, K, SHAPE = 6, 3, (1, 3, 4)


def module(trainer=None, readouts=None, **circuit):
    recipe = Recipe.model_validate(
        {
            "name": "test",
            "data": "digits",
            "algorithm": "predictive-forward-forward",
            "network": [
                {"kind": "predictive", "units": [6, 4, 4], "group": 2, "latents": 3, "steps": 4, **circuit}
            ],
            "block": {
                "goodness": "negative-sum-squares",
                "objective": {"kind": "logistic", "threshold": -3},
            },
            "trainer": trainer or {},
            "readouts": readouts or {},
        }
    )
    made = assemble(recipe, SHAPE, K)
    made.configure_optimizers()
    return made


def batch(seed=0):
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N, BatchRNG(1, 0, 0, N, N))


def test_any_number_of_layers_has_a_generator_for_each_and_one_for_the_latent():
    shapes = {b.name: b.info.shape for b in module().network.blocks}
    assert shapes == {
        **{"layer1": (6,), "layer2": (4,), "layer3": (4,), "classifier": (3,)},
        **{"generator1": (12,), "generator2": (6,), "generator3": (4,), "generator4": (4,)},
    }


def test_every_block_has_its_own_optimiser_and_learning_rate():
    made = module(blocks={"generator1": {"optimizer": {"kind": "adam", "lr": 0.5}}})
    rates = {n: b.optimizer.param_groups[0]["lr"] for n, b in made.network.optimizers.blocks.items()}
    assert rates["generator1"] == 0.5
    assert set(rates.values()) == {0.5, 1e-3}


def test_each_step_is_an_update_of_every_block():
    made = module(steps=5)
    learned = []
    made.network.record = lambda block, terms, samples: learned.append(block.name)
    made.algorithm.learn(batch(), made.network)
    assert sorted(learned) == sorted([b.name for b in made.network.blocks] * 5)


def test_gradients_are_clipped_number_by_number():
    made = module(trainer={"clip_value": 1e-3})
    seen = []
    for each in made.network.optimizers:
        each.optimizer.register_step_pre_hook(
            lambda o, *_: seen.append(
                max(float(p.grad.abs().max()) for g in o.param_groups for p in g["params"])
            )
        )
    made.algorithm.learn(batch(), made.network)
    assert max(seen) == pytest.approx(1e-3)


def test_a_block_may_have_its_own_limit():
    made = module(trainer={"clip_value": {"*": 1e-3, "layer1": 2e-3, "generator1": 5e-4}})
    limits = {name: each.clip_value for name, each in made.network.optimizers.blocks.items()}
    assert (limits.pop("layer1"), limits.pop("generator1")) == (2e-3, 5e-4)
    assert set(limits.values()) == {1e-3}
    made = module(trainer={"clip_value": {"layer1": 2e-3}})
    assert made.network.optimizers.blocks["layer2"].clip_value is None
    with pytest.raises(UserError, match="clip_value: there is no block 'layer9'; there are layer1, "):
        module(trainer={"clip_value": {"layer9": 1.0}})


@pytest.mark.parametrize("closed", [True, False])
def test_memory_saved_for_backward_does_not_grow_with_the_steps(closed):
    def peak(steps):
        made = module(steps=steps)
        if not closed:
            by_autograd(made.network)
        with kept_for_backward(made.network.parameters()) as kept:
            made.algorithm.learn(batch(), made.network)
        return kept.most

    assert peak(3) == peak(12)
    assert (peak(3) == 0) == closed


def test_a_name_that_is_taken_by_the_classifier_is_refused():
    with pytest.raises(UserError, match=r"readouts: the name 'classifier' is taken|'classifier' is taken"):
        module(readouts={"classifier": "softmax"})


def test_readouts_read_the_layers_and_not_the_errors_of_generators():
    (taps,) = module(readouts={"mine": "softmax"}).network.taps.values()
    assert [block.name for block in taps] == ["layer2", "layer3"]


def test_observing_a_learning_pass_uses_no_noise():
    made = module(noise=10.0)
    views = made.algorithm.views(batch(), made.network)
    once, again = (torch.stack(made.network.goodness(views)) for _ in range(2))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    assert [len(calls) for calls in made.network.trace(views)] == [4, 4, 4]


def test_predicting_uses_no_generator_and_no_noise():
    made = module(noise=10.0)
    calls = []
    for generator in made.network.circuits[0].generators:
        generator.register_forward_hook(lambda *_: calls.append(1))
    once, again = (made.algorithm.scores(batch().x, made.network) for _ in range(2))
    torch.testing.assert_close(once, again, rtol=0, atol=0)
    assert not calls


def test_the_classifier_is_a_source_beside_the_layers():
    made = module()
    assert [(s.name, s.role) for s in made.sources] == [
        *((f"layer{i}", "block") for i in (1, 2, 3)),
        ("classifier", "readout"),
    ]
    scores = made.algorithm.scores(batch().x, made.network)
    torch.testing.assert_close(scores[3], made.network.circuits[0].logits(batch().x))


def test_the_latent_descends_on_the_error_of_the_top_generator():
    circuit = module(latent_rate=0.05).network.circuits[0]
    x = batch().x
    state = circuit.begin(circuit.normalised(x.flatten(1)), N)[-1]

    def error(latent):
        return (circuit.generators[-1].body.predicted(torch.relu(latent)) - state).square().sum()

    assert error(circuit.encoded(x)) < error(torch.zeros(N, 3))
    latent = torch.full((N, 3), 0.5, requires_grad=True)  # where the relu is straight
    (right,) = torch.autograd.grad(error(latent), latent)
    pulled = circuit.generators[-1].body.pulled(torch.relu(latent), state)
    torch.testing.assert_close(pulled, right)


def test_images_come_out_in_the_shape_that_went_in():
    circuit = module().network.circuits[0]
    for made in (circuit.reconstructed(batch().x), circuit.decoded(torch.randn(N, 3))):
        assert made.shape == (N, *SHAPE)
        assert made.min() >= 0
        assert made.max() <= 1


def test_a_pixel_that_is_clipped_keeps_its_gradient():
    circuit = module().network.circuits[0]
    generator = circuit.generators[0].body
    with torch.no_grad():
        generator.linear.weight.fill_(1.0)  # sums far above 1
    above = torch.ones(2, 6)
    generator.predicted(above).sum().backward()
    torch.testing.assert_close(generator.linear.weight.grad, torch.full((12, 6), 2.0))


def test_measures_are_errors_of_reconstructions():
    made = module()
    found = made.algorithm.measure(batch(), made.network)
    x, again = batch().x, made.network.circuits[0].reconstructed(batch().x)
    torch.testing.assert_close(found["reconstruction_mse"], (x - again).square().mean((1, 2, 3)))
    right = torch.nn.functional.binary_cross_entropy(again.clamp(1e-6, 1 - 1e-6), x)
    torch.testing.assert_close(found["reconstruction_bce"].mean(), right)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ({"group": 3}, "network.0: .*group: 3 does not divide 4 units"),
        (
            {"blocks": {"generator1": {"goodness": "sum-squares"}}},
            "generator1.goodness: .* a loss of its own",
        ),
    ],
)
def test_a_circuit_that_cannot_be_is_refused(said, complaint):
    with pytest.raises(UserError, match=complaint):
        module(**said)


def test_fewer_than_two_steps_are_refused_where_the_recipe_is_read():
    with pytest.raises(ValueError, match=r"network\.0.*steps|steps.*greater than or equal to 2"):
        module(steps=1)


@pytest.mark.parametrize("net", [["dense"], ["dense", "predictive"], ["predictive", "dense"]])
def test_the_algorithm_needs_its_circuit_and_no_other_stage(net):
    items = {"dense": {"kind": "dense", "units": 4}, "predictive": {"kind": "predictive", "units": [10]}}
    parts = {
        "name": "test",
        "data": "digits",
        "algorithm": "predictive-forward-forward",
        "network": [items[kind] for kind in net],
        "block": {"goodness": "sum-squares", "objective": "logistic"},
    }
    with pytest.raises(UserError, match="algorithm: the network should be one predictive circuit"):
        assemble(Recipe.model_validate(parts), SHAPE, K)


def test_wrong_labels_reach_the_layers_through_the_clamp_alone():
    made = module()
    own, wrong = (
        Views(batch().x, ("all",), (N,), hypothesis=hypothesis)
        for hypothesis in (batch().y, (batch().y + 1) % K)
    )
    one, other = made.network.trace(own), made.network.trace(wrong)
    # the first step of the lowest layers is from states that no label has reached
    torch.testing.assert_close(one[0][0], other[0][0], rtol=0, atol=0)
    assert not torch.allclose(one[2][0], other[2][0])
