"""Kept answers, in memory and in a file; repeated calls; calls that take too long."""

import copy
import time

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from ffcore.build.assemble import assemble
from ffcore.errors import RunError, UserError
from ffcore.interfaces import BlackBox, Context
from ffcore.local import BoxStage
from ffcore.recipe.schema import Recipe
from ffcore_blackbox.wrappers import Cached, Patient

SHAPE = (3,)


class Counting(BlackBox):
    """Squares rows and counts them."""

    def __init__(self):
        super().__init__()
        self.rows = 0

    def forward(self, x):
        self.rows += len(x)
        return x.square()


class Adapting(Counting):
    """Subtracts the mean of its last fit."""

    mean = 0.0

    def fit(self, batches):
        self.mean = torch.cat(list(batches)).mean()

    def forward(self, x):
        return super().forward(x) - self.mean


def rows(n=6, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def test_an_equal_row_is_not_asked_again():
    inner = Counting()
    stage = BoxStage(Cached(SHAPE, inner))
    assert torch.equal(stage(rows()), rows().square())
    assert torch.equal(stage(rows().flip(0)), rows().flip(0).square())
    assert torch.equal(stage(rows()[[0, 0, 0]]), rows()[[0, 0, 0]].square())
    assert inner.rows == 6
    stage(torch.cat([rows(), rows(seed=1), rows(seed=1)]))
    assert inner.rows == 12
    assert stage(rows()[:0]).shape == (0, *SHAPE)
    assert inner.rows == 12
    stage(rows().double())
    assert inner.rows == 18  # another type is another content
    assert stage.use["predicting"].counts == {"rows asked": 18}


def test_the_oldest_answers_are_dropped():
    inner = Counting()
    box = Cached(SHAPE, inner, rows=4)
    box(rows())
    box(rows()[2:])
    assert inner.rows == 6
    box(rows()[:1])
    assert inner.rows == 7


def test_a_fit_clears_what_is_kept():
    box = Cached(SHAPE, Adapting())
    assert box.adapts
    assert not Cached(SHAPE, Counting()).adapts
    box(rows())
    box.fit([rows()])
    torch.testing.assert_close(BoxStage(box)(rows()), rows().square() - rows().mean())


def test_a_file_keeps_answers_for_other_runs(tmp_path):
    first, second = Counting(), Counting()
    box = Cached(SHAPE, first, path=str(tmp_path / "kept.sqlite"), version="1")
    made = BoxStage(box)(rows())
    box.close()
    again = BoxStage(copy.deepcopy(Cached(SHAPE, second, path=str(tmp_path / "kept.sqlite"), version="1")))
    assert torch.equal(again(rows()), made)
    assert again.box.box.rows == 0
    again.box.close()
    again.box.close()
    assert torch.equal(again(rows()), made)  # opened again


def test_a_file_of_another_box_or_version_is_refused(tmp_path):
    path = str(tmp_path / "kept.sqlite")
    Cached(SHAPE, Counting(), path=path, version="model 2")(rows())
    with pytest.raises(UserError, match="keeps answers of 'model 2', not of 'model 3'"):
        Cached(SHAPE, Counting(), path=path, version="model 3")(rows())
    (tmp_path / "text.sqlite").write_text("something else, longer than a header of SQLite is" * 10)
    with pytest.raises(UserError, match="is not a file of kept answers"):
        Cached(SHAPE, Counting(), path=str(tmp_path / "text.sqlite"), version="1")(rows())
    with pytest.raises(ValueError, match="path: the box is fitted in each run"):
        Cached(SHAPE, Adapting(), path=path, version="1")
    with pytest.raises(ValueError, match="version: a file needs one"):
        Cached(SHAPE, Counting(), path=path)


def test_answers_are_dropped_when_a_state_is_loaded():
    fitted, other = (Cached((8,), {"kind": "quantise", "bits": 2}) for _ in range(2))
    x = torch.rand(6, 8)
    for box, by in ((fitted, 1.0), (other, 3.0)):
        box.setup(Context((8,), 2))
        box.fit([by * x])
        box(x)
    stage = BoxStage(other)
    stage.load_state_dict(BoxStage(fitted).state_dict())
    assert torch.equal(stage(x), BoxStage(fitted.box)(x))


def test_kept_answers_are_copies():
    class Reusing(BlackBox):
        """Returns the same memory from every call."""

        memory = np.zeros((6, 3), np.float32)

        def forward(self, x):
            self.memory[: len(x)] = x.square().numpy()
            return self.memory[: len(x)]

    stage = BoxStage(Cached(SHAPE, Reusing()))
    stage(rows())
    stage(rows(seed=1))
    assert torch.equal(stage(rows()), rows().square())


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (lambda x: x / 0 * 0, "returned numbers that are not real or not finite; nothing is kept"),
        (lambda x: x[:2], r"returned shape \(2, 3\) for 6 rows; nothing is kept"),
        (lambda x: None, r"returned shape \(\) for 6 rows"),
    ],
)
def test_a_wrong_answer_is_not_kept(tmp_path, answer, complaint):
    path, box = str(tmp_path / "kept.sqlite"), {"kind": "function", "target": answer}
    with pytest.raises(RunError, match=complaint):
        BoxStage(Cached(SHAPE, box, path=path, version="1"))(rows())
    again = BoxStage(Cached(SHAPE, Counting(), path=path, version="1"))
    assert torch.equal(again(rows()), rows().square())
    again.box.close()


