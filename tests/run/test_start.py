"""Runs with initial weights of another run, and frozen blocks."""

import shutil

import pytest
import torch

import ffcore
from ffcore.build.assemble import assemble
from ffcore.errors import TimeUpError, UserError
from ffcore.interfaces import Views
from ffcore.local import GoodnessLoss, LocalBlock, LocalNetwork, block_optimizers
from ffcore.recipe.load import load
from ffcore.run import start
from ffcore.run.evaluate import evaluate
from ffcore.run.train import train
from ffcore_ff.goodness import SumSquares
from ffcore_ff.objectives import Logistic

SHAPE, K = (1, 8, 8), 10


def build(*overrides, recipe="digits/ff"):
    recipe = load(recipe, overrides)
    return recipe, assemble(recipe, SHAPE, K)


def begun(*overrides, **more):
    recipe, module = build(*overrides, **more)
    return module, start.load(module, recipe)


def weights(module, name):
    return {key: value.clone() for key, value in module.network.learners[name].state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_a_recipe_without_a_start_changes_nothing():
    assert begun()[1] is None


def test_all_matching_blocks_are_loaded(finished):
    module, loaded = begun(f"start.run={finished.path}", "seed=7")
    names = ["dense1", "dense2", "dense3"]
    assert loaded == {"run": str(finished.path), "checkpoint": "last", "blocks": names, "frozen": []}
    assert all(same(weights(module, name), weights(finished.module, name)) for name in names)


def test_blocks_of_another_shape_are_not_changed(finished):
    overrides = ["network=[{kind: dense, units: 500}, {kind: dense, units: 9}]", "seed=7"]
    module, loaded = begun(*overrides, f"start.run={finished.path}")
    assert loaded["blocks"] == ["dense1"]
    assert same(weights(module, "dense2"), weights(build(*overrides)[1], "dense2"))


def test_only_the_named_blocks_are_loaded(finished):
    module, loaded = begun(f"start.run={finished.path}", "start.blocks=[dense2]", "seed=7")
    assert loaded["blocks"] == ["dense2"]
    assert same(weights(module, "dense2"), weights(finished.module, "dense2"))
    assert same(weights(module, "dense1"), weights(build("seed=7")[1], "dense1"))


def test_another_objective_and_a_penalty_do_not_matter(finished):
    module, loaded = begun("block.penalties={p: peer-normalisation}", f"start.run={finished.path}")
    assert len(loaded["blocks"]) == 3
    assert same(weights(module, "dense1") | weights(finished.module, "dense1"), weights(module, "dense1"))


def test_the_best_checkpoint_can_be_chosen(finished):
    assert begun(f"start.run={finished.path}", "start.checkpoint=best")[1]["checkpoint"] == "best"


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["start.run={near}"], r"^start\.run: there is no directory .*; did you mean 'digits'\?"),
        (["start.run={empty}"], r"^start\.run: .*: not a run directory: it has no config\.yaml"),
        (["start.run={run}", "start.blocks=[dens1]"], r"^start\.blocks: .* 'dens1' in this .* 'dense1'\?"),
        (
            ["start.run={run}", "start.blocks=[dense4]", "network.0.repeat=4"],
            r"^start\.blocks: there is no block 'dense4' in /.* 'dense[123]'\?",
        ),
        (
            ["start.run={run}", "start.blocks=[dense1]", "network.0.units=9"],
            r"^start\.blocks: dense1: body\.linear\.weight is \(9, 64\) here, \(500, 64\) in /",
        ),
        (
            ["start.run={run}", "network.0.units=9"],
            r"^start\.run: no block fits, .* dense1: body\.linear\.weight is \(9, 64\) here, \(500, 64\) in",
        ),
        (
            ["start.run={run}", "start.freeze=[dense4]", "network.0.repeat=4"],
            r"^start\.freeze: dense4: body\.linear\.weight is \(500, 500\) here, missing in /",
        ),
        (["start.freeze=[dense9]"], r"^start\.freeze: there is no block 'dense9'; did you mean 'dense[123]'"),
        (["start.freeze=all"], r"^start\.freeze: nothing is left to learn"),
    ],
)
def test_invalid_starts_raise(finished, tmp_path, overrides, expected):
    folders = {"near": finished.path.with_name("digit"), "empty": tmp_path, "run": finished.path}
    with pytest.raises(UserError, match=expected) as error:
        begun(*(override.format(**folders) for override in overrides))
    assert "\n" not in str(error.value)


def test_nothing_is_written_if_the_run_does_not_exist(tmp_path):
    with pytest.raises(UserError, match=r"^start\.run"):
        ffcore.train("digits/ff", run_dir=tmp_path / "new", start={"run": str(tmp_path / "old")})
    assert list(tmp_path.iterdir()) == []


