"""The step of a block optimiser in C, and its state.

θ a parameter; g its gradient; η learning rate; λ weight decay; t steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ffcore.errors import expect
from ffcore.exports.c99.read import Layer, refusal
from ffcore.interfaces.c99 import literal
from ffcore.local import BlockOptimizers
from ffcore.local.block_optimizer import BlockOptimizer

_READ = {
    torch.optim.SGD: ("momentum", "dampening", "weight_decay", "nesterov"),
    torch.optim.Adam: ("betas", "eps", "weight_decay"),
    torch.optim.AdamW: ("betas", "eps", "weight_decay"),
}
_STATES = {torch.optim.SGD: ("momentum_buffer",)}
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True, eq=False)
class Stepping:
    """An optimiser in C.

    Attributes:
        title: its name and options, for people.
        code: the type ``Step``, and the functions ``begin_step`` and ``step``.
        rates: η of each block.
        steps: number of steps that each block has made.
        state: (S, weights) S numbers for each weight, in the order of the weights.
    """

    title: str
    code: str
    rates: tuple[float, ...]
    steps: tuple[int, ...]
    state: np.ndarray[Any, Any]


def stepping(optimizers: object, layers: Sequence[Layer], name: str) -> Stepping:
    """Return the optimisers of a network in C.

    Raises:
        UserError: when a block has none, one of another kind, or one with options that have no C form.
    """
    expect("optimizer", optimizers, BlockOptimizers, "made by ffcore.optimizers(net, …)")
    assert isinstance(optimizers, BlockOptimizers)
    found, rates, steps, states = [], [], [], []
    for layer in layers:
        block = optimizers.blocks.get(layer.name)
        held = {id(p) for p in block.parameters} if block is not None else set()
        if block is None or not held.issuperset(map(id, layer.parameters)):
            raise refusal(f"block {layer.name}: the optimiser is that of another network")
        kind, options, rate = _options(block, layer.name)
        found.append((kind, options))
        rates.append(rate)
        of_block = [_state(block.optimizer.state.get(p, {}), p, kind, options) for p in layer.parameters]
        counts = {count for count, _ in of_block}
        if len(counts) > 1:
            raise refusal(
                f"block {layer.name}: parameters that have made {sorted(counts)} steps; equal numbers only"
            )
        steps.append(max(counts))
        states.append(np.concatenate([state for _, state in of_block], axis=1))
    if any(each != found[0] for each in found):
        raise refusal("optimiser: blocks differ in more than their learning rate; one optimiser for all only")
    kind, options = found[0]
    title = f"{kind.__name__} with {', '.join(f'{key} {value}' for key, value in options.items())}"
    code = (_sgd if kind is torch.optim.SGD else _adam)(kind, options).replace("@name@", name)
    return Stepping(title, code, tuple(rates), tuple(steps), np.concatenate(states, axis=1))


def _options(each: BlockOptimizer, name: str) -> tuple[type[Any], dict[str, Any], float]:
    """Return the class of an optimiser, its options and its learning rate."""
    where, kind = f"block {name}: optimiser", type(each.optimizer)
    if each.gathers or each.clip is not None or each.clip_value is not None:
        raise refusal(f"{where}: clipping or accumulation; plain steps only")
    if kind not in _READ:
        raise refusal(f"{where} {kind.__name__}; SGD, Adam and AdamW only")
    groups = each.optimizer.param_groups
    if len(groups) != 1:
        raise refusal(f"{where}: {len(groups)} groups of parameters; one only")
    (group,) = groups
    for option in ("amsgrad", "maximize", "differentiable"):
        if group.get(option):
            raise refusal(f"{where} {kind.__name__}: {option}; without it only")
    return kind, {key: _plain(group[key]) for key in _READ[kind]}, float(group["lr"])


def _plain(value: Any) -> Any:
    """Return an option as numbers: torch takes tensors, too."""
    if isinstance(value, tuple | list):
        return tuple(map(float, value))
    return value if isinstance(value, bool) else float(value)


def _state(
    state: Mapping[str, Any], parameter: Tensor, kind: type[Any], options: Mapping[str, Any]
) -> tuple[int, np.ndarray[Any, Any]]:
    """Return the number of steps, and S numbers for each element of a parameter."""
    if kind is torch.optim.SGD and not options["momentum"]:
        return 0, np.zeros((0, parameter.numel()), np.float32)
    names = _STATES.get(kind, _MOMENTS)
    made: list[np.ndarray[Any, Any]] = []
    for each in names:
        kept = state.get(each)
        value = torch.zeros_like(parameter) if kept is None else kept
        made.append(value.detach().to("cpu", torch.float32).flatten().numpy())
    begun = state.get(names[0]) is not None
    return int(state.get("step", 1 if begun else 0)), np.stack(made)


def _decayed(options: Mapping[str, Any]) -> str:
    decay = options["weight_decay"]
    return f"    gradient += {literal(decay)} * *weight;\n" if decay else ""


_BEGIN = """
static Step begin_step(uint32_t block)
{
    Step now;
    now.rate = @name@_rate[block];
%s    ++@name@_steps[block];
    return now;
}

