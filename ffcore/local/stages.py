"""Makes a local network of a module or a list of stages, for an algorithm.

N samples; K classes.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.blame import reported, running, title
from ffcore.errors import FOREIGN, UserError, a, at_path, closest, expect, shortened
from ffcore.interfaces import (
    Algorithm,
    BlackBox,
    Context,
    LayerContribution,
    Progress,
    Readout,
    Schedule,
    Source,
    Task,
)
from ffcore.interfaces.contribution import NEEDS
from ffcore.interfaces.structure import shapes, tensors
from ffcore.local.box import BoxStage
from ffcore.local.dry_run import set_up_algorithm
from ffcore.local.network import LocalNetwork
from ffcore.local.returned import described
from ffcore.local.rules import Gradient
from ffcore.parts import part
from ffcore.tasks import Classification

Stage = nn.Module | Callable[[Tensor], Any]
"""A module, or a function from rows to rows that becomes a black box."""


def local_network(
    body: nn.Module | Sequence[Stage],
    algorithm: Algorithm,
    example: Any,
    task: Task,
    readouts: Mapping[str, Readout],
    superclass_of: Tensor | None,
    heads: Collection[str],
) -> LocalNetwork:
    """Return the local network of a body. The dry run uses the algorithm's neutral view of the example."""
    try:
        counts = {len(t) for t in tensors(example)}
    except TypeError as error:
        raise UserError(f"example: should be a few samples (N, *shape), such as x[:2]: {error}") from error
    if len(counts) != 1 or not min(counts):
        raise UserError(f"example: should be a few samples; its tensors have {sorted(counts)} rows")
    _refuse_text(heads)
    expect("body", body, (nn.Module, Sequence), "a module, or a list of modules and functions")
    if superclass_of is not None:
        right = f"a tensor ({task.columns},) of int64"
        expect("superclass_of", superclass_of, Tensor, right)
        if superclass_of.shape != (task.columns,) or superclass_of.dtype != torch.int64:
            raise UserError(f"superclass_of: should be {right}, not {described(superclass_of)}")
    with at_path("algorithm"):
        first = next(tensors(example))
        context = Context(
            tuple(first.shape[1:]),
            task.columns,
            task=task,
            superclass_of=superclass_of,
            readouts=(*readouts, *heads),
        )
        refuse_targets(algorithm, task)
        in_shape = set_up_algorithm(algorithm, context)
        algorithm.to(first.device)
        try:
            seen = algorithm.neutral(example).x
        except FOREIGN as error:
            kinds = ", ".join(sorted({str(t.dtype) for t in tensors(example)}))
            given = kinds if isinstance(example, Tensor) else f"{a(type(example).__name__)} of {kinds}"
            raise UserError(f"example: the algorithm does not take {given}: {reported(error)}") from error
    for name in readouts:
        if not isinstance(name, str) or not re.fullmatch(r"[\w-]+", name):
            raise UserError(f"readouts: the name {name!r} should be letters, digits, _ and -")
    module = body if isinstance(body, nn.Module) else nn.Sequential(*_stages(body))
    try:
        local = LocalNetwork(module, in_shape, task, readouts, superclass_of, seen, heads)
        for name in heads:
            if name not in local.readouts:
                raise UserError(f"heads: there is no block {name!r}{closest(name, local.learners)}")
        return local
    except UserError:
        raise
    except FOREIGN as error:
        what = f"a pass with inputs of shape {in_shape} failed"
        if where := _refusal(error, module):
            what = where if module is body else f"stage {where}"
        raise UserError(f"{what}: {reported(error)}") from error


def refuse_targets(algorithm: Algorithm, task: Task) -> None:
    """Raise if an algorithm cannot learn a task.

    Raises:
        ValueError: with the targets that it can learn from.
    """
    name, what = type(algorithm).__name__, type(task).__name__
    if task.target not in algorithm.reads:
        known = " or ".join(sorted(algorithm.reads))
        raise ValueError(f"{name} learns from targets of the sort {known}, not from those of the task {what}")
    if task.features is not None and not algorithm.positions:
        raise ValueError(f"{name} learns one class a sample, not one a position as in the task {what}")


def refuse_sums(contribution: LayerContribution, task: Task, sources: int) -> None:
    """Raise if a contribution does not average the evidence of real numbers.

    Raises:
        ValueError: with contributions that do.
    """
    if task.target != "values":
        return
    made = contribution.combine(torch.ones(sources, 1, task.columns))
    if not torch.allclose(made, torch.ones_like(made)):
        raise ValueError(
            f"{title(contribution)} does not average the predictions of the {sources} sources; for real "
            "numbers use last, mean or readout"
        )


def first_epoch(schedule: Schedule, batches: int) -> Progress:
    """Return the progress of a step in a loop that does not say which epoch it is in: the first of one.

    Raises:
        UserError: when the schedule needs to know.
    """
    if schedule.adaptive:
        raise UserError(
            "learn: the schedule stops blocks by validation; pass progress=Progress(epoch, step, epochs) of "
            "ffcore.interfaces, and call net.schedule.measured(scores, progress) after each validation"
        )
    return Progress(0, batches, 1)


