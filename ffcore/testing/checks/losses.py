"""Checks of objectives and penalties. N samples; K classes."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor
from torch.testing import assert_close

from ffcore.build.components import make
from ffcore.interfaces import LocalLoss, Objective, Out, Penalty, Views
from ffcore.local import LocalBlock
from ffcore.recipe.spec import Kind
from ffcore.testing.example import Example
from ffcore.testing.scenery import FEATURES, K, N, Placed, network, numbers, pair, place, single


def place_objective(example: Example, seed: int = 0) -> Placed:
    """Set up an objective for a block of eight units."""
    objective, goodness, views = _heard(example, seed)
    return Placed(objective, lambda: objective(goodness, views))


def place_penalty(example: Example, seed: int = 0) -> Placed:
    """Set up a penalty for a block of eight units."""
    penalty, block = _placed(example, seed)
    return Placed(penalty, lambda: _term(penalty, block))


def place_loss(example: Example, seed: int = 0) -> Placed:
    """Set up a loss for a block of eight units."""
    loss, block, views = _whole(example, seed)
    return Placed(loss, lambda: torch.stack([*_terms(loss, block, views).values()]).sum())


def check_loss_terms_are_scalars_with_a_graph(example: Example) -> None:
    """The terms are finite scalars, and their sum has a gradient that is finite and not zero."""
    loss, block, views = _whole(example)
    terms = _terms(loss, block, views)
    assert terms, "it has no terms"
    for name, term in terms.items():
        assert term.shape == (), f"{name} has the shape {tuple(term.shape)}; it should be a scalar"
        assert term.isfinite(), f"{name} is {term.item()}"
    parameters = [p for part in (block, loss) for p in part.parameters()]
    total = torch.stack([*terms.values()]).sum()
    gradients = torch.autograd.grad(total, parameters, materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients), "the gradient is not finite"
    assert any(gradient.abs().sum() > 0 for gradient in gradients), "the gradient is zero everywhere"


def check_objective_accepts_a_form_of_goodness(example: Example) -> None:
    """``accepts`` is a form of goodness; the builder compares it with that of the goodness."""
    accepts = example.entry.load().accepts
    assert accepts in ("energy", "class"), f"accepts is {accepts!r}, not 'energy' or 'class'"


def check_objective_is_a_finite_scalar(example: Example) -> None:
    """The loss is a finite scalar, also for very large goodness."""
    objective, goodness, views = _heard(example)
    # Large goodness would overflow a naive exp.
    for scale in (1.0, 100.0, 0.0):
        loss = objective(scale * goodness, views)
        assert loss.shape == (), f"the loss has the shape {tuple(loss.shape)}; it should be a scalar"
        assert loss.isfinite(), f"the loss is {loss.item()}"


def check_objective_lets_a_gradient_through(example: Example) -> None:
    """The gradient is finite and not zero."""
    objective, goodness, views = _heard(example)
    goodness.requires_grad_()
    (gradient,) = torch.autograd.grad(objective(goodness, views), goodness)
    assert gradient.isfinite().all(), "the gradient is not finite"
    assert gradient.abs().sum() > 0, "the gradient is zero everywhere"


def check_objective_derivative_equals_autograd(example: Example) -> None:
    """A closed form is equal to the loss and its gradient. Rows of other views have a gradient of 0."""
    objective, goodness, views = _heard(example)
    for more in (views, _with_neutral_rows(views)):
        rows = numbers(more.x.shape[0], *goodness.shape[1:], seed=2, dtype=torch.float64).requires_grad_()
        closed = objective.with_derivative(rows.detach(), more)
        if closed is not None:
            loss = objective(rows, more)
            (right,) = torch.autograd.grad(loss, rows)
            assert_close(
                *(closed, (loss.detach(), right)),
                rtol=1e-9,
                atol=1e-12,
                msg=lambda m: f"loss and derivative are not autograd's: {m}",
            )


def check_objective_is_a_mean_over_samples(example: Example) -> None:
    """Each sample twice gives the same loss, unless ``couples_samples`` is set."""
    objective, goodness, views = _heard(example)
    if objective.couples_samples:
        return
    once = objective(goodness, views)
    assert_close(objective(_twice(goodness, views), _doubled(views)), once)


def check_penalty_is_a_scalar_with_a_graph(example: Example) -> None:
    """The term is a finite scalar with a graph, or exactly zero."""
    term = _term(*_placed(example))
    assert term.shape == (), f"the term has the shape {tuple(term.shape)}; it should be a scalar"
    assert term.isfinite(), f"the term is {term.item()}"
    assert term.requires_grad or term == 0, (
        "the term has no gradient, so it has no effect "
        "(one that reads out.handoff needs reads_handoff = True)"
    )


def _whole(example: Example, seed: int = 0) -> tuple[LocalLoss, LocalBlock, Views]:
    """Return a loss, a block with the goodness of the class's ``example_recipe``, and views of its roles."""
    block, context = network("class").blocks[0], place((8,))
    wanted = example.recipe.get("block", {}).get("goodness")
    block.goodness = None if wanted is None else make(Kind("goodness").validate(wanted), "block.goodness")
    if block.goodness is not None:
        block.goodness.setup(context)
    loss: LocalLoss = example.make(seed=seed)
    loss.setup(replace(context, goodness=block.goodness))
    further = tuple(getattr(block.goodness, "example_roles", ()))
    x = numbers(N + K * len(further), FEATURES)
    views = Views(x, ("all", *further), (N, *(K for _ in further)), y=torch.arange(N) % K)
    prepared = getattr(loss, "example_views", None)
    return loss, block, views if prepared is None else prepared(views)


