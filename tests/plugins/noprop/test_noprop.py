"""NoProp beside its formulas, written a second time; blocks that do not read each other; refused recipes."""

import math

import pytest
import torch
from torch.nn import functional as F

from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG, Views
from ffcore.recipe.schema import Recipe
from ffcore.testing.memory import kept_for_backward

N, K, T, SHAPE = 6, 3, 4, (1, 2, 4)
LAYER = {"kind": "dense", "units": 5, "activation": "tanh"}
CIRCUIT = {"kind": "denoisers", "steps": T, "image": [{**LAYER, "units": 6}], "layer": LAYER}
CHAIN = {**CIRCUIT, "kind": "denoising-chain", "classes": K}
BLOCK = {"goodness": "logits", "loss": {"kind": "denoising", "eta": 0.3}}


def module(network=CIRCUIT, algorithm="noprop", block=BLOCK, **parts):
    torch.manual_seed(0)
    recipe = {"name": "test", "data": "digits", "network": [network], "algorithm": algorithm, "block": block}
    sgd = {"kind": "sgd", "lr": 0.5}
    made = assemble(Recipe.model_validate({**recipe, "optimizer": sgd, **parts}), SHAPE, K).double()
    made.configure_optimizers()
    return made


def batch(first=0, rows=N):
    x = torch.randn(N, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.tensor([0, 1, 2, 2, 1, 0])
    own = slice(first, first + rows)
    return Batch(x[own], y[own], torch.arange(N)[own], first, N, BatchRNG(1, 0, first, rows, N))


def learn(made):
    made.algorithm.learn(batch(), made.network)
    made.network.end_batch()


def levels():
    """ᾱ_0 … ᾱ_T."""
    return [math.sin(math.pi / 2 * (t + 1) / (T + 2)) ** 2 for t in range(T + 1)]


def logits_of(weights, x, z):
    """One block: weights and biases of image, label, two joined layers and the last linear one."""
    (w1, b1), (w2, b2), (w3, b3), (w4, b4), (w5, b5) = zip(weights[::2], weights[1::2], strict=True)
    joined = torch.cat([torch.tanh(x.flatten(1) @ w1.T + b1), torch.tanh(z @ w2.T + b2), z], 1)
    joined = torch.tanh(torch.tanh(joined @ w3.T + b3) @ w4.T + b4)
    return joined @ w5.T + b5


def weights_of(block):
    return [p.detach().clone().requires_grad_() for p in block.parameters()]


def test_a_step_of_every_block_is_that_of_the_formula_written_a_second_time():
    made = module()
    before = [weights_of(block) for block in made.network.blocks]
    terms = {}
    made.network.record = lambda block, losses, n: terms.update({block.name: losses["objective"]})
    learn(made)
    given, bars = batch(), levels()
    drawn = [given.rng.normal(f"noprop {t}", 1, K)[:, 0].double() for t in range(T)]
    u = F.one_hot(given.y, K).double()
    for t, (block, weights) in enumerate(zip(made.network.blocks, before, strict=True), 1):
        z = math.sqrt(bars[t - 1]) * u + math.sqrt(1 - bars[t - 1]) * drawn[t - 1]
        estimate = logits_of(weights, given.x, z).softmax(1)
        gain = T * (bars[t] / (1 - bars[t]) - bars[t - 1] / (1 - bars[t - 1]))
        loss = 0.3 / 2 * gain * ((estimate - u) ** 2).sum(1).mean()
        torch.testing.assert_close(terms[block.name], loss.detach(), rtol=1e-6, atol=1e-9)
        right = torch.autograd.grad(loss, weights)
        for parameter, was, gradient in zip(block.parameters(), weights, right, strict=True):
            step = (was.detach() - parameter.detach()) / 0.5
            torch.testing.assert_close(step, gradient, rtol=1e-6, atol=1e-8)


def test_no_block_reads_another_while_it_learns():
    one, other = module(), module()
    with torch.no_grad():
        for block in (other.network.blocks[0], other.network.blocks[2]):
            for parameter in block.parameters():
                parameter.add_(1.0)
    for made in (one, other):
        learn(made)
    for number in (1, 3):
        pairs = zip(*(made.network.blocks[number].parameters() for made in (one, other)), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)


def test_blocks_learn_from_numbers_of_their_own():
    made = module()
    seen = []
    made.network.observe(
        made.algorithm.views(batch(), made.network), lambda block, inputs, *_: seen.append(inputs[1])
    )
    bars = levels()
    u = F.one_hot(batch().y, K)
    drawn = [(z - math.sqrt(b) * u) / math.sqrt(1 - b) for z, b in zip(seen, bars, strict=False)]
    assert len(drawn) == T
    assert all((drawn[i] - drawn[j]).abs().max() > 0.5 for i in range(T) for j in range(i))


def test_a_prediction_is_the_chain_of_blocks_from_zero():
    made = module()
    learn(made)
    bars, x = levels(), batch().x
    scores = made.algorithm.scores(x, made.network)
    z, right = torch.zeros(N, K, dtype=torch.float64), []
    for t, block in enumerate(made.network.blocks, 1):
        right.append(logits_of(weights_of(block), x, z).detach())
        alpha = bars[t - 1] / bars[t]
        a = math.sqrt(bars[t]) * (1 - alpha) / (1 - bars[t - 1])
        b = math.sqrt(alpha) * (1 - bars[t]) / (1 - bars[t - 1])
        z = a * right[-1].softmax(1) + b * z
    torch.testing.assert_close(scores, torch.stack(right), rtol=1e-6, atol=1e-7)


def test_predictions_repeat_and_do_not_depend_on_the_batch():
    made = module()
    learn(made)
    once, again, some = (made.algorithm.scores(batch().x[:n], made.network) for n in (N, N, 2))
    assert torch.equal(once, again)
    torch.testing.assert_close(some, once[:, :2])


def test_the_body_for_backpropagation_is_the_same_chain():
    made, twin = module(), module(CHAIN, "backprop", {})
    chain = twin.network.blocks[0].body
    for block, denoiser in zip(made.network.blocks, chain.denoisers, strict=True):
        denoiser.load_state_dict(block.body.state_dict())
    torch.testing.assert_close(chain(batch().x), made.algorithm.scores(batch().x, made.network)[-1])
    learn(twin)
    for block, denoiser in zip(made.network.blocks, chain.denoisers, strict=True):
        assert not torch.equal(block.body.image[0].linear.weight, denoiser.image[0].linear.weight)


def of(y, rng=None):
    return Views(torch.zeros(len(y), 1), ("all",), (len(y),), hypothesis=y, rng=rng)


def test_two_halves_of_a_batch_get_the_noise_of_the_whole():
    circuit = module().network.circuits[0]
    whole, first, second = (circuit.noised(1, of(b.y, b.rng)) for b in (batch(), batch(0, 4), batch(4, 2)))
    assert torch.equal(whole, torch.cat([first, second]))


def test_views_of_one_sample_have_noise_of_their_own():
    circuit, given = module().network.circuits[0], batch()
    z = circuit.noised(1, of(given.y.repeat(2), given.rng))
    assert z.shape == (2 * N, K)
    assert not torch.equal(z[:N], z[N:])


def test_a_row_without_a_hypothesis_has_the_noise_alone():
    z = module().network.circuits[0].noised(1, of(torch.tensor([1, -1])))
    assert z[0, 1] > 0
    assert not z[1].any()


def test_memory_saved_for_backward_is_that_of_one_block():
    def most(network, algorithm, block, steps):
        made = module({**network, "steps": steps}, algorithm, block)
        with kept_for_backward(made.network.parameters()) as kept:
            learn(made)
        return kept.most

    assert most(CIRCUIT, "noprop", BLOCK, 2) == most(CIRCUIT, "noprop", BLOCK, 8)
    assert most(CHAIN, "backprop", {}, 8) > 3 * most(CHAIN, "backprop", {}, 2)


def test_another_loss_may_take_the_place_of_denoising():
    made = module(block={"goodness": "logits", "objective": "cross-entropy"})
    before = [weights_of(block)[0] for block in made.network.blocks]
    learn(made)
    assert all(not torch.equal(w, weights_of(b)[0]) for w, b in zip(before, made.network.blocks, strict=True))


def test_the_loss_of_another_body_has_the_factor_one():
    made = module(
        {"kind": "dense", "units": K, "activation": "identity"}, {"kind": "local-errors", "output": False}
    )
    given = batch()
    made.network.record = lambda block, losses, n: terms.append(losses["objective"])
    terms, out = [], made.network.outputs(Views(given.x, ("all",), (N,)))["dense1"].goodness
    learn(made)
    right = 0.15 * ((out.softmax(1) - F.one_hot(given.y, K)) ** 2).sum(1).mean()
    torch.testing.assert_close(terms, [right])


def test_it_learns_under_bfloat16():
    made = module().float()
    given = batch()
    given.x = given.x.float()
    with torch.autocast("cpu", torch.bfloat16):
        made.algorithm.learn(given, made.network)
        scores = made.algorithm.scores(given.x, made.network)
    assert scores.isfinite().all()


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ({"network": {"kind": "dense", "units": K}}, "the network has no denoisers"),
        ({"algorithm": {"kind": "local-errors", "output": False}}, "a circuit needs one"),
        (
            {"network": {**CIRCUIT, "image": [{"kind": "signal-input", "body": LAYER}]}},
            r"^network\.0\.image\.0: .*whole block",
        ),
        (
            {"network": {**CIRCUIT, "image": [LAYER, {"kind": "conv", "channels": 2}]}},
            r"^network\.0\.image\.1: .*images",
        ),
        (
            {
                "network": {
                    **CIRCUIT,
                    "image": [LAYER, {"kind": "torch.nn:Linear", "in_features": 4, "out_features": 2}],
                }
            },
            r"^network\.0\.image\.1: does not take an input of shape \(5,\)",
        ),
        (
            {"network": {**CIRCUIT, "image": [{"kind": "torch.nn:GRU", "input_size": 4, "hidden_size": 2}]}},
            r"^network\.0\.image\.0: ",
        ),
        ({"network": {**CIRCUIT, "layer": {"kind": "nothing"}}}, r"^network\.0\.layer.*nothing"),
        ({"block": {**BLOCK, "goodness": "sum-squares"}}, "needs a goodness of every class"),
    ],
)
def test_a_recipe_that_cannot_be_is_refused(parts, complaint):
    with pytest.raises(UserError, match=complaint):
        module(**parts)


@pytest.mark.parametrize(("name", "value"), [("steps", 0), ("image", [])])
def test_options_out_of_range_are_refused_where_the_recipe_is_read(name, value):
    with pytest.raises(ValueError, match=name):
        module({**CIRCUIT, name: value})


def test_a_block_sees_no_goodness_of_another():
    made, seen = module(), []
    made.network.observers.append(lambda block, inputs, out, views: seen.append(out.upstream))
    learn(made)
    made.network.goodness(made.algorithm.neutral(batch().x))
    assert seen == [()] * T
