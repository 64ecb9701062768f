"""Changing the tensors of an input."""

from typing import NamedTuple

import torch

from ffcore.interfaces.structure import mapped


class Pair(NamedTuple):
    left: torch.Tensor
    right: torch.Tensor


def test_mapped_keeps_the_structure_of_an_input():
    made = mapped({"pair": Pair(torch.zeros(3), torch.ones(3)), "list": [torch.ones(4)]}, lambda t: t[:2])
    assert isinstance(made["pair"], Pair)
    assert made["pair"].right.tolist() == [1.0, 1.0]
    assert isinstance(made["list"], list)
    assert made["list"][0].tolist() == [1.0, 1.0]
