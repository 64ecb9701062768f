"""Makes local blocks of sub-modules of an existing PyTorch model.

N samples; R rows; K classes.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from ffcore.build.detour import Detour, Inside
from ffcore.errors import UserError, closest, expect
from ffcore.interfaces import Algorithm, LayerContribution, Readout, Schedule, Task
from ffcore.local import HeadLoss, LocalBlock
from ffcore.network import Network

SETTINGS = ("goodness", "objective", "penalties", "handoff", "rule", "per_view", "compile", "loss")


def localize(
    model: nn.Module,
    at: str | Sequence[str] | Mapping[str, Mapping[str, Any] | None],
    *,
    example: Any,
    classes: int | None = None,
    task: Task | str | Mapping[str, Any] | None = None,
    algorithm: Algorithm | str | Mapping[str, Any],
    head: str | None = None,
    readouts: Mapping[str, Readout | str | Mapping[str, Any]] | None = None,
    contribution: LayerContribution | str | Mapping[str, Any] | None = None,
    schedule: Schedule | str | Mapping[str, Any] | None = None,
    superclass_of: Tensor | None = None,
    seed: int = 0,
    **settings: Any,
) -> Network:
    """Make local blocks of chosen sub-modules of a PyTorch model.

    A call of such a sub-module then goes through a local block: its inputs are detached, and in a learning
    pass it learns before the next block runs. The model object and the keys of its ``state_dict`` do not
    change. The other parts of the model (shortcuts, pooling, dropout) run as before. `delocalize` undoes
    this.

    >>> import torch, ffcore
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Sequential(nn.Linear(20, 50), nn.ReLU()), nn.Linear(50, 3))
    >>> net = ffcore.localize(
    ...     model, "0", head="1", example=torch.rand(2, 20), classes=3, algorithm="forward-forward",
    ...     goodness="sum-squares", objective="logistic")
    >>> optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=1e-3)
    >>> list(net.learn(torch.rand(8, 20), torch.arange(8) % 3, optimizers))
    ['1', '0']

    Args:
        model: any module from (R, *shape) to anything; rows come first (``batch_first`` in transformers).
        at: names of sub-modules as in ``model.named_modules()``, or patterns such as ``layers.*`` (the
            children of ``layers``): one, a list, or a mapping from these to further settings, such as
            ``{"stem": {"goodness": "sum-squares"}, "layers.*": None}``.
        example: (N, *shape) a few samples: a tensor, or a tuple or mapping of tensors; the model is
            called as ``model(*example)`` or ``model(**example)``.
        classes: number of classes K, for the classification of samples.
        task: what the targets are, in place of ``classes``; see `Network`.
        algorithm: makes the views of a batch; see `Network`.
        head: the sub-module that returns the model's class logits (N, K), or the scores of another task. It
            learns by cross-entropy, or the loss of that task, on samples without a label in the input, so
            ``model(x)`` classifies.
        readouts: classifiers on the handoffs of blocks, under names that you choose.
        contribution: combines the evidence of several sources into one score per class; None: that of the
            head, or of the task without one.
        schedule: chooses which blocks learn in each step; None: the algorithm's default.
        superclass_of: (K,) super-class of each class, or None.
        seed: seed of all random numbers that the algorithm uses during learning.
        settings: arguments of `LocalBlock` for all blocks: ``goodness``, ``objective``, ``penalties``,
            ``handoff``, ``rule``, ``per_view``, ``loss``; and ``compile=True``. An object is copied for each
            block.

    Returns:
        The network: ``net.learn(x, y, optimizers)``, ``net.predict(x)``; its ``local.body`` is the model.

    Raises:
        UserError: when a name is unknown, the parts do not fit together, or the model does not accept the
            example. The model is then unchanged.

    Warns:
        With the names of parameters that are not in any block and will not learn.
    """
    expect("model", model, nn.Module, "a torch module")
    if isinstance(model, torch.jit.ScriptModule) or hasattr(model, "_orig_mod"):
        how = "scripted" if isinstance(model, torch.jit.ScriptModule) else "compiled"
        raise UserError(f"localize: the model is {how}; give the model itself, with compile=True")
    expect("at", at, (str, Sequence, Mapping), "the name of a sub-module, a pattern, or a list of these")
    chosen = _chosen(model, at, settings)
    if head is not None:
        expect("head", head, str, "the name of a sub-module")
        if head in chosen:
            raise UserError(f"localize: head={head!r} is also in at; a head learns only from the classes")
        refuse_nested([*chosen, *matching(model, head)])
    for name, part in model.named_modules():
        if isinstance(vars(part).get("forward"), Detour):
            raise UserError(
                f"localize: {name} of this model has a local block already; name all sub-modules in one "
                "call, or undo the one before with ffcore.delocalize(model)"
            )
    blocks: dict[str, LocalBlock] = {}
    try:
        for name, own in chosen.items():
            blocks[name] = _through_block(model.get_submodule(name), name, own)
        if head is not None:
            blocks[head] = _through_block(model.get_submodule(head), head, {"loss": HeadLoss()})
            contribution = contribution or {"kind": "readout", "name": block_name(head)}
        net = Network(
            model,
            algorithm,
            example,
            classes,
            task=task,
            readouts=readouts,
            contribution=contribution,
            schedule=schedule,
            superclass_of=superclass_of,
            heads=() if head is None else (block_name(head),),
            seed=seed,
        )
        for name, each in blocks.items():
            if each not in net.local.learners.values():
                raise UserError(f"localize: {name} is never called in a pass of the model")
    except BaseException:  # also KeyboardInterrupt: never leave the model half changed
        _restored(model, model)
        raise
    net.local.register_module("parts", nn.ModuleDict({block_name(n): PartsOf(b) for n, b in blocks.items()}))
    return net


def delocalize(model: nn.Module | Network) -> nn.Module:
    """Remove the local blocks of `localize` and return the model, with its current weights.

    Args:
        model: the model, or the network that `localize` returned. That network cannot be used afterwards.

    Raises:
        UserError: the model has no local blocks.
    """
    expect("model", model, nn.Module, "a torch module, or the network that localize returned")
    body = model.local.body if isinstance(model, Network) else model
    if not any(isinstance(vars(part).get("forward"), Detour) for part in body.modules()):
        raise UserError("delocalize: the model has no local blocks of localize")
    return _restored(model, body)


def _restored(model: nn.Module | Network, body: nn.Module) -> nn.Module:
    changed: list[str] = []
    for part in body.modules():
        if isinstance(detour := vars(part).get("forward"), Detour):
            if type(detour.block.handoff) is not nn.Identity:
                changed.append(detour.inside.name)
            detour.block.removed = True
            del part.forward
            if detour.before is not None:
                part.forward = detour.before
    if changed and isinstance(model, Network):
        warnings.warn(
            f"delocalize: {', '.join(changed)} had a handoff, which is not part of the model and is lost: "
            "model(x) changes; localize with handoff=None to keep its output",
            stacklevel=2,
        )
    return body


def block_name(name: str) -> str:
    """Return the name of a sub-module's block: ``layers.0`` has the block ``layers-0``."""
    return name.replace(".", "-")


