"""Runs of recipes with Python objects."""

import functools
import json
import threading

import lightning
import numpy as np
import pytest
import torch
import yaml
from torch import nn

import ffcore
from ffcore.data.arrays import InMemory
from ffcore.data.digits import Digits
from ffcore.errors import UserError
from ffcore.interfaces import BlackBox
from ffcore.local import GoodnessLoss, Gradient, LocalBlock
from ffcore.recipe.load import load as load_recipe
from ffcore.recipe.schema import Recipe
from ffcore.run.evaluate import evaluate
from ffcore_backprop.algorithm import Backprop
from ffcore_ff.algorithm import ForwardForward
from ffcore_ff.goodness import SumSquares
from ffcore_ff.handoffs import RMS
from ffcore_ff.labels import Overlay
from ffcore_ff.negatives import WrongLabel
from ffcore_ff.objectives import Logistic
from ffcore_ff.penalties import PeerNormalisation
from ffcore_std.augmentations import Shift
from ffcore_std.contributions import SkipFirst, Sum
from ffcore_std.readouts import Softmax
from ffcore_std.schedules import Joint, OneWindow

DENSE = {"kind": "dense", "units": 50}


class Sign(BlackBox):
    def forward(self, x):
        return x.sign()


def first():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 50), nn.ReLU())


def boxed(box):
    return {"network": [DENSE, {"kind": "blackbox", "box": box}, DENSE]}


def block(**parts):
    return {"block": {"goodness": SumSquares(), "objective": Logistic("units", 10.0), **parts}}


def local():
    body = nn.Sequential(nn.Linear(50, 40), nn.ReLU())
    return LocalBlock(body, SumSquares(), GoodnessLoss(Logistic(2.0)), RMS(), name="mine")


OBJECTS = {
    "a module": {"network": [first(), DENSE]},
    "a module several times": {
        "network": [first(), {"kind": nn.Sequential(nn.Linear(50, 50), nn.ReLU()), "repeat": 2}]
    },
    "a module in a shortcut": {"network": [DENSE, {"kind": "residual", "items": [nn.Linear(50, 50)]}]},
    "a local block": {"network": [first(), local(), DENSE]},
    "by path": {"network.0": first(), "block.goodness": SumSquares()},
    "a block": block(handoff=nn.Identity(), rule=Gradient(), penalties={"peers": PeerNormalisation()}),
    "an item's block": {"network": [{**DENSE, "block": {"objective": Logistic(2.0)}}, DENSE]},
    "an algorithm": {"algorithm": ForwardForward(Overlay(), WrongLabel())},
    "a label": {"algorithm": {"labels": Overlay()}},
    "a readout": {"readouts": {"r": Softmax()}, "readout_optimizer": torch.optim.SGD},
    "a contribution": {"contribution": Sum()},
    "a schedule": {"schedule": OneWindow()},
    "an augmentation": {"data": {"augment": [Shift(1), {"kind": "shift"}]}},
    "an optimiser's class": {"optimizer": torch.optim.SGD},
    "an optimiser's partial": {"optimizer": functools.partial(torch.optim.SGD, lr=0.05)},
    "a function to an optimiser": {"optimizer": lambda parameters: torch.optim.Adam(parameters, lr=1e-3)},
    "a block's optimiser": block(optimizer=lambda parameters: torch.optim.SGD(parameters, lr=0.01)),
    "a function of time": {"lr_schedule": lambda epoch, epochs: 1 / (1 + epoch)},
    "a function as a box": boxed(lambda x: x.sign()),
    "a box": boxed(Sign()),
    "a function of a box": boxed({"kind": "function", "target": lambda x: x.sign()}),
    "boxes among items": {"network": [DENSE, lambda x: x.sign(), Sign(), torch.sign, DENSE]},
}


