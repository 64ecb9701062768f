"""From a network to what its C code is made of.

L blocks; D inputs; U units; K classes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ffcore.errors import UserError, at_path, one_line
from ffcore.interfaces import Progress, c99
from ffcore.local import LocalBlock
from ffcore.local.loss import GoodnessLoss
from ffcore.local.rules import Gradient
from ffcore.network import Network

Form = TypeVar("Form")

EPOCHS = 1000
"""Number of epochs for which schedules are asked for their windows."""

_TORCH: dict[type[nn.Module], tuple[str, str]] = {
    nn.ReLU: ("return a < 0.0f ? 0.0f : a;", "return h > 0.0f ? 1.0f : 0.0f;"),
    nn.Tanh: ("return tanhf(a);", "return 1.0f - h * h;"),
    nn.Identity: ("return a;", "return 1.0f;"),
}
"""C forms of torch's activations: f(a), and f'(a) as a function of h."""


@dataclass(frozen=True, slots=True, eq=False)
class Layer:
    """A block in C.

    Attributes:
        name: the block's name.
        weight: W (U, D), float32.
        bias: b (U,), or None.
        parameters: the tensors W and b, for the state of an optimiser.
        activation: bodies of f and f'.
        energy: the goodness of form "energy", or None.
        loss: body of the objective of a positive and a negative row, or None.
        handoff: body of the handoff; empty for the identity.
        share: factor of the block's evidence in the scores.
        sums: the sums of a closed form, or None.
    """

    name: str
    weight: np.ndarray[Any, Any]
    bias: np.ndarray[Any, Any] | None
    parameters: tuple[nn.Parameter, ...]
    activation: tuple[str, str]
    energy: c99.Energy | None
    loss: str | None
    handoff: str
    share: float
    sums: c99.RidgeSums | None

    @property
    def units(self) -> int:
        """Number of units U."""
        return int(self.weight.shape[0])

    @property
    def inputs(self) -> int:
        """Number of inputs D."""
        return int(self.weight.shape[1])


@dataclass(frozen=True, slots=True)
class Plan:
    """A network in C.

    Attributes:
        features: number of values of a sample.
        classes: K.
        layers: the blocks in order.
        labels: body of the function that writes a label into a sample; None for a network of one pass.
    """

    features: int
    classes: int
    layers: tuple[Layer, ...]
    labels: str | None

    @property
    def inputs(self) -> int:
        """Number of values of an input of the first block."""
        return self.layers[0].inputs

    @property
    def rows(self) -> int:
        """Number of rows that pass through a layer together."""
        return 1 if self.labels is None else 2


def read(net: Network, learn: bool) -> Plan:
    """Return what the C code of a network is made of.

    Raises:
        UserError: when a part has no C form. The message names the part.
    """
    if net.task.target != "class" or net.task.features is not None:
        raise refusal(f"task {type(net.task).__name__}; classes of samples only")
    if not isinstance(net.shape, tuple):
        raise refusal("samples of several tensors; samples of one tensor only")
    form = form_of(net.algorithm, "algorithm", (c99.Contrast, c99.OnePass))
    _refuse_stages(net)
    shares = _shares(net)
    if learn:
        _refuse_schedule(net, form)
    layers = tuple(_layer(block, shares[block.name], form, learn) for block in net.blocks)
    features, labels = math.prod(net.shape), None
    if isinstance(form, c99.Contrast):
        labels = form.labels.write
        if learn and not form.keeps_samples:
            raise refusal("negatives that are other samples; wrong labels only, or use learn=False")
    elif layers[0].inputs != features:
        raise refusal(f"samples of {features} values for {layers[0].inputs} inputs of the first block")
    return Plan(features, net.classes, layers, labels)


def refusal(what: str) -> UserError:
    """Return the error of a part that has no C form."""
    return UserError(f"c99: {what}")


def form_of(part: Any, where: str, forms: type[Form] | tuple[type[Form], ...], *arguments: Any) -> Form:
    """Return the C form of a component.

    Raises:
        UserError: when it has none: its class does not define ``c99`` itself, or refuses its options.
    """
    if part is None:
        raise refusal(f"{where}: there is none")
    name = type(part).__name__
    if "c99" not in vars(type(part)):
        raise refusal(f"{where} {name} has no C form (a method c99, see ffcore.interfaces.c99)")
    try:
        made = part.c99(*arguments)
    except ValueError as error:
        raise refusal(f"{where} {name}: {one_line(error)}") from error
    if not isinstance(made, forms):
        raise refusal(f"{where} {name} has another C form, {type(made).__name__}, which does not fit here")
    return made


def _layer(block: LocalBlock, share: float, form: Any, learn: bool) -> Layer:
    where = f"block {block.name}"
    dense = _dense(block, where)
    linear = dense.linear
    if type(linear) is not nn.Linear or "weight" not in dict(linear.named_parameters(recurse=False)):
        raise refusal(f"{where}: a weight that is computed, as by pruning; plain nn.Linear only")
    if block.hooked:
        raise refusal(f"{where}: a layer with hooks; plain nn.Linear only")
    assert block.info is not None, "set up by its network"
    if math.prod(block.info.in_shape) != linear.in_features:
        raise refusal(f"{where}: a layer of {linear.in_features} inputs for samples of {block.info.in_shape}")
    energy, loss, sums = None, None, None
    needed = learn or share != 0
    if isinstance(form, c99.Contrast):
        if needed:
            energy = form_of(block.goodness, f"{where}: goodness", c99.Energy)
        if learn:
            loss = _loss(block, where)
    else:
        if share != 0:
            form_of(block.goodness, f"{where}: goodness", c99.Logits)
        if learn:
            sums = form_of(
                block.rule, f"{where}: rule", c99.RidgeSums, linear.in_features, linear.out_features
            )
    if learn and (block.frozen or not all(p.requires_grad for p in linear.parameters())):
        raise refusal(f"{where}: is frozen; all blocks learn in C, or use learn=False")
    bias = None if linear.bias is None else _numbers(linear.bias, where)
    handoff = "" if type(block.handoff) is nn.Identity else _handoff(block, where)
    weight = _numbers(linear.weight, where)
    parameters = tuple(linear.parameters())
    activation = dense.value, dense.slope
    return Layer(block.name, weight, bias, parameters, activation, energy, loss, handoff, share, sums)


def _handoff(block: LocalBlock, where: str) -> str:
    return form_of(block.handoff, f"{where}: handoff", c99.InPlace).change


def _loss(block: LocalBlock, where: str) -> str:
    """Return the body of the objective."""
    if type(block.rule) is not Gradient:
        raise refusal(f"{where}: rule {type(block.rule).__name__}; gradients only, or use learn=False")
    loss = block.loss
    if type(loss) is not GoodnessLoss:
        what = "no objective" if loss is None else type(loss).__name__
        raise refusal(f"{where}: loss: {what}; an objective of the goodness only, or use learn=False")
    for name, penalty in loss.penalties.items():
        kind = type(penalty).__name__
        raise refusal(f"{where}: penalty {name}, {kind}; no penalties, or use learn=False")
    return form_of(loss.objective, f"{where}: objective", c99.ContrastLoss).loss


def _dense(block: LocalBlock, where: str) -> c99.Dense:
    """Return the dense layer of a body: of a component, or of torch's Linear and an activation."""
    body = block.body
    if "c99" in vars(type(body)):
        return form_of(body, f"{where}: body", c99.Dense)
    parts = [*body] if type(body) is nn.Sequential else [body]
    flat = [part for part in parts if not (type(part) is nn.Flatten and part.start_dim == 1)]
    if flat and type(flat[0]) is nn.Linear and len(flat) <= 2:
        value, slope = _TORCH.get(type(flat[-1]), ("", "")) if len(flat) == 2 else _TORCH[nn.Identity]
        if value:
            return c99.Dense(flat[0], value, slope)
    inside = ", ".join(type(part).__name__ for part in parts)
    raise refusal(f"{where}: a {inside} body; dense bodies only, such as Linear with ReLU or Tanh")


