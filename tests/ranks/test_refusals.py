"""Recipes that several ranks cannot run raise before a process is started or a file is written."""

import sys

import pytest

from ffcore.errors import UserError
from ffcore.interfaces import Ranks
from ffcore.ranks import join
from ffcore.ranks.cut import balanced
from ffcore.recipe.load import load
from ffcore.run import train

LOCAL = ["trainer.devices=2", "trainer.accelerator=cpu"]
PIPELINE = [*LOCAL, "trainer.strategy=ff_pipeline"]
DENSE = "{kind: dense, units: 20}"
BOX = f"network=[{DENSE}, {{kind: blackbox, movable: false, box: {{kind: sign}}}}, {DENSE}]"
SGD = "{kind: sklearn, name: SGDClassifier, online: true}"
ONLINE = f"network=[{DENSE}, {{kind: blackbox, box: {SGD}}}, {DENSE}]"
AHEAD = f"network=[{DENSE}, {{kind: blackbox, box: sign, overlap: true}}, {DENSE}]"
BAD = {
    "a circuit beside another stage": (
        "digits/ff-recurrent",
        [*PIPELINE, f"network=[{{kind: recurrent, units: [20]}}, {DENSE}]"],
        ["Circuit.takes_turns", "beside other stages", "ff_local"],
    ),
    "hard negatives": (
        "mnist/ff",
        [*PIPELINE, "data={kind: digits, batch_size: 50, validation: 0.1}"],
        ["ForwardForward: negatives depend on a readout of all blocks", "ff_local"],
    ),
    "one block after another": ("digits/ff-greedy", PIPELINE, ["blocks learn at different times"]),
    "stages that do not divide the ranks": (
        "digits/ff",
        ["trainer.devices=4", "trainer.accelerator=cpu", "trainer.strategy={kind: ff_grid, stages: 3}"],
        ["trainer.strategy.stages: 3", "use 1, 2, 4"],
    ),
    "a grid without stages": (
        "digits/ff",
        [*LOCAL, "trainer.strategy=ff_grid"],
        ["trainer.strategy.stages"],
    ),
    "a circuit with readouts on a grid": (
        "digits/pff",
        [*LOCAL, "trainer.strategy={kind: ff_grid, stages: 2}", "readouts.linear=softmax"],
        ["ff_grid", "readouts read all blocks of the circuit", "ff_local"],
    ),
    "backprop": ("digits/backprop", PIPELINE, ["2 ranks, but the network has 1 part that learn"]),
    "an unknown block": ("digits/ff", [*PIPELINE, "trainer.cut=[dense9]"], ["no block 'dense9'", "dense3"]),
    "too many cuts": ("digits/ff", [*PIPELINE, "trainer.cut=[dense2, dense3]"], ["2 names for 2 ranks"]),
    "a rank without blocks": ("digits/ff", [*PIPELINE, "trainer.cut=[dense1]"], ["trainer.cut", "dense1"]),
    "an average of the weights of other ranks": (
        "digits/ff",
        [*PIPELINE, "trainer.callbacks=[{kind: 'ffcore_std.averaging:GrowingAverage'}]"],
        ["trainer.callbacks.0: GrowingAverage averages all weights", "ff_local"],
    ),
    "a box of which there is one": ("digits/ff", [*LOCAL, BOX], ["cannot be moved", "network.1.box"]),
    "a box that learns online": ("digits/ff", [*LOCAL, ONLINE], ["network.1.box", "learns from every batch"]),
    "a box that overlaps": ("digits/ff", [*LOCAL, AHEAD], ["network.1.box", "overlap: does not work on 2"]),
    "more devices than there are": (
        "digits/ff",
        ["trainer.devices=999"],
        ["trainer.devices: 999", "set it to"],
    ),
    "a batch smaller than the ranks": ("digits/ff", [*LOCAL, "data.batch_size=1"], ["data.batch_size: 1"]),
}


@pytest.mark.parametrize(("recipe", "overrides", "expected"), BAD.values(), ids=BAD)
def test_unsupported_recipes_on_several_ranks_raise(tmp_path, recipe, overrides, expected, monkeypatch):
    # a worker of pytest-xdist is not a program that other ranks could run again
    monkeypatch.setattr(sys.modules["__main__"], "__file__", "program.py", raising=False)
    with pytest.raises(UserError) as refused:
        train.train(load(recipe, overrides), tmp_path / "run")
    assert all(words in str(refused.value) for words in expected), refused.value
    assert "\n" not in str(refused.value)
    assert not (tmp_path / "run").exists()


OWN = {
    "readouts": ("digits/pff", ["readouts.linear=softmax"], "readouts read all blocks of the circuit"),
    "a circuit beside another stage": (
        "digits/ff-recurrent",
        [f"network=[{{kind: recurrent, units: [20]}}, {DENSE}]"],
        "beside other stages",
    ),
    "one layer": ("digits/ff-recurrent", ["network.0.units=[20]"], "2 ranks, but the network has 1 part "),
}


@pytest.mark.parametrize(("recipe", "overrides", "expected"), OWN.values(), ids=OWN)
def test_a_trainer_of_ones_own_refuses_on_all_ranks(pool, recipe, overrides, expected):
    for refused in pool("learned", recipe, overrides, steps=1, pipeline={}):
        assert isinstance(refused, UserError)
        assert expected in str(refused)


@pytest.mark.parametrize("failed", [False, True])
def test_ranks_with_different_recipes_hear_of_an_earlier_failure_in_the_program(monkeypatch, failed):
    class Two(Ranks):
        def objects(self, mine):
            return [mine, ({"recipe": {"seed": 2}}, False)]

    monkeypatch.setattr(join.Launcher, "failed", failed)
    with pytest.raises(UserError, match=r"its recipe\.seed is 2, not 1") as refused:
        join.refuse_differences(Two(), {"recipe": {"seed": 1}})
    assert ("run the program from its beginning: train again in" in str(refused.value)) == failed


@pytest.mark.parametrize(
    ("costs", "learns", "ranks", "starts"),
    [
        ([1, 1, 1, 3], [1, 1, 1, 1], 2, [0, 3]),
        ([5, 1, 1, 1], [1, 1, 1, 1], 2, [0, 1]),
        ([2, 2, 2, 2, 2, 2], [1] * 6, 3, [0, 2, 4]),
        ([9, 1, 9, 1], [1, 0, 0, 1], 2, [0, 2]),
    ],
)
def test_the_largest_cost_of_a_rank_is_minimal(costs, learns, ranks, starts):
    assert balanced(costs, list(map(bool, learns)), ranks) == starts


def test_every_rank_needs_a_block_that_learns():
    with pytest.raises(ValueError, match="1 parts that learn for 2 ranks"):
        balanced([1, 1], [True, False], 2)
