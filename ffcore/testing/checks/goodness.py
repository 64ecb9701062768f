"""Checks of goodness functions. N rows; K classes."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.testing import assert_close

from ffcore.interfaces import Goodness, Views
from ffcore.testing.example import Example
from ffcore.testing.scenery import K, N, Placed, numbers, place

SHAPES = {"energy": ((12,), (4, 3, 3)), "class": ((K,), (2 * K,), (2 * K, 3, 3))}


def place_goodness(example: Example, seed: int = 0) -> Placed:
    """Set up a goodness on the first activity shape that it accepts."""
    goodness, shape = next(_placed(example, seed))
    activity = numbers(N, *shape)
    return Placed(goodness, lambda: _judged(goodness, activity))


def check_goodness_one_number_a_row(example: Example) -> None:
    """An energy has shape (R,), a class goodness (R, K), for vectors and for images."""
    for goodness, shape in _placed(example):
        made = _judged(goodness, numbers(N, *shape))
        columns = K if goodness.column_of is None else int(goodness.column_of.max()) + 1
        right = (N,) if goodness.form == "energy" else (N, columns)
        assert tuple(made.shape) == right, (
            f"goodness of activities {(N, *shape)} has the shape {tuple(made.shape)}; with form "
            f"{goodness.form!r} and {K} classes (context.classes) it should be {right}"
        )
        assert made.isfinite().all(), "a goodness is not finite"


def check_goodness_vjp_equals_autograd(example: Example) -> None:
    """If ``vjp`` has a closed form, it is equal to autograd's gradient."""
    for goodness, shape in _placed(example):
        # float64, so that rounding does not hide an error.
        goodness.double()
        activity = numbers(N, *shape, dtype=torch.float64).requires_grad_()
        made = _judged(goodness, activity)
        up = numbers(*made.shape, seed=1, dtype=torch.float64)
        closed = goodness.vjp(activity.detach(), up)
        if closed is not None:
            (right,) = torch.autograd.grad(made, activity, up)
            assert_close(closed, right, rtol=1e-9, atol=1e-12, msg=lambda m: f"vjp is not autograd's: {m}")


def check_goodness_of_a_row_depends_on_that_row_alone(example: Example) -> None:
    """The goodness of a row does not depend on other rows or their order, unless it couples samples."""
    for goodness, shape in _placed(example):
        if goodness.couples_samples:
            continue
        activity = numbers(N, *shape)
        for mode in (False, True):
            goodness.train(mode)
            whole = _judged(goodness, activity)
            if mode and not torch.equal(whole, _judged(goodness, activity)):
                continue  # dropout
            # Fewer rows, then another order.
            message = "the goodness of a row depends on other rows, or changes from call to call"
            assert_close(_judged(goodness, activity[:2]), whole[:2], msg=message)
            assert_close(_judged(goodness, activity.flip(0)), whole.flip(0), msg=message)


def check_goodness_that_couples_samples_reads_the_views(example: Example) -> None:
    """It needs the views, which say which rows are samples."""
    cls = example.entry.load()
    assert cls.reads_views or not cls.couples_samples, "couples_samples is set, but not reads_views"


def check_goodness_lets_a_gradient_through(example: Example) -> None:
    """The gradient is finite, and not zero for the activity or a parameter: a head may start at zero."""
    for goodness, shape in _placed(example):
        activity = numbers(N, *shape).requires_grad_()
        made = _judged(goodness, activity)
        leaves = [activity, *(p for p in goodness.parameters() if p.requires_grad)]
        up = made.detach() + numbers(*made.shape, seed=1)
        gradients = torch.autograd.grad(made, leaves, up, materialize_grads=True)
        assert all(gradient.isfinite().all() for gradient in gradients), "the gradient is not finite"
        assert any(gradient.abs().sum() > 0 for gradient in gradients), "the gradient is zero everywhere"


def _judged(goodness: Goodness, activity: Tensor) -> Tensor:
    """Return the goodness of samples; with views whose further roles, ``example_roles``, have K rows each."""
    if not goodness.reads_views:
        made: Tensor = goodness(activity)
        return made
    further = tuple(getattr(goodness, "example_roles", ()))
    rows = torch.cat(
        [activity, *(numbers(K, *activity.shape[1:], seed=i + 5).to(activity) for i in range(len(further)))]
    )
    n = len(activity)
    views = Views(rows, ("all", *further), (n, *(K for _ in further)), y=torch.arange(n) % K)
    made = goodness(rows, views)
    return made[:n]


def _placed(example: Example, seed: int = 0) -> Iterator[tuple[Goodness, tuple[int, ...]]]:
    """Yield the goodness set up for each shape that it accepts; it refuses others by a ValueError."""
    form = getattr(example.entry.load(), "form", None)
    assert form in SHAPES, f"form is {form!r}, not 'energy' or 'class'"
    taken = 0
    for shape in SHAPES[form]:
        goodness: Goodness = example.make(seed=seed)
        try:
            goodness.setup(place(shape))
        except ValueError:
            continue
        taken += 1
        yield goodness.eval(), shape
    assert taken, f"refuses activities of all shapes {SHAPES[form]}"
