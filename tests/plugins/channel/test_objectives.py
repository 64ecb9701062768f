import math

import pytest
import torch
from torch.nn import functional as F

from ffcore.interfaces import Context, Views
from ffcore_channel.objectives import CwC, CwG, PvN

N, K = 6, 4
Y = torch.arange(N) % K


def goodness(columns=K, scale=1.0, rows=N):
    g = torch.Generator().manual_seed(0)
    return scale * torch.randn(rows, columns, generator=g, dtype=torch.float64)


def views(rows=N):
    return Views(torch.zeros(rows, 1), ("all",), (rows,), y=torch.arange(rows) % K)


def bound(objective, columns=None):
    column_of = None if columns is None else torch.tensor(columns)
    objective.column_of = column_of
    return objective


def cwc(row, y):
    g = [min(50.0, max(-50.0, float(v))) for v in row]
    return -math.log((math.exp(g[y]) + 1e-9) / (sum(map(math.exp, g)) + 1e-9))


def pvn(row, y):
    others = [float(v) for k, v in enumerate(row) if k != y]
    negative = sum(others) / len(others)
    return (math.log1p(math.exp(2 - float(row[y]))) + math.log1p(math.exp(negative - 2))) / 2


def cwg(row, y):
    entropy = math.log(sum(math.exp(float(v)) for v in row)) - float(row[y])
    return 0.28 * entropy + 0.72 * pvn(row, y)


FORMULAS = [(CwC, cwc), (PvN, pvn), (CwG, cwg)]


@pytest.mark.parametrize(("objective", "formula"), FORMULAS)
@pytest.mark.parametrize("columns", [None, [0, 1, 1, 2]])
def test_a_mean_of_the_plain_formula(objective, formula, columns):
    g = goodness(K if columns is None else 3, scale=3.0)
    column_of = columns or list(range(K))
    right = sum(formula(row, column_of[int(y)]) for row, y in zip(g, Y, strict=True)) / N
    assert float(bound(objective(), columns)(g, views())) == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize("objective", [CwC, PvN, CwG])
@pytest.mark.parametrize("columns", [None, [0, 1, 1, 2]])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_the_derivative_is_autograds(objective, columns, scale):
    made = bound(objective(), columns)
    g = goodness(K if columns is None else 3, scale).requires_grad_()
    loss, up = made.with_derivative(g.detach(), views())
    right = made(g, views())
    torch.testing.assert_close(loss, right.detach(), rtol=0, atol=1e-12)
    # beyond 20 torch's softplus is its argument, and its derivative 1: 2e-9 off
    torch.testing.assert_close(
        up, torch.autograd.grad(right, g)[0], rtol=0, atol=1e-9 if scale > 1 else 1e-12
    )


def test_cwc_is_cross_entropy_between_its_guards():
    g = goodness()
    torch.testing.assert_close(bound(CwC())(g, views()), F.cross_entropy(g, Y), rtol=0, atol=1e-6)


def test_cwc_stays_finite_where_exponentials_do_not():
    for far in (1e4, -1e4):
        loss, up = bound(CwC()).with_derivative(torch.full((N, K), far), views())
        assert loss.isfinite()
        assert not up.any()


def test_only_the_first_views_rows_count():
    both = Views(torch.zeros(2 * N, 1), ("positive", "negative"), (N, N), y=Y)
    g = goodness(rows=2 * N)
    for objective in (CwC, PvN, CwG):
        made = bound(objective())
        torch.testing.assert_close(made(g, both), made(g[:N], views()))
        assert not made.with_derivative(g, both)[1][N:].any()


@pytest.mark.parametrize("objective", [PvN(), CwG()])
def test_one_class_has_no_others(objective):
    with pytest.raises(ValueError, match=r"objective (pvn|cwg): block conv1: all samples are of one class"):
        objective.setup(Context((6,), 1, name="conv1"))
    objective.setup(Context((6,), 2, name="conv1"))