@pytest.mark.parametrize("given", OBJECTS.values(), ids=OBJECTS)
def test_a_run_with_objects_trains_is_recorded_and_is_loaded_with_them(quick, given):
    run = quick(**given)
    assert np.isfinite(run.results["test"]["accuracy"])
    recorded = yaml.safe_load((run.path / "config.yaml").read_text())
    state = torch.load(run.path / "checkpoints/last.ckpt", weights_only=True)
    assert state["ffcore"]["recipe"]["network"] == recorded["network"]
    json.loads((run.path / "results.json").read_text())
    text = json.dumps(recorded)
    again = given if '"is"' in text else {}
    loaded = ffcore.load(run.path, **again)
    split = Digits().load().test
    accuracy = float((loaded.predict(split.x) == split.y).mean())
    assert accuracy == pytest.approx(run.results["test"]["accuracy"])
    if again:
        with pytest.raises(UserError, match=r"was given from Python and is not in the file; pass it again"):
            ffcore.load(run.path)
        with pytest.raises(UserError, match="was given from Python"):
            evaluate(run.path)


def weights(run):
    return run.module.network.state_dict()


def assert_equal(one, other):
    own, expected = weights(one), weights(other)
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[key], expected[key]) for key in own)
    assert one.results["test"] == other.results["test"]


def test_objects_give_the_results_of_kinds(quick):
    given = {
        **block(handoff=RMS(), rule=Gradient()),
        "algorithm": ForwardForward(Overlay(), WrongLabel()),
        "contribution": SkipFirst(),
        "schedule": Joint(),
        "data": {"augment": [Shift(1)]},
        "readouts": {"r": Softmax()},
    }
    kinds = {"data.augment": [{"kind": "shift", "pixels": 1}], "readouts": {"r": "softmax"}}
    assert_equal(quick(**given), quick(**kinds))


def test_a_torch_optimiser_class_steps_as_its_kind(quick):
    one = quick(optimizer=functools.partial(torch.optim.Adam, lr=1e-3), network=[DENSE])
    other = quick(network=[DENSE])
    own, expected = weights(one), weights(other)
    assert all(torch.allclose(own[key], expected[key], rtol=1e-3, atol=1e-5) for key in own)


def test_it_trains_twice_the_same_and_does_not_change_the_objects(quick):
    given = {"network": [first(), {"kind": nn.Linear(50, 50), "repeat": 2}, local()], **block(handoff=RMS())}
    before = [module.state_dict() for module in (given["network"][0], given["network"][1]["kind"])]
    before = [{key: value.clone() for key, value in state.items()} for state in before]
    assert_equal(quick(**given), quick(**given))
    for module, state in zip((given["network"][0], given["network"][1]["kind"]), before, strict=True):
        assert module.training
        assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert given["network"][2].info is None


def test_each_block_has_its_own_copy(quick):
    goodness, body = SumSquares(), nn.Linear(50, 50)
    run = quick(network=[first(), {"kind": body, "repeat": 2}], block={"goodness": goodness})
    blocks = run.module.network.blocks
    assert [one.name for one in blocks] == ["sequential1", "linear1", "linear2"]
    assert len({id(one.goodness) for one in blocks} | {id(goodness)}) == 4
    assert len({id(one.body) for one in blocks[1:]} | {id(body)}) == 3
    assert blocks[1].body.weight is not blocks[2].body.weight


def test_a_local_block_keeps_its_own_parts(quick):
    run = quick(network=[first(), local(), DENSE], block={"goodness": "mean-squares"})
    blocks = run.module.network.blocks
    assert [one.name for one in blocks] == ["sequential1", "mine", "dense1"]
    assert [type(one.goodness).__name__ for one in blocks] == ["MeanSquares", "SumSquares", "MeanSquares"]
    assert blocks[1].loss.objective.threshold == 2.0
    assert isinstance(blocks[1].handoff, RMS)


def test_a_validated_recipe_may_have_objects(quick, tmp_path):
    recorded = load_recipe("digits/ff").model_dump(mode="json")
    recorded["trainer"] |= {"max_epochs": 1, "threads": 1}
    recorded |= {"network": [first()], "contribution": "sum", "optimizer": torch.optim.Adam}
    run = ffcore.train(Recipe.model_validate(recorded), run_dir=tmp_path / "run")
    assert run.results["blocks"][0]["name"] == "sequential1"


