"""What callbacks and components may store in a checkpoint, and what is refused before the first step."""

import datetime
import os
import pathlib
import signal
from collections import defaultdict, deque
from decimal import Decimal

import lightning
import numpy as np
import pytest
import torch

import ffcore
from ffcore.errors import RunError
from ffcore.run.checkpoints import Whole
from ffcore.run.states import loading
from ffcore_ff.goodness import SumSquares

STORED = {
    "a NumPy scalar": np.float64(1.5),
    "a NumPy array": np.arange(6.0).reshape(2, 3),
    "an empty array": np.zeros(0),
    "a path": pathlib.Path("a/b"),
    "a time": datetime.datetime(2020, 1, 2, tzinfo=datetime.UTC),
    "a deque": deque([1, 2], maxlen=3),
    "a defaultdict": defaultdict(list, a=[1]),
    "NumPy keys": {np.int64(1): Decimal("0.1")},
    "a complex number": 1j,
}
REFUSED = {
    "an object": object(),
    "a function": lambda: 1,
    "an array of objects": np.array([object()]),
    "a generator": np.random.default_rng(0),
    "a module": torch.nn.Linear(1, 1),
}


class Holds(lightning.Callback):
    """Stores a value in a list, and asks for a pause."""

    def __init__(self, value, pause=True):
        self.value, self.pause, self.loaded = value, pause, None

    def on_train_batch_end(self, trainer, *args):
        if self.pause and trainer.global_step == 9:
            os.kill(os.getpid(), signal.SIGINT)

    def state_dict(self):
        return {"values": [self.value]}

    def load_state_dict(self, state):
        self.loaded = state["values"][0]


class Hook(lightning.Callback):
    """Adds an entry to the checkpoint."""

    def __init__(self, value):
        self.value = value

    def on_save_checkpoint(self, trainer, module, checkpoint):
        checkpoint["own"] = self.value


class Extra(SumSquares):
    """A goodness with a state beside its tensors."""

    value = None

    def get_extra_state(self):
        return Extra.value

    def set_extra_state(self, state):
        Extra.loaded = state


@pytest.mark.parametrize("value", STORED.values(), ids=STORED)
def test_a_callback_gets_back_what_it_stored(value, quick, tmp_path):
    callback = Holds(value)
    with pytest.raises(KeyboardInterrupt):
        quick(callbacks=[callback], run_dir=tmp_path / "run")
    ffcore.resume(tmp_path / "run", callbacks=[callback], report=False)
    assert type(callback.loaded) is type(value)
    assert (
        np.array_equal(callback.loaded, value) if isinstance(value, np.ndarray) else callback.loaded == value
    )


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_another_object_is_refused_before_the_first_step(value, quick, tmp_path):
    with pytest.raises(RunError, match=r"^callback Holds: its state holds a .* in Holds\.values\.0"):
        quick(callbacks=[Holds(value)], run_dir=tmp_path / "run")
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_an_object_that_a_hook_adds_is_refused_with_the_name_of_the_callback(quick):
    with pytest.raises(
        RunError, match=r"^callback Hook, on_save_checkpoint: its state holds a object in own"
    ):
        quick(callbacks=[Hook(object())])


def test_a_hook_that_removes_what_a_run_needs_is_refused(quick):
    class Removes(lightning.Callback):
        def on_save_checkpoint(self, trainer, module, checkpoint):
            checkpoint.clear()

    with pytest.raises(RunError, match="has removed 'state_dict'"):
        quick(callbacks=[Removes()])


def test_a_component_gets_back_a_numpy_value_and_is_named_with_an_object(quick):
    Extra.value = np.float32(2.0)
    quick(block={"goodness": Extra()})
    assert Extra.loaded == 2.0
    Extra.value = object()
    with pytest.raises(
        RunError, match=r"^component network\.body\.dense1\.goodness: its state holds a object"
    ):
        quick(block={"goodness": Extra()})


def test_a_list_that_contains_itself_and_a_deep_one_are_refused():
    loop, deep = [], []
    loop.append(loop)
    for _ in range(3000):
        deep = [deep]
    for value, problem in ((loop, "contains itself"), (deep, "nested more than 100 levels")):
        with pytest.raises(RunError, match=problem):
            Whole().save_checkpoint({"callbacks": {"A": value}}, "none.ckpt")


def test_a_list_that_is_stored_twice_is_one_list_again(tmp_path):
    row = [1]
    state = torch.nn.Linear(1, 1).state_dict()
    Whole().save_checkpoint({"ffcore": {}, "callbacks": [row, row], "state_dict": state}, tmp_path / "a.ckpt")
    with loading():
        made = torch.load(tmp_path / "a.ckpt", weights_only=True)
    assert made["callbacks"][0] is made["callbacks"][1]
    assert made["state_dict"]._metadata == state._metadata