def task_of(task: Any, classes: Any) -> Task:
    """Return the task of a network from the arguments of its constructor.

    Raises:
        UserError: when both or neither are given, or one is wrong.
    """
    if task is not None:
        if classes is not None:
            raise UserError("classes: the task has its own number of classes; leave classes or task out")
        made: Task = part("task", task)
        return made
    if not isinstance(classes, int) or isinstance(classes, bool) or classes < 1:
        raise UserError(f"classes: should be the number of classes, a positive integer, not {classes!r}")
    return Classification(classes)


def _refuse_text(heads: Any) -> None:
    if isinstance(heads, str) or not isinstance(heads, Collection):  # text is a collection of letters
        raise UserError(f"heads: should be a list of names of blocks, not {heads!r}")


def _refusal(error: BaseException, body: nn.Module) -> str:
    """Return the innermost module that an error ended, and the shape of a sample of its input; "" if none."""
    if (found := running(error, body.modules())) is None:
        return ""
    module, args = found
    name = next(name for name, each in body.named_modules() if each is module) or "network"
    own = [each for each in args if isinstance(each, Tensor)]
    shape = f" of shape {', '.join(str(shapes(each)) for each in own)}" if own else ""
    return f"{name} ({type(module).__name__}): does not take an input{shape}"


def _stages(body: Sequence[Stage]) -> Iterator[nn.Module]:
    for i, stage in enumerate(body):
        if isinstance(stage, nn.Module) and not isinstance(stage, BlackBox):
            yield stage
        elif callable(stage):
            name = f"box{i + 1}"
            yield BoxStage(stage, name, f"stage {i}")
        else:
            right = "a module, or a function that is a black box; for others see ffcore.local.BoxStage"
            raise UserError(f"stage {i}: should be {right}; not {shortened(stage)}")


def warn_of_what_stays_outside(local: LocalNetwork) -> None:
    """Warn of trainable parameters that are not in blocks. Those of black boxes are left out."""
    inside = {id(p) for block in local.learners.values() for p in block.parameters()}
    inside |= {id(p) for box in local.boxes for p in box.parameters()}
    outside = [name for name, p in local.body.named_parameters() if p.requires_grad and id(p) not in inside]
    if outside:
        warnings.warn(
            f"these parameters are not in any block and will not learn: {', '.join(outside)}", stacklevel=4
        )


def refuse_needs(contribution: LayerContribution) -> None:
    """Raise if a contribution needs values that a run does not have.

    Raises:
        ValueError: with the value and the known ones.
    """
    needs: Any = contribution.needs
    several = isinstance(needs, Collection) and not isinstance(needs, str)
    if not several or not NEEDS.issuperset(needs):
        given = min(map(str, set(needs) - NEEDS)) if several else needs
        known, name = ", ".join(sorted(NEEDS)), type(contribution).__name__
        raise ValueError(f"needs of {name} has {given!r}; it should be a set of {known}")


def sources_of(algorithm: Algorithm, local: LocalNetwork) -> tuple[Source, ...]:
    """Return the sources of the evidence of an algorithm.

    Raises:
        UserError: they are not a tuple of sources.
    """
    sources: Any = algorithm.sources(local)
    if not isinstance(sources, tuple | list) or not all(isinstance(each, Source) for each in sources):
        what = f"sources of {title(algorithm)} returned {shortened(sources)}"
        raise UserError(f"algorithm: {what}; it should return a tuple of ffcore.interfaces.Source")
    return tuple(sources)


def refuse_no_evidence(sources: Sequence[Source]) -> None:
    """Raise if no block gives evidence, as in a task without targets for blocks without a goodness.

    Raises:
        UserError: nothing can be predicted.
    """
    if not sources:
        raise UserError("nothing is predicted: no block gives evidence, and there is no readout")


def refuse_misfits(algorithm: Algorithm, contribution: LayerContribution, local: LocalNetwork) -> None:
    """Raise if an algorithm cannot read the goodness of a block, or has parameters, which would not learn.

    Raises:
        UserError: with the block or the part; also if no block has an objective.
    """
    for path, component in (("algorithm", algorithm), ("contribution", contribution)):
        if any(p.requires_grad for p in component.parameters()):
            raise UserError(f"{path}: it has parameters, but only parameters of blocks and readouts learn")
    # a frozen block counts too: the blocks before it may learn from its loss
    if local.learning and all(b.loss is None and type(b.rule) is Gradient for b in local.blocks):
        raise UserError(
            f"nothing to learn from: block {local.blocks[0].name} has no objective and no rule, nor has "
            "another; give the blocks an objective, such as 'logistic'"
        )
    for block in local.blocks:
        if block.goodness is not None and block.goodness.form not in algorithm.accepts:
            readable = " or ".join(map(repr, sorted(algorithm.accepts)))
            raise UserError(
                f"block.goodness: block {block.name} gives goodness of form {block.goodness.form!r}, "
                f"algorithm {type(algorithm).__name__} reads form {readable}"
            )
    if not algorithm.hypotheses and any(circuit.needs_hypotheses for circuit in local.circuits):
        raise UserError(
            f"algorithm: the views of {type(algorithm).__name__} have no hypothesis, but a circuit needs one"
        )
