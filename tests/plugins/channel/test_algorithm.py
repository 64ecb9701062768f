import pytest
import torch

import ffcore
from ffcore.build.assemble import assemble
from ffcore.errors import UserError
from ffcore.interfaces import Batch, BatchRNG
from ffcore.recipe.schema import Recipe

N, K, SHAPE = 8, 4, (1, 6, 6)
LEARNED = {"kind": "channel-assignment", "temperature": 1.0}
REGULARISED = {
    "entropy": {"kind": "assignment-entropy"},
    "orthogonality": {"kind": "assignment-orthogonality", "warmup": 1},
}


def recipe(block, contribution="sum", units=40, **more):
    return Recipe.model_validate(
        {
            "name": "test",
            "data": {"kind": "digits", "batch_size": 50, "validation": 0.2},
            "algorithm": "channel-class",
            "network": [{"kind": "dense", "units": units, "repeat": 2}],
            "block": {"objective": "cross-entropy", "handoff": "rms", **block},
            "optimizer": {"kind": "adam", "lr": 1e-2},
            "contribution": contribution,
            "trainer": {"max_epochs": 6, "threads": 1},
            **more,
        }
    )


def module(block, **more):
    made = assemble(recipe(block, **more), SHAPE, K)
    made.configure_optimizers()
    return made


def batch():
    x = torch.rand(N, *SHAPE, generator=torch.Generator().manual_seed(0))
    return Batch(x, torch.arange(N) % K, torch.arange(N), 0, N, BatchRNG(1, 0, 0, N, N))


def test_the_one_view_is_the_samples_with_their_classes():
    made = module({"goodness": "channel-partition"})
    views = made.algorithm.views(batch(), made.network)
    assert (views.roles, views.sizes) == (("all",), (N,))
    assert torch.equal(views.x, batch().x)
    assert torch.equal(views.y, batch().y)


def test_a_fixed_partition_learns_in_closed_form():
    made = module({"goodness": "channel-partition", "objective": "cwc"})
    learned = module({"goodness": LEARNED})
    for network, begins in ((made.network, "loss"), (learned.network, "activity")):
        assert {network.place(block).rule.begins for block in network.blocks} == {begins}


@pytest.mark.parametrize(
    "block",
    [
        {"goodness": {"kind": "channel-partition", "power": 2}, "objective": "pvn"},
        {"goodness": {"kind": "channel-partition", "hierarchy": [[0, 0, 1, 1]]}, "objective": "cwg"},
        {"goodness": "channel-assignment", "penalties": {**REGULARISED, "contrast": "contrast"}},
    ],
    ids=["pvn", "hierarchy", "penalties"],
)
def test_every_parameter_of_a_block_learns(block):
    made = module(block)
    before = {name: p.detach().clone() for name, p in made.network.named_parameters()}
    made.algorithm.learn(batch(), made.network)
    idle = [name for name, p in made.network.named_parameters() if torch.equal(p, before[name])]
    assert not idle


def test_scores_are_a_number_a_class_whatever_the_super_classes():
    made = module({"goodness": {"kind": "channel-partition", "hierarchy": [[0, 0, 1, 1]]}})
    scores = made.algorithm.scores(batch().x, made.network)
    assert scores.shape == (2, N, K)
    assert torch.equal(scores[0, :, 0], scores[0, :, 1])
    assert not torch.equal(scores[1, :, 0], scores[1, :, 1])


def test_the_datas_groups_are_the_level_of_early_blocks():
    data = {"kind": "digits", "groups": [0, 1, 1, 0]}
    made = module({"goodness": {"kind": "channel-partition", "hierarchy": "data"}}, data=data)
    assert made.network.blocks[0].goodness.column_of.tolist() == [0, 1, 1, 0]
    assert made.network.blocks[0].loss.objective.column_of.tolist() == [0, 1, 1, 0]


def test_a_width_that_does_not_divide_is_an_error_of_the_recipe():
    with pytest.raises(UserError, match=r"C = 42 channels.*the nearest valid widths are 40 or 44"):
        module({"goodness": "channel-partition"}, units=42)


@pytest.mark.parametrize(
    ("block", "contribution"),
    [
        ({"goodness": "channel-partition", "objective": "cwc"}, "best-range"),
        ({"goodness": {"kind": "channel-partition", "power": 2}, "objective": "cwg"}, "sum"),
        ({"goodness": LEARNED, "penalties": REGULARISED}, {"kind": "loss-weighted", "split": "train"}),
        ({"goodness": LEARNED, "penalties": {"contrast": "contrast"}}, "loss-weighted"),
    ],
    ids=["deeper-forward", "cwc", "caw", "contrast"],
)
def test_digits_are_learned(undrawn, tmp_path, block, contribution):
    run = ffcore.train(recipe(block, contribution, units=120), run_dir=tmp_path / "run")
    assert run.results["test"]["accuracy"] > 0.9
    weights = run.module.contribution.weights if contribution != "sum" else torch.ones(2)
    assert weights.shape == (2,)
    state = torch.load(max((tmp_path / "run" / "checkpoints").glob("*.ckpt")), weights_only=False)
    assert contribution == "sum" or "contribution.weights" in state["state_dict"]


@pytest.mark.usefixtures("undrawn")
def test_convolutions_learn_digits(tmp_path):
    network = [{"kind": "conv", "channels": 20}, {"kind": "conv", "channels": 40, "stride": 2}]
    block = {"goodness": LEARNED, "handoff": "instance-norm", "penalties": REGULARISED}
    trainer = {"max_epochs": 6, "threads": 1}
    made = recipe(block, "loss-weighted", network=network, trainer=trainer)
    run = ffcore.train(made, run_dir=tmp_path / "run")
    assert run.results["test"]["accuracy"] > 0.8