def test_a_finished_run_does_not_need_the_run_of_its_start(finished, quick, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(finished.path, old)
    options = {"network.0.units": 500, "start": {"run": str(old), "freeze": ["dense1", "dense2"]}}
    run = quick(**options)
    shutil.rmtree(old)
    blocks = ["dense1", "dense2", "dense3"]
    assert run.results["start"] == {
        "run": str(old), "checkpoint": "last", "blocks": blocks, "frozen": ["dense1", "dense2"],
    }  # fmt: skip
    assert evaluate(run.path)["per_block_accuracy"] == run.results["test"]["per_block_accuracy"]
    changed = [n for n in blocks if not same(weights(run.module, n), weights(finished.module, n))]
    assert changed == ["dense3"]


@pytest.mark.parametrize("schedule", ["joint", "greedy"])
def test_readouts_may_learn_from_blocks_that_are_all_frozen(finished, quick, schedule):
    options = {"readouts": {"r": "softmax"}, "contribution": "sum", "schedule": schedule}
    frozen = {"run": str(finished.path), "freeze": "all"}
    run = quick(start=frozen, **options, **{"network.0.units": 500})
    assert run.results["start"]["frozen"] == ["dense1", "dense2", "dense3"]
    of_block = finished.results["test"]["per_block_accuracy"]
    again = run.results["test"]["per_block_accuracy"]
    assert {name: again[name] for name in of_block} == of_block
    assert again["r"] > 0.8


@pytest.mark.parametrize("schedule", ["joint", "greedy", "one-window", {"kind": "overlapping", "size": 2}])
@pytest.mark.parametrize("freeze", [["dense1"], ["dense2"], ["dense1", "dense3"]])
def test_frozen_blocks_do_not_change_between_blocks_that_learn(quick, schedule, freeze):
    run = quick(schedule=schedule, start={"freeze": freeze})
    _, drawn = build("network.0.units=64")
    still = [n for n in ("dense1", "dense2", "dense3") if same(weights(run.module, n), weights(drawn, n))]
    assert still == freeze


def test_a_block_gets_no_gradient_from_a_later_frozen_one(quick):
    def first(**options):
        return weights(quick(schedule="joint", **options).module, "dense1")

    assert same(first(), first(start={"freeze": ["dense2"]}))


def test_schedules_count_only_blocks_that_learn():
    network = build("start.freeze=[dense2]")[1].network
    assert network.learning == [0, 2]
    network.plan([range(0, 1), range(1, 2)])
    assert [b.name for b in network._plan] == ["dense1", "dense3"]
    network.plan([range(2)])
    assert [b.name for b in network._plan] == ["dense1", "dense2", "dense3"]


def test_backpropagation_goes_through_a_frozen_head(quick):
    options = {"algorithm": "backprop", "contribution": "sum", "schedule": None}
    run = quick(start={"freeze": ["head"]}, **options)
    assert run.results["test"]["accuracy"] > 0.5


def test_running_statistics_of_a_frozen_block_do_not_change_within_a_window():
    def dense(goodness=None, loss=None):
        return LocalBlock(torch.nn.Linear(3, 3), goodness, loss)

    norm = LocalBlock(torch.nn.BatchNorm1d(3))
    last = dense(SumSquares(), GoodnessLoss(Logistic()))
    network = LocalNetwork(torch.nn.Sequential(dense(), norm, last), (3,), 2)
    norm.freeze()
    network.optimizers = block_optimizers(network, torch.optim.SGD, lr=0.1)
    network.plan([range(2)])
    weights = [block.body.weight.detach().clone() for block in network.blocks]
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    network.learn(Views(x=torch.randn(8, 3), roles=("positive", "negative"), sizes=(4, 4)))
    assert same(before, norm.state_dict())
    moved = [not torch.equal(b.body.weight, w) for b, w in zip(network.blocks, weights, strict=True)]
    assert moved == [True, False, True]


def test_a_stopped_run_is_resumed_without_the_run_of_its_start(finished, tmp_path, undrawn):
    old = tmp_path / "old"
    shutil.copytree(finished.path, old)
    overrides = [f"start.run={old}", "start.freeze=[dense1]", "trainer.max_epochs=2", "trainer.threads=1"]
    with pytest.raises(TimeUpError):
        train(load("digits/ff", overrides), tmp_path / "new", max_time=1e-3)
    shutil.rmtree(old)
    run = ffcore.resume(tmp_path / "new")
    assert run.results["start"]["frozen"] == ["dense1"]
    assert same(weights(run.module, "dense1"), weights(finished.module, "dense1"))
    assert not same(weights(run.module, "dense2"), weights(finished.module, "dense2"))


def test_time_dependent_parts_of_a_frozen_block_do_not_change(tmp_path, undrawn):
    channel = {"trainer": {"max_epochs": 1, "threads": 1}, "block": {"goodness": {"decay": 0.5}}}
    first = ffcore.train("digits/channel", run_dir=tmp_path / "first", **channel)
    before = weights(first.module, "conv2")
    more = {"start": {"run": str(tmp_path / "first"), "freeze": ["conv1", "conv2"]}}
    second = ffcore.train("digits/channel", run_dir=tmp_path / "second", **channel, **more)
    assert same(weights(second.module, "conv2"), before)


def test_a_frozen_readout_does_not_change(quick):
    options = {"readouts": {"r": "softmax"}, "contribution": "sum"}
    run = quick(start={"freeze": ["r"]}, **options)
    assert not any(p.any() for p in run.module.network.readout_blocks["r"].parameters())
