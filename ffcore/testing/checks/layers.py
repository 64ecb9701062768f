"""Checks of bodies and handoffs: plain modules inside and behind a block."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ffcore.errors import UserError
from ffcore.interfaces import ClosedForm, Component, LabelledInput
from ffcore.testing.example import Example
from ffcore.testing.scenery import N, Placed, numbers, place

SHAPES = ((12,), (4, 8, 8))


def place_body(example: Example, seed: int = 0) -> Placed:
    """On the first input that it takes."""
    body, x = next(_placed(example, seed))
    return Placed(body, lambda: _parts(body(x))[0])


def place_handoff(example: Example, seed: int = 0) -> Placed:
    """On the first activity that it takes."""
    return place_body(example, seed)


def check_body_keeps_rows_apart(example: Example) -> None:
    """What it makes of a row depends on that row alone, in evaluation; rows keep their places."""
    _check_rows(example)


def check_body_takes_a_labelled_input_as_its_dense_form(example: Example) -> None:
    """A `LabelledInput`, with and without a scale."""
    for body, x in _placed(example):
        for joined in _labelled(body, x):
            for mine, right in zip(_parts(body(joined)), _parts(body(joined.dense())), strict=True):
                assert_close(mine, right, msg=lambda m: f"a LabelledInput is not its dense form: {m}")


def check_body_makes_a_gradient_for_its_parameters(example: Example) -> None:
    """Each trainable parameter takes part in the activity."""
    for body, x in _placed(example):
        trainable = {name: p for name, p in body.named_parameters() if p.requires_grad}
        if trainable:
            loss = _parts(body(x))[0].square().sum()
            found = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
            idle = [name for name, gradient in zip(trainable, found, strict=True) if gradient is None]
            assert not idle, f"the activity does not depend on {', '.join(idle)}"


def check_body_has_the_gradients_of_autograd(example: Example) -> None:
    """For bodies that are a `ClosedForm`, in float64, and on top of gradients that are there already."""
    for body, x in _placed(example):
        if not isinstance(body, ClosedForm):
            continue
        body.double()
        inputs: list[Tensor] = [x.double(), *_labelled(body, x.double())]
        for given in inputs:
            activity = body(given)
            up = numbers(*activity.shape, seed=3, dtype=torch.float64)
            parameters = [p for p in body.parameters() if p.requires_grad]
            right = torch.autograd.grad(activity, parameters, up)
            for times in (1, 2):
                with torch.no_grad():
                    body.add_gradients(given, activity.detach(), up.clone())
                for parameter, gradient in zip(parameters, right, strict=True):
                    assert_close(
                        parameter.grad, times * gradient, msg=lambda m: f"closed form is not autograd's: {m}"
                    )
            body.zero_grad()


def check_handoff_keeps_rows_apart(example: Example) -> None:
    """What it makes of a row depends on that row alone, in evaluation; rows keep their places."""
    _check_rows(example)


def check_handoff_of_a_silent_row_is_finite(example: Example) -> None:
    """Rows of zeros do happen after a relu."""
    for handoff, x in _placed(example):
        silent = x.clone()
        silent[0] = 0
        assert handoff(silent).isfinite().all(), "a row of zeros becomes infinite or NaN"


def check_handoff_leaves_its_input_alone(example: Example) -> None:
    """The activity is still needed for the goodness's gradient."""
    for handoff, x in _placed(example):
        before = x.clone()
        handoff(x)
        assert_close(x, before, rtol=0, atol=0, msg="the activity has changed")


def _labelled(body: nn.Module, x: Tensor) -> Iterator[LabelledInput]:
    """Three views of ``x`` under labels, without and with a scale."""
    base, code = x.clone(), numbers(3 * N, 3, seed=1, dtype=x.dtype)
    base.view(N, -1)[:, :3] = 0
    yield LabelledInput(base, code)
    yield LabelledInput(base, code, numbers(3 * N, 1, seed=2, dtype=x.dtype))


def _check_rows(example: Example) -> None:
    for module, x in _placed(example):
        for whole, some in zip(_parts(module(x)), _parts(module(x[:2])), strict=True):
            assert len(whole) == N, f"{N} rows become {len(whole)}"
            assert_close(some, whole[:2], msg=lambda m: f"a row depends on the others: {m}")


def _parts(made: Tensor | tuple[Tensor, Tensor]) -> tuple[Tensor, ...]:
    return made if isinstance(made, tuple) else (made,)


def _placed(example: Example, seed: int = 0) -> Iterator[tuple[nn.Module, Tensor]]:
    """In evaluation mode, on a vector and on maps; a shape is refused as the builder lets it be refused."""
    taken, refused = 0, ""
    for shape in SHAPES:
        x = numbers(N, *shape)
        try:
            module: nn.Module = example.make(in_shape=shape, seed=seed)
            module.eval()
            if isinstance(module, Component):
                with torch.no_grad():
                    module.setup(place(tuple(_parts(module(x))[0].shape[1:])))
            module(x)
        except (UserError, ValueError, RuntimeError) as error:
            refused = str(error)
            continue
        taken += 1
        yield module, x
    assert taken, f"takes none of the shapes {SHAPES}: {refused}"
