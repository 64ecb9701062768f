"""Measures of activities, against cases that are worked by hand."""

import math

import numpy as np
import pytest
import torch

from ffcore.analysis import (
    cosine,
    dead_share,
    effective_rank,
    lifetime_sparsity,
    linear_cka,
    participation_ratio,
    population_sparsity,
    zero_share,
)
from ffcore.analysis.measures import gram, squares, u_centred
from ffcore.errors import UserError


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_one_hot_answers_are_sparse_and_equal_ones_are_not():
    one_hot = torch.eye(6)
    assert population_sparsity(one_hot) == lifetime_sparsity(one_hot) == 1
    assert population_sparsity(torch.ones(6, 4)) == lifetime_sparsity(torch.ones(6, 4)) == 0
    # (1, 2, 3, 0): mean 6/4, mean square 14/4
    by_hand = (1 - (36 / 16) / (14 / 4)) / (1 - 1 / 4)
    assert population_sparsity([[1.0, -2.0, 3.0, 0.0]]) == pytest.approx(by_hand)


def test_sparsity_over_samples_leaves_dead_units_out():
    activity = torch.tensor([[1.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    assert lifetime_sparsity(activity) == pytest.approx((1 + 0) / 2)
    assert dead_share(activity) == pytest.approx(1 / 3)
    assert zero_share(activity) == pytest.approx(3 / 6)
    assert math.isnan(lifetime_sparsity(torch.zeros(3, 2)))
    assert math.isnan(population_sparsity(torch.ones(3, 1)))
    assert dead_share(torch.zeros(3, 2)) == 1


def test_the_rank_of_equal_directions_is_their_number():
    axes = torch.cat([torch.eye(3), -torch.eye(3)])
    assert effective_rank(axes) == pytest.approx(3)
    assert participation_ratio(axes) == pytest.approx(3)
    line = torch.arange(5.0)[:, None] * torch.tensor([[1.0, 2.0, -1.0]]) + 7
    assert effective_rank(line) == pytest.approx(1, abs=1e-5)
    assert participation_ratio(line) == pytest.approx(1)


def test_the_rank_of_unequal_directions_follows_the_formulas():
    activity = torch.tensor([[3.0, 0.0], [-3.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    p = np.array([3, 1]) / 4  # singular values are √2 · (3, 1)
    assert effective_rank(activity) == pytest.approx(math.exp(-(p * np.log(p)).sum()))
    assert participation_ratio(activity) == pytest.approx((9 + 1) ** 2 / (81 + 1))


def test_both_sides_give_the_same_rank():
    wide, tall = normal(8, 30), normal(30, 8)
    for activity in (wide, tall):
        whole = activity.double()
        values = np.linalg.svd((whole - whole.mean(0)).numpy(), compute_uv=False)
        p = values[values > 1e-9] / values.sum()
        assert effective_rank(activity) == pytest.approx(math.exp(-(p * np.log(p)).sum()), rel=1e-5)
        from_gram = squares(activity, gram(activity)).sqrt().flip(0)[: len(p)]
        assert from_gram.numpy() == pytest.approx(values[: len(p)], rel=1e-5)
    assert effective_rank(wide) <= 7, "of eight samples without their mean"


@pytest.mark.parametrize("unbiased", [True, False])
def test_rotation_scale_and_shift_do_not_change_cka(unbiased):
    x = normal(40, 6)
    turn = torch.linalg.qr(normal(6, 6, seed=1)).Q
    assert linear_cka(x, 3 * x @ turn + 5, unbiased=unbiased) == pytest.approx(1, abs=1e-6)
    assert linear_cka(x, x.view(40, 2, 3), unbiased=unbiased) == pytest.approx(1)


def test_cka_of_independent_activities_is_about_zero_only_without_bias():
    x, y = normal(60, 200), normal(60, 200, seed=1)
    assert abs(linear_cka(x, y)) < 0.05
    assert linear_cka(x, y, unbiased=False) > 0.5


def test_both_forms_of_the_biased_estimator_agree():
    x, y = normal(30, 5), normal(30, 7, seed=1)
    a, b = (t.double() - t.double().mean(0) for t in (x, y))
    k, other = a @ a.T, b @ b.T
    by_grams = float((k * other).sum() / (k.norm() * other.norm()))
    assert linear_cka(x, y, unbiased=False) == pytest.approx(by_grams)
    wide = torch.cat([y, torch.zeros(30, 40)], 1)
    assert linear_cka(x, wide, unbiased=False) == pytest.approx(by_grams)


def test_the_unbiased_estimator_is_that_of_song():
    def hsic(k, other):
        n, ones = len(k), torch.ones(len(k), dtype=torch.float64)
        k, other = k - k.diag().diag(), other - other.diag().diag()
        both = (k @ other).trace() + k.sum() * other.sum() / ((n - 1) * (n - 2))
        return (both - 2 / (n - 2) * ones @ k @ other @ ones) / (n * (n - 3))

    x, y = normal(12, 5), normal(12, 7, seed=1)
    k, other = gram(x), gram(y)
    expected = float(hsic(k, other) / (hsic(k, k) * hsic(other, other)).sqrt())
    assert linear_cka(x, y) == pytest.approx(expected)
    assert float(u_centred(k).sum(1).abs().max()) == pytest.approx(0, abs=1e-9)


def test_a_constant_activity_has_neither_rank_nor_cka():
    constant = torch.full((6, 3), 0.1)
    assert math.isnan(effective_rank(constant))
    assert math.isnan(participation_ratio(constant))
    assert math.isnan(linear_cka(constant, normal(6, 3)))
    assert math.isnan(linear_cka(torch.eye(6), normal(6, 3))), "all samples are equally far apart"


def test_the_cosine_of_gradients():
    assert cosine([1.0, 2.0], [2.0, 4.0]) == 1
    assert cosine(np.eye(2), -np.eye(2)) == -1
    assert math.isnan(cosine([0.0, 0.0], [1.0, 0.0]))
    with pytest.raises(UserError, match="x has 2 values, but y has 3"):
        cosine([1.0, 2.0], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("measure", "activity", "reason"),
    [
        (zero_share, "text", "a tensor or array, not a str"),
        (zero_share, object(), "not an object"),
        (zero_share, torch.zeros(3), r"should have the shape \(N, \*shape\), not \(3,\)"),
        (zero_share, torch.zeros(0, 3), "should have the shape"),
        (dead_share, torch.full((2, 2), math.nan), "not finite"),
        (effective_rank, torch.ones(1, 3), "at least 2 samples, not 1"),
        (lambda x: linear_cka(x, x), torch.ones(3, 3), "at least 4 samples, not 3"),
        (lambda x: linear_cka(x, x[:5]), torch.ones(6, 3), "x has 6 samples, but y has 5"),
    ],
)
def test_what_is_no_activity_is_refused(measure, activity, reason):
    with pytest.raises(UserError, match=reason):
        measure(activity)
