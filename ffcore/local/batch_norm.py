"""Batch norm with the statistics of the global batch, when several ranks share it.

    y = (x − μ)/√(σ² + ε) · w + b      μ, σ² of a channel over the rows and positions of all ranks
    μ = Σ_r m_r μ_r / M                σ² = Σ_r m_r (σ_r² + (μ_r − μ)²) / M
    ∂/∂x = w/√(σ² + ε) · (g − S₁/M − x̂ S₂/M)
    S₁ = Σ_r n_r Σ g / n               S₂ = Σ_r n_r Σ g x̂ / n

m_r values of a channel on rank r, M = Σ_r m_r; g the gradient of y, x̂ = (x − μ)/√(σ² + ε); n samples (or
targets) on this rank, n_r on rank r. The losses are means over each rank's samples, which `BlockOptimizer`
weights by n_r/N: with the weights n_r/n the gradients of all ranks together are those of the global batch.

A norm exchanges 2 C + 1 numbers a rank in its forward pass and 2 C in its backward pass, C channels. All
ranks run the same blocks, and autograd runs the nodes of a graph in one order, so the exchanges match.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ffcore.interfaces import Ranks, ranks
from ffcore.local.current import current

KINDS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def synchronise(module: nn.Module) -> None:
    """Let all batch norms in a module use the statistics of the global batch, where `ranks` share a batch.

    Also subclasses with a ``forward`` of their own, if they call ``torch.nn.functional.batch_norm``. The
    state dict keeps its keys, and on a single rank nothing changes. Not ``nn.SyncBatchNorm``, which sums by
    itself, with the same weight for all ranks.

    Args:
        module: the module, changed in place; `restore` undoes it.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from ffcore.local.batch_norm import restore, synchronise
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
        >>> synchronise(model)
        >>> model(torch.rand(4, 3)).shape, list(model.state_dict())[2:4]
        (torch.Size([4, 2]), ['1.weight', '1.bias'])
        >>> restore(model)
    """
    for norm in _norms(module):
        if not isinstance(vars(norm).get("forward"), _Synchronised):
            norm.forward = _Synchronised(norm, vars(norm).get("forward"))


def restore(module: nn.Module) -> None:
    """Undo `synchronise`."""
    for norm in _norms(module):
        if isinstance(made := vars(norm).get("forward"), _Synchronised):
            del norm.forward
            if made.before is not None:
                norm.forward = made.before


def without_statistics(module: nn.Module) -> bool:
    """Return whether a batch norm uses the statistics of the batch in evaluation mode too."""
    return any(norm.running_mean is None for norm in _norms(module))


def batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Return the batch norm of this rank's rows; as ``torch.nn.functional.batch_norm`` on a single rank.

    Args:
        x: (R, C, *positions), the rows of this rank.
        running_mean: (C,), moved by ``momentum`` towards μ; None: it is not kept.
        running_var: (C,), moved towards σ² M/(M − 1).
        weight: (C,) w, or None for 1.
        bias: (C,) b, or None for 0.
        training: whether to use the statistics of the batch.
        momentum: weight of a batch in the running statistics.
        eps: ε.

    Raises:
        ValueError: the global batch has a single value per channel; raised on all ranks.
    """
    group = ranks()
    if not training or group.world == 1 or not group.batch_norm:
        return F.batch_norm(x, running_mean, running_var, weight, bias, training, momentum, eps)
    mean, var, count = _statistics(x, group)
    y = cast(Tensor, _Norm.apply(x, weight, bias, mean, var, count, group, _samples(x), eps))  # type: ignore[no-untyped-call]
    if running_mean is not None and running_var is not None:
        with torch.no_grad():
            running_mean.mul_(1 - momentum).add_(mean.to(running_mean), alpha=momentum)
            unbiased = var * (count / (count - 1))
            running_var.mul_(1 - momentum).add_(unbiased.to(running_var), alpha=momentum)
    return y


