"""The kit catches labels, negatives, handoffs and bodies that break their contract."""

import pytest
import torch
from torch import nn

from ffcore.interfaces import (
    LabelCode,
    LabelledInput,
    NegativeData,
)
from ffcore.testing import run_check


class Leaking(NegativeData):
    """Any class, the true one too."""

    def setup(self, context):
        self.classes = context.classes

    def forward(self, x, y, probs, rng):
        return x, rng.integers("label", self.classes)


class Neighbour(Leaking):
    """Always the next class."""

    def forward(self, x, y, probs, rng):
        return x, (y + 1) % self.classes


class OfThisRank(Leaking):
    """Depends on the index on this rank."""

    def forward(self, x, y, probs, rng):
        return x, (y + 1 + torch.arange(len(y)) % (self.classes - 1)) % self.classes


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


class Biased(OneHot):
    """Neutral is the first class."""

    def code(self, y, n):
        return super().code(torch.zeros(n, dtype=torch.long) if y is None else y, n)


class Blind(OneHot):
    """The label never gets into the input."""

    def join(self, x, code):
        return x.repeat(len(code) // len(x), *(1,) * (x.dim() - 1))


class InPlace(OneHot):
    """Writes into the samples."""

    def join(self, x, code):
        x.view(len(x), -1)[:, : self.classes] = code[: len(x)]
        return super().join(x, code)


class Dividing(nn.Module):
    """x/‖x‖, which is NaN for a row of zeros."""

    def forward(self, x):
        return x / x.flatten(1).norm(dim=1).view(-1, *(1,) * (x.dim() - 1))


class Centred(nn.Module):
    """Subtracts the batch's mean."""

    def forward(self, x):
        return x - x.mean(0)


class Shifting(nn.Module):
    """Changes its input in place."""

    def forward(self, x):
        return x.add_(1)


class Unlabelled(nn.Linear):
    """Takes a labelled input apart and loses its scale."""

    def __init__(self, in_shape: tuple[int, ...]) -> None:
        super().__init__(torch.Size(in_shape).numel(), 3)

    def forward(self, x):
        if isinstance(x, LabelledInput):
            x = LabelledInput(x.base, x.code).dense()
        return super().forward(x.flatten(1))


CAUGHT = [
    ("negative", Leaking, "never labels a sample with its own class", "is given its own"),
    ("negative", Neighbour, "reaches every wrong class", "never occurs"),
    ("negative", OfThisRank, "draws the same on one rank and two", "differ between one rank and two"),
    ("label", Biased, "neutral favours no class", "favours a class"),
    ("label", Blind, "join tells classes apart", "two labels give the same input"),
    ("label", InPlace, "join gives a row a code", "join changes its input"),
    ("handoff", Dividing, "of a silent row is finite", "infinite or NaN"),
    ("handoff", Centred, "keeps rows apart", "depends on the others"),
    ("handoff", Shifting, "leaves its input alone", "the activity has changed"),
    ("body", Centred, "keeps rows apart", "depends on the others"),
    ("body", Unlabelled, "takes a labelled input as its dense form", "is not its dense form"),
]


@pytest.mark.parametrize(
    ("noun", "target", "check", "message"), CAUGHT, ids=[f"{c[0]} {c[1].__name__}: {c[2]}" for c in CAUGHT]
)
def test_a_broken_contract_is_caught(register, noun, target, check, message):
    register(noun, target)
    with pytest.raises(AssertionError, match=message):
        run_check(noun, "mine", check)