def test_a_data_set_object_may_be_the_data_part(quick):
    split = Digits().load().test
    run = quick(data={"kind": InMemory(split.x, split.y), "batch_size": 20})
    assert run.results["data"]["name"] == "arrays"
    assert yaml.safe_load((run.path / "config.yaml").read_text())["data"]["kind"] == "given"


MODULE = """
import torch


def optimizer(parameters, lr=0.1):
    return torch.optim.SGD(parameters, lr=lr)


def factor(epoch, epochs):
    return 0.5


def sign(x):
    return x.sign()
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module that any process with the same import path can import."""
    import importlib

    (tmp_path / "my_parts.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("my_parts")
    import sys

    del sys.modules["my_parts"]


def test_importable_objects_are_loaded_again(quick, module):
    run = quick(
        optimizer=functools.partial(module.optimizer, lr=0.01),
        lr_schedule=module.factor,
        network=[DENSE, module.sign, boxed({"kind": "function", "target": module.sign})["network"][1], DENSE],
    )
    recorded = yaml.safe_load((run.path / "config.yaml").read_text())
    assert recorded["optimizer"] == {"kind": "my_parts:optimizer", "lr": 0.01}
    assert recorded["lr_schedule"] == {"kind": "my_parts:factor"}
    assert [recorded["network"][i]["box"].get("target") for i in (1, 2)] == [None, "my_parts:sign"]
    assert recorded["network"][1]["box"] == {"kind": "my_parts:sign"}
    assert evaluate(run.path)["accuracy"] == run.results["test"]["accuracy"]
    again = quick(str(run.path / "config.yaml"), network=recorded["network"])
    assert_equal(again, run)


def test_an_optimiser_target_may_be_in_a_file(quick):
    named = quick(optimizer={"kind": "torch.optim:Adagrad", "lr": 0.02})
    assert_equal(named, quick(optimizer=functools.partial(torch.optim.Adagrad, lr=0.02)))


class CutError(RuntimeError):
    """Simulates the sudden end of a process."""


class CutAt(lightning.Callback):
    def on_train_batch_end(self, trainer, *args):
        if trainer.global_step == 16:
            raise CutError


def test_a_run_is_resumed_with_its_objects(quick, tmp_path):
    network = [first(), lambda x: x.sign(), DENSE]
    given = {"network": network, "optimizer": lambda p: torch.optim.Adam(p, lr=1e-3)}
    given["data"] = {"augment": [Shift(1)]}
    whole, part = quick(**given), tmp_path / "part"
    with pytest.raises(CutError):
        quick(callbacks=[CutAt()], run_dir=part, **given)
    with pytest.raises(
        UserError, match=r"config\.yaml:\d+  data\.augment\.0: Shift.*pass it again from Python"
    ):
        ffcore.resume(part)
    with pytest.raises(UserError, match=r"optimizer: function <lambda> was given from Python"):
        ffcore.resume(part, network=network, data=given["data"])
    with pytest.raises(UserError, match="seed: the recipe of a run cannot be changed; give only the mis"):
        ffcore.resume(part, **given, seed=2)
    other = {**given, "network": [nn.Sequential(nn.Flatten(), nn.Linear(64, 50)), *network[1:]]}
    with pytest.raises(UserError, match=r"config\.yaml or an object has been changed since the run began"):
        ffcore.resume(part, **other)
    other = {**given, "data": {"augment": [Shift(2)]}}
    with pytest.raises(UserError, match=r"config\.yaml or an object has been changed since the run began"):
        ffcore.resume(part, **other)
    assert_equal(ffcore.resume(part, **given), whole)


class Sums(CutAt):
    """Has a state, the number of batches."""

    seen, resumed = 0, False

    def on_train_batch_end(self, trainer, *args):
        self.seen += 1
        if not self.resumed:
            super().on_train_batch_end(trainer, *args)

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state_dict):
        self.seen, self.resumed = state_dict["seen"], True


