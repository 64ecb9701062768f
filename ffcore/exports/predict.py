"""Prediction as a function of tensors: (samples, weights) → scores, or the activity of every block."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from ffcore.errors import UserError
from ffcore.exports.trace import program, traced
from ffcore.local.stages import refuse_no_evidence
from ffcore.network import Network


class Prediction(nn.Module):
    """Scores (N, K) of a network, or activities, with its floating-point weights as inputs.

    Args:
        net: the network; it is copied.
        activities: whether to return the activities of the blocks, and no scores.

    Attributes:
        state: the weights by name.
        outputs: names of the results.

    Raises:
        UserError: when the network has no evidence for a score.
    """

    def __init__(self, net: Network, activities: bool = False) -> None:
        super().__init__()
        own = copy.deepcopy(net).eval()
        own.local.observers.clear()
        if not activities:
            refuse_no_evidence(own.sources)
        stored = own.state_dict()
        tensors = {**dict(own.named_parameters()), **dict(own.named_buffers())}
        self.state = {
            name: value.detach().clone()
            for name, value in tensors.items()
            if name in stored and value.is_floating_point()
        }
        blocks = [block.name for block in own.local.blocks]
        self.outputs = [f"activity/{name}" for name in blocks] if activities else ["scores"]
        # in a tuple: torch.export replaces the modules of its root by proxies, which are not the blocks
        self._run = (_Run(own, activities),)

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return ["x", *self.state]

    def forward(self, *inputs: Tensor) -> Any:
        """Return the scores, or a list of activities.

        Args:
            inputs: (N, *shape) samples, then the weights in the order of `state`.
        """
        x, *state = inputs
        own = {f"net.{name}": value for name, value in zip(self.state, state, strict=True)}
        return functional_call(self._run[0], own, (x,))

    def program(
        self, x: Tensor, rows: int | None = None, profile: str | None = None
    ) -> torch.export.ExportedProgram:
        """Return the exported program.

        Args:
            x: example samples.
            rows: the number of samples of a batch; None: any.
            profile: the operators to keep to; None: any.
        """
        inputs = [x, *self.state.values()]
        batched = [rows is None, *[False] * len(self.state)]
        if profile is None:
            return program(self, inputs, batched)
        with torch.no_grad():
            made = traced(lambda *given: _listed(self(*given)), inputs, batched, profile)
        return program(made, inputs, batched)


def _listed(made: Any) -> list[Tensor]:
    return list(made) if isinstance(made, list | tuple) else [made]


class _Run(nn.Module):
    def __init__(self, net: Network, activities: bool) -> None:
        super().__init__()
        self.net = net
        self.activities = activities

    def forward(self, x: Tensor) -> Any:
        if not self.activities:
            return scores_of(self.net, x)
        made = self.net.local.outputs(self.net.algorithm.neutral(x))
        return [made[block.name].activity for block in self.net.local.blocks]


def scores_of(net: Network, x: Tensor) -> Tensor:
    """Return the scores that a bundle gives: of real numbers the predictions, in the units of the targets."""
    scores: Tensor = net(x)
    return net.task.predict(scores) if net.task.target == "values" else scores


def refuse(net: Network) -> None:
    """Refuse what no exported program can hold.

    Raises:
        UserError: with the part and the reason.
    """
    if net.local.boxes:
        name = type(net.local.boxes[0].box).__name__
        raise UserError(
            f"export: the black box {name} runs outside torch; put it beside the exported parts yourself"
        )
    if isinstance(net.shape, dict | tuple) and any(isinstance(side, tuple) for side in _sides(net.shape)):
        raise UserError("export: models with several inputs cannot be exported")
    wide = next((n for n, p in net.named_parameters() if p.dtype is not torch.float32), None)
    if wide is not None:
        raise UserError(f"export: {wide} is {net.get_parameter(wide).dtype}; weights should be float32")
    broken = [n for n, p in net.state_dict().items() if isinstance(p, Tensor) and not _finite(p)]
    if broken:
        raise UserError(f"export: {broken[0]} has non-finite values")


def _sides(shape: Any) -> Sequence[Any]:
    return list(shape.values()) if isinstance(shape, dict) else list(shape)


def _finite(value: Tensor) -> bool:
    return not value.is_floating_point() or bool(value.isfinite().all())
