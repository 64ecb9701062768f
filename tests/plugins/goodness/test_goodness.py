"""Every goodness beside its formula, written a second time; float64."""

import math
import re
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

import ffcore
from ffcore.errors import UserError
from ffcore.interfaces import Context, Views
from ffcore.parts import part
from ffcore.plugin.manager import Plugins, current, use
from ffcore.testing import cases

PAGE = Path(__file__).parents[3] / "docs/plugins/goodness.md"
N, U = 5, 12
ROLES = ("positive", "negative")
OF_ONE_ROW = {
    "sparse-l1": lambda h: sum(x**2 - 0.01 * x.abs() for x in h),
    "huber-norm": lambda h: sum(x**2 - 0.01 * (x**2 / 2 if x.abs() <= 1 else x.abs() - 0.5) for x in h),
    "outlier-trimmed-energy": lambda h: sum(sorted(x**2 for x in h)[1:-1]),
    "oja": lambda h: sum(x**2 - 1e-4 * x**4 for x in h),
    "attention-weighted": lambda h: sum(x**2 for x in h) * (1 + 0.01 * evenness(h.abs().exp())),
    "fractal-dimension": lambda h: sum(x**2 for x in h) * (1 + 0.1 * evenness(h.abs())),
    "game-theoretic": lambda h: sum(x**2 + 0.1 * x**2 * (x.abs() / h.abs().sum()).detach() for x in h),
}
OF_ALL_ROWS = {
    "decorrelation": lambda h: 0.001 * (h**2).mean(1) - 0.001 * h.mean(1) ** 2,
    "info-nce": lambda h: (
        -0.1 * F.cross_entropy(cosines(h, h.detach()) / 0.1, torch.arange(2 * N), reduction="none")
    ),
    "predictive-coding": lambda h: (
        -0.1 * ((h - 0.1 * h.detach().mean(0)) ** 2).sum(1) / (h**2).sum(1)
    ),  # m was 0 before this batch
    "softmax-energy-margin": lambda h: 0.1 * torch.log(h.exp().max(1).values / h.exp().sum(1)),
    "triplet-margin": lambda h: 0.1 * torch.cat([apart(h[:N], h[N:]), apart(h[N:], h[:N])]).detach(),
}
ALL = [*OF_ONE_ROW, *OF_ALL_ROWS, "bcm"]


def evenness(h):
    p = (h / h.sum()).detach()
    return -(p * p.log()).sum() / math.log(U)


def cosines(a, b):
    return F.cosine_similarity(a.unsqueeze(1), b.unsqueeze(0), dim=2)


def apart(own, other):
    return torch.tanh(((own - other.mean(0)) ** 2).sum(1) / ((own - own.mean(0)) ** 2).sum(1))


def made(kind):
    goodness = part("goodness", kind)
    goodness.setup(Context((U,), 3))
    return goodness.double()


