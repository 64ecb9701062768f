"""The kit catches goodness, objectives and penalties that break their contract."""

import pytest
import torch

from ffcore.interfaces import (
    Goodness,
    Objective,
    Penalty,
)
from ffcore.testing import run_check


class SumSquares(Goodness):
    """A correct component."""

    def forward(self, activity):
        return activity.flatten(1).square().sum(1)

    def vjp(self, activity, up):
        return 2 * activity * up.view(-1, *(1,) * (activity.dim() - 1))


class WrongFactor(SumSquares):
    """The closed form lacks a factor of 2."""

    def vjp(self, activity, up):
        return super().vjp(activity, up) / 2


class OfTheBatch(Goodness):
    """A row depends on the other rows."""

    def forward(self, activity):
        g = activity.flatten(1).square().sum(1)
        return g - g.mean()


class OneNumber(Goodness):
    """One number for all rows."""

    def forward(self, activity):
        return activity.square().sum()


class VectorsOnly(Goodness):
    """Forgets the other dimensions of maps."""

    def forward(self, activity):
        return activity.square().sum(1)


class Deaf(Goodness):
    """Its gradient is lost."""

    def forward(self, activity):
        return activity.flatten(1).square().sum(1).detach() + 0 * activity.flatten(1).sum(1)


class Noisy(SumSquares):
    """Uses the global random state."""

    def forward(self, activity):
        return super().forward(activity) + torch.rand(len(activity))


class Forgetful(SumSquares):
    """A random number that is not in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = torch.rand(())

    def forward(self, activity):
        return self.factor * super().forward(activity)


class Summed(Objective):
    """A sum where a mean is due."""

    def forward(self, goodness, views):
        return goodness.square().sum()


class WrongSign(Objective):
    """The closed form has the wrong sign."""

    def forward(self, goodness, views):
        return goodness.square().mean()

    def with_derivative(self, goodness, views):
        return goodness.square().mean(), -2 * goodness / len(goodness)


class Overflowing(Objective):
    """exp, which overflows."""

    def forward(self, goodness, views):
        return goodness.square().exp().mean()


class Strange(Objective):
    """Reads goodness of no form."""

    accepts = "vector"

    def forward(self, goodness, views):
        return goodness.mean()


class Constant(Penalty):
    """A number without a gradient."""

    def forward(self, out, block, views):
        return torch.tensor(1.0)


class Unsaid(Penalty):
    """Reads the handoff without ``reads_handoff``."""

    def forward(self, out, block, views):
        return out.handoff.square().mean()


CAUGHT = [
    ("goodness", WrongFactor, "vjp equals autograd", "vjp is not autograd's"),
    ("goodness", OfTheBatch, "of a row depends on that row alone", "depends on other rows"),
    ("goodness", OneNumber, "one number a row", r"has the shape \(\);.*should be \(6,\)"),
    ("goodness", VectorsOnly, "one number a row", r"has the shape \(6, 3, 3\);.*should be \(6,\)"),
    ("goodness", Deaf, "lets a gradient through", "zero everywhere"),
    ("goodness", Noisy, "repeats itself in evaluation", "gives another output"),
    ("goodness", Forgetful, "state makes another one equal", "state_dict is incomplete"),
    ("objective", Summed, "is a mean over samples", "not close"),
    ("objective", WrongSign, "derivative equals autograd", "derivative are not autograd's"),
    ("objective", Overflowing, "is a finite scalar", "the loss is inf"),
    ("objective", Strange, "accepts a form of goodness", "accepts is 'vector'"),
    ("penalty", Constant, "is a scalar with a graph", "it has no effect"),
    ("penalty", Unsaid, "is a scalar with a graph", "needs reads_handoff"),
]


@pytest.mark.parametrize(
    ("noun", "target", "check", "message"), CAUGHT, ids=[f"{c[0]} {c[1].__name__}: {c[2]}" for c in CAUGHT]
)
def test_a_broken_contract_is_caught(register, noun, target, check, message):
    register(noun, target)
    with pytest.raises(AssertionError, match=message):
        run_check(noun, "mine", check)