def test_a_call_is_repeated_after_an_error():
    class Failing(BlackBox):
        """Fails twice."""

        left = 2

        def forward(self, x):
            self.left -= 1
            if self.left >= 0:
                raise OSError("not now")
            return x

    stage = BoxStage(Patient(SHAPE, Failing(), again=2, wait=0.0))
    assert torch.equal(stage(rows()), rows())
    assert stage.use["predicting"].counts == {"calls repeated": 2}
    stage.box.box.left = 3
    with pytest.raises(RunError, match="asked 3 times: OSError: not now"):
        stage(rows())


def test_a_call_that_takes_too_long_is_an_error():
    slow = BoxStage(Patient(SHAPE, {"kind": "function", "target": time_and_identity}, again=0, timeout=0.1))
    with pytest.raises(RunError, match=r"it has not answered within 0\.1 s"):
        slow(rows())
    calls = []
    patient = Patient(
        SHAPE, {"kind": "function", "target": lambda x: calls.append(time.sleep(0.3))}, 2, 0.0, 0.1
    )
    with pytest.raises(RunError, match="it has not answered"):
        BoxStage(patient)(rows())
    time.sleep(0.3)
    assert len(calls) == 1  # not repeated beside the call that is given up
    quick = BoxStage(Patient(SHAPE, "sign", timeout=30.0))
    assert torch.equal(quick(rows()), rows().sign())
    wrong = BoxStage(
        Patient(SHAPE, {"kind": "function", "target": lambda x: x / None}, again=0, timeout=30.0)
    )
    with pytest.raises(RunError, match="TypeError"):
        wrong(rows())


def time_and_identity(x):
    time.sleep(0.5)
    return x


def test_a_recipe_names_boxes_in_boxes_with_the_same_input():
    crossbar = {"kind": "crossbar", "units": 5, "noise": 0.0}
    box = {"kind": "cached", "box": {"kind": "patient", "box": crossbar}}
    recipe = {
        "name": "test",
        "data": "digits",
        "algorithm": "local-errors",
        "network": [
            {"kind": "dense", "units": 7},
            {"kind": "blackbox", "box": box},
            {"kind": "dense", "units": 4},
        ],
        "block": {"goodness": "linear-head", "objective": "cross-entropy"},
    }
    (stage,) = assemble(Recipe.model_validate(recipe), (1, 8, 8), 10).network.boxes
    assert stage.box.box.box.weight.shape == (5, 7)
    with pytest.raises(ValidationError, match=r"network\.0\.box\.box\.kind\n +'nothing' is not a blackbox"):
        Recipe.model_validate({**recipe, "network": [{"kind": "blackbox", "box": {**box, "box": "nothing"}}]})


def test_a_wrapped_box_is_set_up_and_closed():
    class Closing(Counting):
        """Notes its calls."""

        calls = ()

        def setup(self, context):
            self.calls += (context.shape,)

        def close(self):
            self.calls += ("closed",)

    box = Cached(SHAPE, Closing())
    box.setup(Context(SHAPE, 2))
    box.close()
    assert box.box.calls == (SHAPE, "closed")
