"""Heads that cost more than their blocks."""

import warnings

import pytest
import torch
from torch import nn

import ffcore
from ffcore_local.costs import multiplications


@pytest.mark.parametrize(
    ("module", "shape", "count"),
    [
        (nn.Linear(6, 5), (6,), 30),
        (nn.Conv2d(3, 4, 3, padding=1), (3, 8, 8), 3 * 4 * 9 * 64),
        (nn.Flatten(), (6,), 0),
    ],
)
def test_multiplications_of_one_sample(module, shape, count):
    assert multiplications(module, shape) == count
    assert module.training


def network(units):
    layers = [{"kind": "dense", "units": units}, {"kind": "dense", "units": "classes"}]
    block = ffcore.LocalBlock(
        nn.Linear(6, 5), goodness={"kind": "items-head", "items": layers}, objective="cross-entropy"
    )
    return ffcore.Network([block], algorithm="local-errors", example=torch.zeros(2, 6), classes=3)


def test_a_head_with_more_multiplications_than_its_body_is_reported_once():
    with pytest.warns(
        UserWarning, match="block1: its head has 320,000 multiplications for each sample, its body 30;"
    ) as seen:
        network(40_000)
    assert len(seen) == 1


def test_a_small_head_is_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        network(2_000)


def test_pooled_heads_of_vgg8b_are_not_reported():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ffcore.from_recipe("cifar10/vgg8b-pred", network=[{"kind": "vgg8b", "width": 0.25}])