@torch.no_grad()
def _statistics(x: Tensor, group: Ranks) -> tuple[Tensor, Tensor, Tensor]:
    """Return μ and σ², (C,) float64, and M."""
    channels = x.shape[1]
    values = x.numel() // channels
    precise = x.to(torch.promote_types(x.dtype, torch.float32))
    var, mean = torch.var_mean(precise, [0, *range(2, x.dim())], correction=0)
    # A row for each rank, of which this one fills its own: the sum gathers them, the same on all ranks.
    table = x.new_zeros(group.world, 2 * channels + 1, dtype=torch.float64)
    own = table[group.rank]
    own[:channels], own[channels:-1] = mean, var
    own[-1:].fill_(values)  # on the device: a copy would wait for it
    group.sum(table)
    counts, means, vars_ = table[:, -1:], table[:, :channels], table[:, channels:-1]
    count = counts.sum()
    # Reading a value waits for a GPU; with more values on this rank there is no need.
    if (values == 1 or group.idle) and int(count) == 1:
        raise ValueError(
            f"Expected more than 1 value per channel when training, got input size {x.size()} on all ranks "
            "together"
        )
    whole = (counts * means).sum(0) / count
    return whole, (counts * (vars_ + (means - whole).square())).sum(0) / count, count


def _samples(x: Tensor) -> int:
    """Return the weight of this rank in the sum of gradients; outside a pass, as of readouts, its rows."""
    here = current()
    if here is None:
        return x.shape[0]
    return here.views.samples if here.views.targets is None else here.views.targets


class _Norm(torch.autograd.Function):
    """The norm with given statistics, and the gradient through the statistics of all ranks."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor | None,
        bias: Tensor | None,
        mean: Tensor,
        var: Tensor,
        count: Tensor,
        group: Ranks,
        samples: int,
        eps: float,
    ) -> Tensor:
        precise = torch.promote_types(x.dtype, torch.float32) if weight is None else weight.dtype
        mean, var = mean.to(precise), var.to(precise)
        ctx.save_for_backward(x, weight, mean, var, count)
        # the gradient is computed in another thread on a GPU, which does not see the context's ranks
        ctx.group, ctx.samples, ctx.eps = group, max(1, samples), eps
        return F.batch_norm(x, mean, var, weight, bias, eps=eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, var, count = ctx.saved_tensors
        scale = torch.ones_like(mean) if weight is None else weight
        # With constant statistics: (g w/√(σ² + ε), Σ g x̂, Σ g)
        constant, of_scale, total = torch.ops.aten.native_batch_norm_backward(
            gradient, x, scale, mean, var, None, None, False, ctx.eps, [True, True, True]
        )
        made: Tensor | None = None
        if ctx.needs_input_grad[0]:  # the same on all ranks, as is the graph
            sums = torch.stack([total, of_scale]).double().mul_(ctx.samples)
            sums = ctx.group.sum(sums).div_(ctx.samples * count)
            each = (scale / (var + ctx.eps).sqrt()).double()
            shift, slope = (-each * sums).to(mean)
            made = constant.add_(F.batch_norm(x, mean, var, slope, shift, eps=ctx.eps))
        wanted = ctx.needs_input_grad
        return made, of_scale if wanted[1] else None, total if wanted[2] else None, *[None] * 6


class _Redirect(TorchFunctionMode):
    """Calls `batch_norm` in place of torch's function."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func is F.batch_norm:
            func = batch_norm
        return func(*args, **(kwargs or {}))


class _Synchronised:
    """The ``forward`` of one batch norm. An object, so that copies of the module refer to the copy.

    Args:
        norm: the module.
        before: a ``forward`` that was set on the module itself; None: that of its class.
    """

    def __init__(self, norm: nn.Module, before: Any) -> None:
        self.norm, self.before = norm, before

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        inner = self.before or type(self.norm).forward.__get__(self.norm)
        if ranks().world == 1:
            return inner(*args, **kwargs)
        with _Redirect():
            return inner(*args, **kwargs)


def _norms(module: nn.Module) -> list[nn.Module]:
    return [part for part in module.modules() if isinstance(part, KINDS)]