def _terms(loss: LocalLoss, block: LocalBlock, views: Views) -> dict[str, Tensor]:
    made: dict[str, Tensor] = loss(block.make((views.x,), views), block, views)
    return made


def _heard(example: Example, seed: int = 0) -> tuple[Objective, Tensor, Views]:
    """Return an objective with goodness and views that it accepts."""
    objective: Objective = example.make(seed=seed)
    objective.setup(place((8,)))
    objective.eval()
    columns = (K,) if objective.accepts == "class" else ()
    for views in (pair(numbers(2 * N, FEATURES)), single(numbers(N, FEATURES))):
        # K labels or real numbers a sample, for an objective that reads them
        y = views.y if "class" in objective.reads else (numbers(N, K, seed=4) > 0).float()
        read = replace(views, y=y)
        goodness = numbers(views.x.shape[0], *columns, seed=1)
        try:
            objective(goodness, read)
        except KeyError as error:
            if "in this pass" not in str(error):  # not the error of `Views.of`, which names another view
                raise
            continue
        return objective, goodness, read
    raise AssertionError("reads views that are neither 'positive' and 'negative' nor 'all'")


def _twice(t: Tensor, views: Views) -> Tensor:
    return torch.cat([part for view in torch.split(t, list(views.sizes)) for part in (view, view)])


def _doubled(views: Views) -> Views:
    assert isinstance(views.x, Tensor)
    assert views.y is not None
    return Views(
        _twice(views.x, views),
        views.roles,
        tuple(2 * size for size in views.sizes),
        y=torch.cat([views.y, views.y]),
        hypothesis=None if views.hypothesis is None else _twice(views.hypothesis, views),
    )


def _with_neutral_rows(views: Views) -> Views:
    """Return the views with three more rows in a neutral view."""
    assert isinstance(views.x, Tensor)
    x = torch.cat([views.x, views.x[:3]])
    return Views(x, (*views.roles, "neutral"), (*views.sizes, 3), y=views.y)


def _placed(example: Example, seed: int = 0) -> tuple[Penalty, LocalBlock]:
    """Return a penalty and a block with an energy, or with the goodness of the class's ``example_recipe``."""
    block, context = network("energy").blocks[0], place((8,))
    wanted = example.recipe.get("block", {}).get("goodness")
    if wanted is not None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            block.goodness = make(Kind("goodness").validate(wanted), "block.goodness")
            block.goodness.setup(context)
    penalty: Penalty = example.make(seed=seed)
    penalty.setup(replace(context, goodness=block.goodness))
    return penalty, block


def _term(penalty: Penalty, block: LocalBlock) -> Tensor:
    x = numbers(2 * N, FEATURES)
    assert block.goodness is not None
    activity = block.body(x)
    handoff = activity if penalty.reads_handoff else activity.detach()
    return penalty(Out(activity, handoff, block.goodness(activity), (x,)), block, pair(x))  # type: ignore[no-any-return]