def _numbers(parameter: Tensor, where: str) -> np.ndarray[Any, Any]:
    """Return a parameter in float32.

    Raises:
        UserError: when a value is non-finite.
    """
    single: np.ndarray[Any, Any] = parameter.detach().to("cpu", torch.float32).numpy().copy()
    if not np.isfinite(single).all():
        raise refusal(f"{where}: its weights are non-finite")
    return single


def _refuse_stages(net: Network) -> None:
    for number, stage in enumerate(net.local.stages, 1):
        if not isinstance(stage, LocalBlock) and type(stage) not in (nn.Flatten, nn.Identity):
            raise refusal(f"stage {number}: a {type(stage).__name__}; a list of dense blocks only")


def _shares(net: Network) -> dict[str, float]:
    """Return the factor of each block's evidence in the scores, 0 for blocks without evidence."""
    count, kind = len(net.sources), type(net.contribution).__name__
    if not count:
        raise refusal("no block gives evidence, so that nothing is predicted")
    one_hot = torch.eye(count).unsqueeze(2).expand(count, count, net.classes)
    tried = torch.randn(count, 3, net.classes, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        weights = net.combine(one_hot)[:, 0].float()
        right = torch.einsum("l,lnk->nk", weights, tried)
        linear = torch.allclose(net.combine(tried).float(), right, rtol=1e-4, atol=1e-5)
    if not linear:
        raise refusal(f"contribution {kind}; weighted sums of the blocks' evidence only")
    shares = {block.name: 0.0 for block in net.blocks}
    for source, weight in zip(net.sources, weights.tolist(), strict=True):
        if source.role != "block" and weight != 0:
            raise refusal(f"readout {source.name} in the scores; blocks only")
        if source.role == "block":
            shares[source.name] = weight
    return shares


def _refuse_schedule(net: Network, form: Any) -> None:
    """Raise if blocks do not learn in C as they do in the network."""
    if readouts := net.local.readouts:
        raise refusal(f"readout {readouts[0]}; readouts do not learn in C, use learn=False")
    count = len(net.local.learning)
    kind = type(net.schedule).__name__
    with at_path(f"c99: schedule {kind}"):
        every = [net.schedule.windows(Progress(epoch, epoch, EPOCHS), count) for epoch in range(EPOCHS)]
    seen = [every[i] for i in range(EPOCHS) if not i or every[i] != every[i - 1]]
    each = [range(i, i + 1) for i in range(count)]
    if isinstance(form, c99.Contrast):
        if [list(windows) for windows in seen] != [each]:
            raise refusal(f"schedule {kind}; all blocks learn in every step (joint), or use learn=False")
    elif [list(windows) for windows in seen if windows] != [[window] for window in each]:
        raise refusal(f"schedule {kind}; closed forms are solved one block after another (greedy)")