def test_a_run_is_not_resumed_without_a_callback_that_has_a_state(quick, tmp_path):
    part = tmp_path / "part"
    with pytest.raises(CutError):
        quick(callbacks=[Sums()], run_dir=part)
    with pytest.raises(UserError, match=r"its callback Sums was given from Python.*callbacks=\[…\]"):
        ffcore.resume(part)
    again = Sums()
    ffcore.resume(part, callbacks=[again])
    assert again.seen == 2 * 13  # batches of two epochs


def test_a_run_without_objects_raises_for_objects(finished):
    with pytest.raises(
        UserError, match=r"network\.0: the recipe of a run cannot be changed; it lacks no object"
    ):
        ffcore.load(finished.path, **{"network.0": nn.Linear(64, 500)})


class Held(BlackBox):
    """Has an attribute that cannot be copied."""

    def __init__(self):
        super().__init__()
        self.lock = threading.Lock()

    def forward(self, x):
        return x


def test_a_method_is_called_on_its_own_object(quick):
    held = Held()
    run = quick(network=[DENSE, held.forward, DENSE])
    assert run.module.network.boxes[0].box.function.__self__ is held


WRONG = {
    "a body of another shape": (
        {"network": [nn.Linear(64, 100), DENSE]},
        r"^network\.0: does not take an input of shape \(1, 8, 8\): ",
    ),
    "a body of two inputs": (
        {"network": [nn.Bilinear(2, 2, 2)]},
        r"^network\.0: does not take an input of sh",
    ),
    "a body that makes no tensor": (
        {"network": [nn.LSTM(8, 3)]},
        r"^network\.0: does not take an input of shape|^network\.0: it returns a tuple",
    ),
    "a box that cannot be copied": (
        boxed(Held()),
        r"network\.1\.box: a Held cannot be copied: .*; give a function that calls it",
    ),
    "a box that makes a number": (boxed(lambda x: 3), r"network\.1\.box: it returned an int"),
    "an optimiser with a wrong option": (
        {"optimizer": functools.partial(torch.optim.SGD, lrr=1)},
        r"^optimizer: the optimiser cannot be made: TypeError: .*'lrr'",
    ),
    "a function to something else": ({"optimizer": lambda p: 3}, r"^optimizer: it returns an int; it should"),
    "an optimiser that wants a closure": (
        block(optimizer=torch.optim.LBFGS),
        r"^block\.optimizer: LBFGS can",
    ),
    "an unknown target": (
        {"optimizer": "torch.optim:Adamm"},
        r"^optimizer: 'torch.optim:Adamm' cannot be imp",
    ),
    "a readout's optimiser": (
        {"readout_optimizer": "math:sin"},
        r"^readout_optimizer: the optimiser cannot be made",
    ),
    "a rate of something else": (
        {"lr_schedule": lambda epoch: 1},
        r"^lr_schedule: it does not return a factor: TypeEr",
    ),
    "a learning-rate factor that is not a number": (
        {"lr_schedule": lambda *_: float("nan")},
        r"^lr_schedule: its factor is nan",
    ),
    "parts for a local block": (
        {"network": [{"kind": local(), "block": {"goodness": SumSquares()}}]},
        r"^network\.0\.block: a LocalBlock has its own parts",
    ),
    "a local block in backpropagation": (
        {"network": [local()], "algorithm": Backprop(), "contribution": "sum"},
        r"^network\.0: a LocalBlock has its own loss, but this algorithm replaces block\.",
    ),
}


@pytest.mark.parametrize(("given", "expected"), WRONG.values(), ids=WRONG)
def test_invalid_objects_raise_one_line_before_anything_is_written(quick, tmp_path, given, expected):
    with pytest.raises(UserError, match=expected) as caught:
        quick(**given)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())
