"""Checks of tasks. N samples; T positions; K columns."""

from __future__ import annotations

import torch
from torch import Tensor

from ffcore.errors import UserError
from ffcore.interfaces import Task
from ffcore.testing.example import Example
from ffcore.testing.scenery import N, numbers

_POSITIONS = {None: (), -1: (5,), 0: (5, 5)}


def check_task_accepts_its_targets_and_refuses_others(example: Example) -> None:
    """Targets of the sort that it states are accepted; too few of them, and complex ones, are refused."""
    task, _, y = _given(example)
    task.refuse(y, N)
    for wrong, what in ((y[:-1], "too few targets"), (y.to(torch.complex64), "complex targets")):
        try:
            task.refuse(wrong, N)
        except UserError:
            continue
        raise AssertionError(f"{what} are accepted")


def check_task_loss_is_a_scalar_with_a_gradient(example: Example) -> None:
    """The loss of readouts and heads is a finite scalar, and depends on the scores."""
    task, scores, y = _given(example)
    if task.target == "none":
        return
    scores.requires_grad_()
    loss = task.loss(*task.rows(scores, y))
    assert loss.shape == (), f"the loss has the shape {tuple(loss.shape)}; it should be a scalar"
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient.isfinite().all(), "the gradient is not finite"
    assert gradient.any(), "the loss does not depend on the scores"


def check_task_predictions_have_a_row_for_each_sample(example: Example) -> None:
    """Predictions of scores (N, *P, K) have N rows."""
    task, scores, _ = _given(example)
    assert len(task.predict(scores)) == N


def check_task_headline_is_a_measure(example: Example) -> None:
    """Each measure gives a number for rows of scores and targets; the headline is one of them."""
    task, scores, y = _given(example)
    measures = task.precise_measures()
    assert task.headline in measures or task.target == "none", (
        f"{task.headline!r} is not one of {', '.join(measures)}"
    )
    for name, measure in measures.items():
        measure.update(*task.measurable(scores, y))
        assert torch.as_tensor(measure.compute()).isfinite().all(), f"{name} is not finite"


def check_task_options_make_it_again(example: Example) -> None:
    """`Task.options` are the constructor's arguments: a checkpoint stores them."""
    task, _, _ = _given(example)
    again = type(task)(**task.options())
    assert (again.columns, again.features) == (task.columns, task.features)


def _given(example: Example) -> tuple[Task, Tensor, Tensor]:
    """Return a task, scores and targets."""
    task: Task = example.make()
    positions = _POSITIONS[task.features]
    scores = numbers(N, *positions, task.columns)
    if task.target == "class":
        return task, scores, torch.arange(scores[..., 0].numel()).view(N, *positions) % task.columns
    if task.target == "labels":
        return task, scores, (torch.arange(N).unsqueeze(1) + torch.arange(task.columns)) % 2
    return task, scores, numbers(N, 0 if task.target == "none" else task.columns, seed=1)
