from dataclasses import replace

import pytest
import torch

from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG, Views
from ffcore.recipe.schema import Recipe
from ffcore_ff.algorithm import ForwardForward

N, K, SHAPE = 6, 3, (1, 3, 3)


def recipe(readouts=None, **algorithm):
    return Recipe.model_validate(
        {
            "name": "test",
            "data": "digits",
            "algorithm": {"kind": "forward-forward", **algorithm},
            "network": [{"kind": "dense", "units": 5, "repeat": 2}],
            "block": {"goodness": "sum-squares", "objective": "logistic", "handoff": "rms"},
            "readouts": readouts or {},
        }
    )


def module(readouts=None, **algorithm):
    return assemble(recipe(readouts, **algorithm), SHAPE, K)


def batch():
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N, BatchRNG(1, 0, 0, N, N))


def test_views_are_samples_with_their_own_and_with_wrong_labels():
    made = module()
    views = made.algorithm.views(batch(), made.network)
    assert (views.roles, views.sizes) == (("positive", "negative"), (N, N))
    assert views.hypothesis[:N].tolist() == batch().y.tolist()
    assert not (views.hypothesis[N:] == batch().y).any()
    rows = views.x.dense().flatten(1)
    assert rows[:, :K].argmax(1).tolist() == views.hypothesis.tolist()
    ratio = rows[:N, K:] / rows[N:, K:]
    torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio))  # the same pixels, normalised


def test_scores_are_those_of_a_pass_for_each_class():
    made = module({"readout": "softmax"})
    torch.nn.init.normal_(made.network.readout_blocks["readout"].body.linear.weight)
    x, labels = batch().x, made.algorithm.labels
    scores = made.algorithm.scores(x, made.network)
    assert scores.shape == (3, N, K)
    for k in range(K):
        joined = labels.join(x, labels.code(torch.full((N,), k), N))
        alone = made.network.goodness(Views(joined.dense(), ("one",), (N,)))
        torch.testing.assert_close(scores[:2, :, k], torch.stack(alone))
    neutral = Views(labels.join(x, labels.code(None, N)), ("neutral",), (N,))
    torch.testing.assert_close(scores[2], made.network.read(neutral)["readout"])


def test_two_hundred_classes_stay_within_the_bound_on_rows():
    many, rows = 200, 500
    made = assemble(recipe(rows=rows), (1, 15, 15), many)
    x = torch.rand(7, 1, 15, 15, generator=torch.Generator().manual_seed(0))
    seen = []
    for block in made.network.blocks:
        block.body.register_forward_hook(lambda body, inputs, out: seen.append(len(out)))
    scores = made.algorithm.scores(x, made.network)
    assert scores.shape == (2, 7, many)
    assert max(seen) == rows // many * many
    made.algorithm.rows = 7 * many
    torch.testing.assert_close(scores, made.algorithm.scores(x, made.network))


def test_a_sample_under_all_its_labels_always_goes_at_once():
    made = module(rows=1)
    assert made.algorithm.scores(batch().x, made.network).shape == (2, N, K)


def test_hard_negatives_need_a_readout():
    with pytest.raises(UserError, match=r"algorithm: .*the recipe has no readout"):
        module(negatives="hard")


def test_hard_negatives_see_the_readout_before_its_update():
    made = module({"readout": "softmax"}, negatives="hard")
    made.configure_optimizers()
    seen = []
    forward = made.algorithm.negatives.forward

    def spy(x, y, probs, rng):
        seen.append(probs())
        return forward(x, y, probs, rng)

    made.algorithm.negatives.forward = spy
    made.algorithm.learn(batch(), made.network)
    torch.testing.assert_close(seen[0], torch.full((N, K), 1 / K))  # the readout started from zero
    assert made.network.readout_blocks["readout"].body.linear.weight.any()  # and has learned since


@pytest.mark.parametrize("readouts", [None, {"readout": "softmax"}])
def test_a_variant_that_makes_other_views_learns_from_them(readouts):
    class Variant(ForwardForward):
        def views(self, batch, net):
            made = super().views(batch, net)
            return replace(made, extra={"rank": torch.arange(2 * N)})

    made = module(readouts)
    made.configure_optimizers()
    made.algorithm.__class__ = Variant
    seen = []
    made.network.learn = seen.append
    made.algorithm.learn(batch(), made.network)
    assert [list(views.extra) for views in seen] == [["rank"]]
