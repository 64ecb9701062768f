"""The statistics of a recipe's training samples."""

import numpy as np
import pytest
import torch

from ffcore.errors import UserError
from ffcore.recipe.load import load
from ffcore.run.data import Data


@pytest.mark.parametrize("standardise", [False, True])
def test_the_statistics_are_those_of_the_inputs_of_loaders(standardise):
    data = Data.open(load("digits/ff", [f"data.standardise={standardise}".lower()]))
    known = data.statistics()
    x = data.train.x * np.float64(data.images.scale)
    mean, std = (x.mean(), x.std()) if standardise else (0.0, 1.0)
    assert known.counts == tuple((data.train.y == k).sum() for k in range(10))
    np.testing.assert_allclose(known.mean, [mean])
    np.testing.assert_allclose(known.std, [std])
    np.testing.assert_allclose([known.low, known.high], [(x.min() - mean) / std, (x.max() - mean) / std])


def test_fixed_batches_come_again_in_every_epoch():
    def orders(batches):
        data, now = Data.open(load("digits/ff", [f"data.batches={batches}"])), [0]
        loader = data.loader(data.train, torch.device("cpu"), lambda: now[0])
        made = []
        for now[0] in (0, 1):
            made.append([batch.index.tolist() for batch in loader])
        return made

    fixed, new = orders("fixed"), orders("new")
    assert fixed[0] == fixed[1] == new[0] != new[1]
    assert fixed[0] != sorted(fixed[0])


def test_inputs_may_be_standardised_by_given_moments():
    data = Data.open(load("digits/ff", ["data.standardise={mean: [0.25], std: [0.5]}"]))
    plain = Data.open(load("digits/ff"))
    given, raw = (next(iter(d.loader(d.train, torch.device("cpu"), None))).x for d in (data, plain))
    torch.testing.assert_close(given, (raw - 0.25) / 0.5)
    assert (data.mean, data.std) == ((0.25,), (0.5,))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("{mean: [0, 0], std: [1]}", "data.standardise.mean: 2 numbers; should be one, or one for each"),
        ("{mean: [0], std: [0]}", "data.standardise"),
        ("{mean: [0]}", "data.standardise"),
    ],
)
def test_moments_that_do_not_fit_are_refused(given, message):
    with pytest.raises(UserError, match=message):
        Data.open(load("digits/ff", [f"data.standardise={given}"]))