static inline void step(uint32_t at, float gradient, const Step *now)
{
    float *weight = &@name@_weights[at];
%s}"""


def _sgd(kind: type[Any], options: Mapping[str, Any]) -> str:
    momentum, dampening = options["momentum"], options["dampening"]
    if not momentum:
        return "\n".join(
            [
                "/* SGD: a weight w changes by -rate * gradient. */",
                "typedef struct {\n    float rate;\n} Step;",
                _BEGIN % ("", _decayed(options) + "    *weight -= now->rate * gradient;\n"),
            ]
        )
    mu, rest = literal(momentum), literal(1 - dampening)
    kept = "gradient" if rest == "1.0f" else f"{rest} * gradient"
    lines = [
        f"    float *m = &@name@_state[at];\n{_decayed(options)}",
        f"    *m = now->first ? gradient : {mu} * *m + {kept};\n",
        f"    *weight -= now->rate * {f'(gradient + {mu} * *m)' if options['nesterov'] else '*m'};\n",
    ]
    return "\n".join(
        [
            "/* SGD with momentum: m is the gradient in the first step, then a running sum of them. */",
            "typedef struct {\n    float rate;\n    int first; /* whether the block has made no step yet */\n"
            "} Step;",
            _BEGIN % ("    now.first = @name@_steps[block] == 0u;\n", "".join(lines)),
        ]
    )


def _adam(kind: type[Any], options: Mapping[str, Any]) -> str:
    (beta1, beta2), eps, decay = options["betas"], options["eps"], options["weight_decay"]
    decoupled = kind is torch.optim.AdamW and decay
    log1, log2 = (literal(math.log(beta) if beta else -100.0) for beta in (beta1, beta2))
    begin = [
        "    const float t = (float)@name@_steps[block] + 1.0f;\n",
        "    /* 1 - beta^t, without the cancellation of a difference */\n",
        f"    now.rate /= -expm1f(t * {log1});\n",
        f"    now.root = sqrtf(-expm1f(t * {log2}));\n",
    ]
    if decoupled:
        begin.insert(0, f"    now.keep = 1.0f - now.rate * {literal(decay)};\n")
    body = [
        "    float *m = &@name@_state[2u * at]; /* running means of the gradient, and of its square */\n",
        "    float *v = m + 1;\n",
        "    *weight *= now->keep;\n"
        if decoupled
        else ("" if kind is torch.optim.AdamW else _decayed(options)),
        f"    *m += {literal(1 - beta1)} * (gradient - *m);\n",
        f"    *v = {literal(beta2)} * *v + {literal(1 - beta2)} * gradient * gradient;\n",
        f"    *weight -= now->rate * *m / (sqrtf(*v) / now->root + {literal(eps)});\n",
    ]
    keep = "    float keep; /* factor of the weight decay */\n" if decoupled else ""
    return "\n".join(
        [
            f"/* {kind.__name__}: mean of the gradient, divided by the root of the mean of its square. */",
            "typedef struct {\n    float rate; /* with the correction of m for its start at 0 */\n"
            f"    float root; /* the correction of the root of v */\n{keep}}} Step;",
            _BEGIN % ("".join(begin), "".join(body)),
        ]
    )