class PartsOf(nn.Module):
    """The parts of a block other than the sub-module. They belong to the network, not to the model."""

    def __init__(self, block: LocalBlock) -> None:
        super().__init__()
        self.goodness, self.loss = block.goodness, block.loss
        self.handoff, self.rule = block.handoff, block.rule


def _through_block(module: nn.Module, name: str, settings: Mapping[str, Any]) -> LocalBlock:
    own = {key: copy.deepcopy(value) for key, value in settings.items()}
    compiled = own.pop("compile", False)
    inside = Inside(module, name)
    try:
        block = LocalBlock(inside, **own, name=block_name(name))
    except UserError as error:
        raise UserError(f"localize: {name}: {error}") from error
    if compiled:
        block.compile()
    module.forward = Detour(block, inside)
    return block


def _chosen(
    model: nn.Module,
    at: str | Sequence[str] | Mapping[str, Mapping[str, Any] | None],
    settings: Mapping[str, Any],
) -> dict[str, dict[str, Any]]:
    """Return the settings of each chosen sub-module, by its name."""
    _refuse_unknown(settings, "")
    patterns = {at: None} if isinstance(at, str) else at if isinstance(at, Mapping) else dict.fromkeys(at)
    if not patterns:
        raise UserError("localize: at is empty; name the sub-modules that should become local blocks")
    merged: dict[str, dict[str, Any]] = {}
    for pattern, own in patterns.items():
        if not isinstance(pattern, str):
            raise UserError(f"localize: at: {pattern!r} should be the name of a sub-module, or a pattern")
        if own is not None and not isinstance(own, Mapping):
            raise UserError(
                f"localize: at[{pattern!r}]: should be settings, such as {{'goodness': …}}, not {own!r}"
            )
        _refuse_unknown(own or {}, f" at[{pattern!r}]")
        for name in matching(model, pattern):
            merged[name] = {**settings, **(own or {})}
    refuse_nested(list(merged))
    return merged


def _refuse_unknown(settings: Mapping[str, Any], where: str) -> None:
    for key in settings:
        if key not in SETTINGS:
            raise UserError(f"localize:{where} there is no setting {key!r}{closest(key, SETTINGS)}")


def matching(model: nn.Module, pattern: str) -> list[str]:
    """Return the names of the sub-modules that match a name or pattern.

    Raises:
        UserError: when none matches, or one is a container that is never called.
    """
    known = [name for name, _ in model.named_modules() if name]
    depth = pattern.count(".")  # fnmatch's * also matches dots; "layers.*" should match children only
    names = [name for name in known if name.count(".") == depth and fnmatchcase(name, pattern)]
    if not names:
        shared = dict(model.named_modules(remove_duplicate=False)).get(pattern)
        if shared is not None:
            first = next(name for name, part in model.named_modules() if part is shared)
            raise UserError(f"localize: {pattern} is the same module as {first}; name it once, as {first!r}")
        raise UserError(f"localize: the model has no sub-module {pattern!r}{closest(pattern, known)}")
    for name in names:
        part = model.get_submodule(name)
        if isinstance(part, nn.ModuleList | nn.ModuleDict):
            raise UserError(
                f"localize: {name} is a {type(part).__name__}, a container that is never called; name its "
                f"children: '{name}.*'"
            )
    return names


def refuse_nested(names: Sequence[str]) -> None:
    """Raise if one sub-module is inside another.

    Raises:
        UserError: with both names.
    """
    for outer in names:
        for inner in names:
            if inner.startswith(f"{outer}."):
                raise UserError(f"localize: {inner} is inside {outer}; only one of them can be a block")
