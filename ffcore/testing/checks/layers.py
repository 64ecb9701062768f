"""Checks of bodies and handoffs, the modules of a block. N rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.testing import assert_close

from ffcore.errors import UserError
from ffcore.interfaces import ClosedForm, Component, LabelledInput
from ffcore.testing.example import Example
from ffcore.testing.scenery import N, Placed, numbers, place

SHAPES = ((12,), (4, 8, 8), (5, 8))
"""A row of features, an image, and a sequence of vectors; modules that take none of them get tokens."""


def place_body(example: Example, seed: int = 0) -> Placed:
    """Set up a body for the first input shape that it accepts."""
    body, x = next(_placed(example, seed))
    return Placed(body, lambda: _parts(body(x))[0])


def place_handoff(example: Example, seed: int = 0) -> Placed:
    """Set up a handoff for the first activity shape that it accepts."""
    return place_body(example, seed)


def check_body_keeps_rows_apart(example: Example) -> None:
    """In evaluation mode, the output of a row depends only on that row, and the order of rows is kept."""
    _check_rows(example)


def check_body_takes_a_labelled_input_as_its_dense_form(example: Example) -> None:
    """The output for a `LabelledInput` is that for its dense form, with and without a scale."""
    for body, x in _placed(example):
        for joined in _labelled(body, x):
            for made, right in zip(_parts(body(joined)), _parts(body(joined.dense())), strict=True):
                assert_close(made, right, msg=lambda m: f"a LabelledInput is not its dense form: {m}")


def check_body_makes_a_gradient_for_its_parameters(example: Example) -> None:
    """The activity depends on each trainable parameter."""
    for body, x in _placed(example):
        trainable = {name: p for name, p in body.named_parameters() if p.requires_grad}
        if trainable:
            roles = ("all", *getattr(body, "example_roles", ())) if getattr(body, "reads_role", False) else ()
            made = [body(x, role=role) for role in roles] or [body(x)]
            loss = torch.stack([_parts(each)[0].square().sum() for each in made]).sum()
            gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
            idle = [name for name, gradient in zip(trainable, gradients, strict=True) if gradient is None]
            assert not idle, f"the activity does not depend on {', '.join(idle)}"


def check_body_has_the_gradients_of_autograd(example: Example) -> None:
    """`ClosedForm.add_gradients` adds autograd's gradients, in float64, also to existing gradients."""
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
            # The second call adds to existing gradients.
            for times in (1, 2):
                with torch.no_grad():
                    body.add_gradients(given, activity.detach(), up.clone())
                for parameter, gradient in zip(parameters, right, strict=True):
                    assert_close(
                        parameter.grad, times * gradient, msg=lambda m: f"closed form is not autograd's: {m}"
                    )
            body.zero_grad()


def check_handoff_keeps_rows_apart(example: Example) -> None:
    """In evaluation mode, the output of a row depends only on that row, and the order of rows is kept."""
    _check_rows(example)


def check_handoff_of_a_silent_row_is_finite(example: Example) -> None:
    """A row of zeros, as after a relu, stays finite."""
    for handoff, x in _placed(example):
        silent = x.clone()
        silent[0] = 0
        assert handoff(silent).isfinite().all(), "a row of zeros becomes infinite or NaN"


def check_handoff_leaves_its_input_alone(example: Example) -> None:
    """The handoff does not work in place, since the goodness's gradient needs the activity."""
    for handoff, x in _placed(example):
        before = x.clone()
        handoff(x)
        assert_close(x, before, rtol=0, atol=0, msg="the activity has changed")


def _labelled(body: nn.Module, x: Tensor) -> Iterator[LabelledInput]:
    """Yield three views of ``x`` with label codes, without and with a scale."""
    if not x.is_floating_point():
        return
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
    """Yield the module in evaluation mode with an input of each shape that it accepts.

    A module refuses a shape by an exception that the builder turns into a UserError.
    """
    taken, refused = 0, ""
    floats = [numbers(N, *shape) for shape in SHAPES]
    for x in (*floats, torch.arange(5 * N).view(N, 5) % 3):
        shape = tuple(x.shape[1:])
        if taken and not x.is_floating_point():
            continue
        try:
            module: nn.Module = example.make(in_shape=shape, seed=seed)
            module.eval()
            if isinstance(module, Component):
                with torch.no_grad():
                    module.setup(place(tuple(_parts(module(x))[0].shape[1:])))
            module(x)
        except (UserError, ValueError, RuntimeError, IndexError) as error:
            refused = str(error)
            continue
        taken += 1
        yield module, x
    assert taken, f"takes none of the shapes {SHAPES}: {refused}"
