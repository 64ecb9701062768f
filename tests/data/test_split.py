from __future__ import annotations

import numpy as np
import pytest

from ffcore.data.images import Split
from ffcore.data.split import cut, permutation, stratified
from ffcore.data.statistics import statistics
from ffcore.errors import UserError


def numbered(n: int) -> Split:
    """Each sample is its index; two classes, one three times as large."""
    return Split(np.arange(n, dtype=np.float32)[:, None], (np.arange(n) % 4 == 0).astype(np.int64))


@pytest.mark.parametrize(("validation", "count"), [(7, 7), (0.25, 5), (0.001, 1)])
def test_both_parts_are_disjoint_and_complete(validation: float, count: int) -> None:
    train, val = cut(numbered(20), validation, seed=3)
    assert val is not None
    assert len(val) == count
    assert sorted([*train.x[:, 0], *val.x[:, 0]]) == list(range(20))


def test_cut_depends_on_the_seed_alone() -> None:
    first, again, other = (cut(numbered(50), 10, seed)[1] for seed in (1, 1, 2))
    assert first is not None
    assert again is not None
    assert other is not None
    assert (first.x == again.x).all()
    assert (first.x != other.x).any()


def test_no_validation_keeps_everything() -> None:
    whole = numbered(5)
    assert cut(whole, 0, seed=1) == (whole, None)


@pytest.mark.parametrize("validation", [20, 21, -1, 1.0, -0.5, 1.5])
def test_an_invalid_validation_size_raises(validation: float) -> None:
    with pytest.raises(UserError, match=f"validation={validation}"):
        cut(numbered(20), validation, seed=1)


@pytest.mark.parametrize("count", [1, 7, 19])
def test_a_stratified_split_has_each_class_in_proportion(count: int) -> None:
    rest, chosen = stratified(numbered(20), count, seed=5)
    assert len(chosen) == count
    assert sorted([*rest.x[:, 0], *chosen.x[:, 0]]) == list(range(20))
    assert np.abs(np.bincount(chosen.y, minlength=2) - np.array([15, 5]) * count / 20).max() < 1


def test_the_order_is_the_same_on_every_machine() -> None:
    assert permutation(8, seed=0).tolist() == [3, 2, 1, 6, 0, 7, 4, 5]
    assert permutation(8, seed=0, own=True).tolist() == [5, 2, 3, 0, 6, 7, 1, 4]


def test_the_split_of_made_samples_does_not_follow_their_values() -> None:
    x = np.random.default_rng(0).random(1000)  # the raw numbers of the order of published data
    assert (np.diff(x[permutation(1000, seed=0)]) >= 0).all()
    chosen = x[permutation(1000, seed=0, own=True)[:200]]
    assert abs(chosen.mean() - 0.5) < 0.07  # 3.4 standard deviations of the mean of 200 uniform numbers


def test_statistics_agree_with_numpy_per_channel() -> None:
    x = np.random.default_rng(0).integers(0, 256, (1500, 3, 2, 2)).astype(np.uint8)
    mean, std = statistics(Split(x, np.zeros(1500, np.int64)), 1 / 255)
    np.testing.assert_allclose(mean, (x / 255).mean(axis=(0, 2, 3)))
    np.testing.assert_allclose(std, (x / 255).std(axis=(0, 2, 3)))


def test_a_constant_channel_has_unit_deviation() -> None:
    assert statistics(Split(np.full((3, 5), 2, np.float32), np.zeros(3, np.int64)), 1.0) == ((2.0,), (1.0,))