def judged(goodness, h, roles=ROLES):
    if not goodness.reads_views:
        return goodness(h)
    return goodness(h, Views(h, roles, (len(h) // len(roles),) * len(roles)))


def activity(seed=0):
    rows = torch.randn(2 * N, U, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows.mul_(2).requires_grad_()


def same_values_and_gradients(goodness, right, h):
    mine = judged(goodness, h)
    torch.testing.assert_close(mine, right, rtol=1e-12, atol=1e-12)
    up = torch.linspace(-1, 2, len(h), dtype=torch.float64)
    (own,) = torch.autograd.grad(mine, h, up)
    (second,) = torch.autograd.grad(right, h, up)
    torch.testing.assert_close(own, second, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", OF_ONE_ROW)
def test_a_goodness_of_one_row_and_its_gradient_are_those_of_the_formula(kind):
    h = activity()
    same_values_and_gradients(made(kind), torch.stack([OF_ONE_ROW[kind](row) for row in h]), h)


@pytest.mark.parametrize("kind", OF_ALL_ROWS)
def test_a_goodness_of_all_rows_and_its_gradient_are_those_of_the_formula(kind):
    h = activity()
    squares = (h**2).sum(1)
    same_values_and_gradients(made(kind), squares + squares.mean() * OF_ALL_ROWS[kind](h), h)


def test_bcm_moves_its_thresholds_and_then_compares_squares_with_them():
    goodness, theta = made("bcm"), torch.zeros(U, dtype=torch.float64)
    for seed in (0, 1):
        h = activity(seed)
        theta = 0.9 * theta + 0.1 * (h.detach() ** 2).mean(0)
        same_values_and_gradients(goodness, (h**2 + 0.01 * h**2 * (h**2 - theta)).sum(1), h)


@pytest.mark.parametrize("kind", ["bcm", "predictive-coding"])
def test_running_statistics_stand_still_in_a_pass_without_learning(kind):
    goodness = made(kind)
    with torch.no_grad():
        judged(goodness, activity())
    judged(goodness.eval(), activity())
    assert all(buffer.eq(0).all() for _, buffer in goodness.named_buffers())
    judged(goodness.train(), activity())
    assert all(buffer.ne(0).all() for _, buffer in goodness.named_buffers())


@pytest.mark.parametrize("kind", OF_ALL_ROWS)
def test_a_prediction_reads_the_sum_of_squares_of_its_own_row(kind):
    h = activity()
    assert torch.equal(judged(made(kind), h, ("class 0", "class 1")), h.square().sum(1))


def test_a_row_unlike_all_others_loses_nothing_by_info_nce():
    h = torch.eye(2 * N, U, dtype=torch.float64)
    lost = 1 - judged(made("info-nce"), h)
    torch.testing.assert_close(lost, torch.full_like(lost, 0.1 * math.log1p((2 * N - 1) * math.exp(-10))))


def test_the_error_of_a_prediction_is_ten_times_the_energy_at_most():
    h = activity().detach()
    h[0] = 0
    goodness = judged(made("predictive-coding"), h)
    torch.testing.assert_close(goodness[0], -h.square().sum(1).mean())


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("silent", [slice(0, 1), slice(None)], ids=["one row", "all rows"])
def test_silent_rows_have_a_finite_goodness_and_gradient(kind, silent):
    h = activity().detach().clone()
    h[silent] = 0
    h.requires_grad_()
    goodness = judged(made(kind), h)
    (gradient,) = torch.autograd.grad(goodness.sum(), h)
    assert goodness.isfinite().all()
    assert gradient.isfinite().all()
    assert gradient.abs().max() < 1e4


@pytest.mark.parametrize("kind", ALL)
def test_under_autocast_low_precision_is_computed_in_float32(kind):
    h = activity().detach().to(torch.bfloat16)
    goodness = made(kind).float()
    with torch.autocast("cpu", torch.bfloat16):
        low = judged(goodness, h)
    assert low.dtype == torch.float32
    again = made(kind).float()
    torch.testing.assert_close(low, judged(again, h.float()), rtol=1e-6, atol=1e-6)


def test_trimming_leaves_one_unit_or_more():
    goodness = part("goodness", {"kind": "outlier-trimmed-energy", "trim": 0.49})
    assert goodness(torch.tensor([[3.0, 1.0, 2.0, 4.0]])).tolist() == [4.0 + 9.0]
    assert goodness(torch.tensor([[3.0]])).tolist() == [9.0]
    with pytest.raises(UserError, match=r"trim.*less than 0\.5"):
        part("goodness", {"kind": "outlier-trimmed-energy", "trim": 0.5})


@pytest.mark.parametrize("kind", ALL)
def test_forward_forward_learns_three_classes_with_it(kind):
    torch.manual_seed(0)
    y = torch.arange(30) % 3
    x = torch.cat([torch.zeros(30, 3), F.one_hot(y, 3) + 0.1 * torch.randn(30, 3)], dim=1)
    layer = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.ReLU())
    block = ffcore.LocalBlock(layer, kind, objective="logistic")
    net = ffcore.Network([block], "forward-forward", example=x[:2], classes=3, contribution="sum")
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=0.02)
    for _ in range(100):
        net.learn(x, y, optimizers)
    assert net.predict(x).tolist() == y.tolist()


@pytest.fixture
def own(tmp_path):
    """The kinds of the plugin that the page shows."""
    before = current()
    path = tmp_path / "my.py"
    path.write_text(re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[1])
    use(Plugins.load([str(path)]))
    yield "my"
    use(before)


def test_the_goodness_that_the_page_shows_passes_the_conformance_kit(own):
    found = cases(plugin=own)
    assert {case.example.entry.name for case in found} == {"top-k"}
    for case in found:
        case.run()
