"""Which checks are run, with which examples, and which are waived."""

import pytest
import torch
from torch import nn

from ffcore.errors import UserError
from ffcore.interfaces import (
    Goodness,
    LabelCode,
)
from ffcore.testing import cases, checks_of, run_check


class SumSquares(Goodness):
    """A correct component."""

    def forward(self, activity):
        return activity.flatten(1).square().sum(1)

    def vjp(self, activity, up):
        return 2 * activity * up.view(-1, *(1,) * (activity.dim() - 1))


class OfTheBatch(Goodness):
    """A row depends on the other rows."""

    def forward(self, activity):
        g = activity.flatten(1).square().sum(1)
        return g - g.mean()


class OneHot(LabelCode):
    """The class over the first features."""

    def setup(self, context):
        self.classes = context.classes
        return context.shape

    def code(self, y, n):
        if y is None:
            return torch.full((n, self.classes), 1 / self.classes)
        return nn.functional.one_hot(y, self.classes).float()

    def join(self, x, code):
        x = x.repeat(len(code) // len(x), *(1,) * (x.dim() - 1))
        x.view(len(x), -1)[:, : self.classes] = code
        return x


@pytest.mark.parametrize(("noun", "target"), [("goodness", SumSquares), ("label", OneHot)])
def test_a_correct_component_passes_all_checks(register, noun, target):
    register(noun, target)
    found = [case for case in cases() if case.example.entry.name == "mine"]
    assert [case.check for case in found] == checks_of(noun)
    for case in found:
        case.run()


class Named(SumSquares):
    """A required option that suggests no value.

    Args:
        path: any text.
    """

    def __init__(self, path: str) -> None:
        super().__init__()


class Exemplary(Named):
    """With examples.

    Args:
        path: any text.
    """

    examples = ({"path": "a"}, {"path": "b"})


def test_a_required_option_without_an_example_is_asked_for(register):
    register("goodness", Named)
    found = [case for case in cases() if case.example.entry.name == "mine"]
    assert "vjp equals autograd" not in [case.check for case in found]
    with pytest.raises(AssertionError, match="needs an example of its option 'path'"):
        next(case for case in found if case.check == "options can be tried").run()


def test_examples_come_from_the_class_or_from_the_call(register):
    register("goodness", Exemplary)
    key = ("goodness", "mine")

    def tried(**kwargs):
        mine = [
            c for c in cases(**kwargs) if c.example.entry.name == "mine" and c.check == "one number a row"
        ]
        return [c.example.options["path"] for c in mine]

    assert tried() == ["a", "b"]
    assert tried(examples={key: [{"path": "c"}]}) == ["c"]


def test_a_waiver_skips_with_its_reason(register):
    register("goodness", OfTheBatch)
    key = ("goodness", "mine", "of a row depends on that row alone")
    (case,) = [c for c in cases(waive={key: "compares within the batch"}) if c.waived.startswith("compares")]
    with pytest.raises(pytest.skip.Exception, match="compares within the batch"):
        case.run()


@pytest.mark.parametrize(
    ("key", "reason", "message"),
    [
        (("goodness", "logits", "one number a row"), " ", "gives no reason"),
        (("goodness", "logits", "one number a rwo"), "slow", "there is no check 'one number a rwo'"),
        (("goodness", "nothing", "one number a row"), "slow", "of goodness 'nothing' to waive"),
    ],
)
def test_a_waiver_needs_a_reason_and_a_check(key, reason, message):
    with pytest.raises(UserError, match=message):
        cases(waive={key: reason})


def test_cases_of_one_plugin():
    assert {case.example.entry.plugin for case in cases(plugin="ff")} == {"ff"}
    with pytest.raises(UserError, match="no working plugin 'fff'; did you mean 'ff'"):
        cases(plugin="fff")


def test_an_unknown_check_names_the_closest():
    with pytest.raises(UserError, match="did you mean 'vjp equals autograd'"):
        run_check("goodness", "logits", "vjp equal autograd")
