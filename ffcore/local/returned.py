"""Errors about what components return: they name the component, what it returned and what would be right.

The checks stand at the calls, since a step makes them; these functions make the errors. R rows; K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.blame import written_at
from ffcore.errors import UserError, a
from ffcore.interfaces import Readout


def wrong_activity(block: Any, rows: int | None, made: Any) -> UserError:
    """Return the error of a body whose activity, or input of the handoff, has another type or shape."""
    fixed = block.fixed_shape
    right = f"a tensor ({'rows' if rows is None else rows}, …) of floats, a row for each input"
    if fixed is not None and isinstance(made, Tensor) and len(made.shape[1:]) and len(made) == rows:
        right = f"a tensor {(rows, *fixed)} of floats, as in the dry run"
    return _error(block, block.body, made, right)


def wrong_goodness(block: Any, rows: int, made: Any) -> UserError:
    """Return the error of a goodness that is not (R,) for form "energy", or (R, K) for form "class"."""
    form = block.goodness.form
    right = f"({rows},)" if form == "energy" else f"({rows}, classes)"
    return _error(block, block.goodness, made, f"a tensor {right} of real numbers: its form is {form!r}")


def wrong_handoff(block: Any, handed: Tensor, made: Any) -> UserError:
    """Return the error of a handoff that is not a tensor with the rows and the precision of its input."""
    right = f"a tensor ({len(handed)}, …) of {dtype(handed)} with values, a row for each of the activity"
    return _error(block, block.handoff, made, right)


def can_follow(made: Tensor, before: Tensor) -> bool:
    """Return whether a tensor has values, and the rows, the precision and the device of its input."""
    same = made.device == before.device and made.dtype.to_real() == before.dtype.to_real()
    return same and made.is_complex() <= before.is_complex() and len(made) == len(before) and made.numel() > 0


def wrong_terms(block: Any, terms: Any) -> UserError:
    """Return the error of a loss that is not a mapping from names to tensors of one number."""
    if not isinstance(terms, dict):
        return _error(block, block.loss, terms, "a mapping from names to terms")
    name = next(name for name, term in terms.items() if not is_term(term))
    part = _part_of(block.loss, name)
    if isinstance(block.body, Readout):  # whose loss is a method of its own
        return _error(block, block.body, terms[name], "a tensor of one number", method="loss")
    of_name = f" for {name!r}" if part is block.loss else ""
    return _error(block, part, terms[name], f"a tensor of one number, such as a mean over rows{of_name}")


def is_term(term: Any) -> bool:
    """Return whether a value can be a term of a loss: a tensor of one number."""
    return isinstance(term, Tensor) and term.numel() == 1


def wrong_learned(block: Any, rule: nn.Module, blocks: int, terms: Any) -> UserError:
    """Return the error of a learning rule that does not return the terms of each block of its window."""
    right = f"the terms of the loss of each block of the window, a list of {blocks} mappings"
    return _error(block, rule, terms, right, method="learn")


def wrong_views(views: Any) -> UserError:
    """Return the error of an algorithm whose views are not a `Views`."""
    return UserError(f"algorithm: views returned {described(views)}; it should return a Views")


def evidence_of(block: Any, goodness: Tensor) -> Tensor:
    """Return the evidence of a goodness.

    Raises:
        UserError: it does not have a row for each row of the goodness.
    """
    evidence: Any = block.goodness.evidence(goodness)
    if not isinstance(evidence, Tensor) or evidence.shape[:1] != goodness.shape[:1]:
        right = f"a tensor ({len(goodness)}, …), a row for each row of the goodness"
        raise _error(block, block.goodness, evidence, right, method="evidence")
    return evidence


def read_of(calls: Sequence[Tensor], reads: range | None) -> Tensor:
    """Return the mean over the calls in ``reads``; that of the last call without ``reads``."""
    chosen = tuple(calls[reads.start : reads.stop]) if reads is not None else ()
    return torch.stack(chosen).mean(0) if chosen else calls[-1]


def refuse_calls(circuit: Any, path: str) -> None:
    """Raise if a circuit's setup has not set how often it calls its blocks, and which of the calls it reads.

    Raises:
        UserError: with the attribute.
    """
    place = written_at(type(circuit).setup)
    for attribute, kind in (("calls", int), ("reads", range)):
        given = getattr(circuit, attribute, None)
        if type(given) is not kind:
            what = f"{type(circuit).__name__}.{attribute} is {given!r} after its setup"
            raise UserError(f"{path}: {what}; it should be {a(kind.__name__)}{place}")
    calls, reads = circuit.calls, circuit.reads
    if not reads or min(reads[0], reads[-1]) < 0 or max(reads[0], reads[-1]) >= calls:
        what = f"{type(circuit).__name__}.reads is {reads} after its setup, and calls is {calls}"
        raise UserError(f"{path}: {what}; reads should be within range(0, {calls}){place}")


def wrong_derivative(block: Any, goodness: Tensor, made: Any) -> UserError:
    """Return the error of an objective whose closed form is not a loss and a derivative of the goodness."""
    pair = isinstance(made, tuple) and len(made) == 2 and is_term(made[0])
    right = f"a pair: the loss, a tensor of one number, and its derivative, a tensor {tuple(goodness.shape)}"
    given = made[1] if pair else made
    right = f"{right}, as its second value" if pair else right
    return _error(block, block.loss.objective, given, right, method="with_derivative")


def wrong_vjp(block: Any, activity: Tensor, made: Any) -> UserError:
    """Return the error of a goodness whose closed form is not a gradient of the activity."""
    right = f"a tensor {tuple(activity.shape)}, the gradient of the activity, or None"
    return _error(block, block.goodness, made, right, method="vjp")


def wrong_measured(algorithm: Any, evidence: Any, shape: tuple[int, ...]) -> UserError:
    """Return the error of an algorithm whose scores are not a tensor (L, N, K)."""
    right = f"a tensor {shape}: sources, samples, classes"
    of = f" of {type(algorithm).__name__}"
    place = written_at(type(algorithm).scores)
    return UserError(f"algorithm: scores{of} returned {described(evidence)}; it should return {right}{place}")


def wrong_scores(scores: Any, shape: tuple[int, ...]) -> UserError:
    """Return the error of a contribution that does not return scores (N, K)."""
    right = f"a tensor {shape}: samples, classes"
    return UserError(f"contribution: combine returned {described(scores)}; it should return {right}")


def wrong_windows(windows: Any) -> UserError:
    """Return the error of a schedule that does not return a list of ranges."""
    others = [each for each in windows if not isinstance(each, range)] if type(windows) is list else []
    given = f"a list with {described(others[0])}" if others else described(windows)
    return UserError(f"schedule: windows returned {given}; it should return a list of ranges")


def described(value: Any) -> str:
    """Return a few words about a value: its type, or the shape and dtype of a tensor.

    >>> described(None), described([1, 2])
    ('None', 'a list')
    """
    if isinstance(value, Tensor):
        where = " on the device meta, without values" if value.is_meta else ""
        return f"a tensor {tuple(value.shape)} of {dtype(value)}{where}"
    if value is None:
        return "None"
    return a(type(value).__name__)


def dtype(value: Tensor) -> str:
    """Return the name of a tensor's dtype."""
    return str(value.dtype).removeprefix("torch.")


def _part_of(loss: Any, name: str) -> nn.Module:
    """Return the objective or penalty that a term of a loss belongs to; the loss itself without parts."""
    penalties: Any = getattr(loss, "penalties", {})
    part: nn.Module = penalties[name] if name in penalties else getattr(loss, name, loss)
    return part


def _error(block: Any, part: Any, value: Any, right: str, method: str = "forward") -> UserError:
    part = getattr(part, "module", part)  # of a localised model: the sub-module itself
    function = getattr(type(part), method)
    if str(function.__module__).startswith("ffcore.interfaces."):  # the contract's own
        right = f"{right}; the class defines no {method}"
    name, place_of_block = type(part).__name__, f"block {block.name or '(unnamed)'}"
    what = f"{method} of {name} returned {described(value)}"
    return UserError(f"{place_of_block}: {what}; it should return {right}{written_at(function)}")
