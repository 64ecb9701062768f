"""Bodies of the two circuits: leaky layers whose units compete, and layers that predict what lies below.

R rows; U units; G groups of g units.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffcore.interfaces import Block, LocalLoss, Out, Views
from ffcore_ff.recurrent import Lateral
from ffcore_std.activations import relu_pass_through
from ffcore_std.bodies import add_gradient
from ffcore_std.objectives import CrossEntropy


class Competing(Lateral):
    """Σ_i z_i L̃_ij, taken off the input of unit j: units inhibit their group and excite themselves.

    L̃ = relu(L)⊙M⊙(1 − I) − relu(L)⊙I, where M is block diagonal, so that L is kept as G blocks of g×g. What
    is inhibition between units can never excite.

    Args:
        units: number of units U.
        group: units of a group, g.

    Raises:
        ValueError: when groups do not divide the units.
    """

    sign: Tensor

    def __init__(self, units: int, group: int) -> None:
        super().__init__()
        if units % group:
            raise ValueError(f"group: {group} does not divide {units} units of a layer")
        self.weight = nn.Parameter(torch.rand(units // group, group, group) * 0.05)
        self.register_buffer("sign", 1 - 2 * torch.eye(group), persistent=False)

    def forward(self, own: Tensor) -> Tensor:
        """(R, U) → (R, U)."""
        inhibition = torch.bmm(self._groups(own), torch.relu(self.weight) * self.sign)
        return inhibition.transpose(0, 1).reshape_as(own)

    def add_gradients(self, own: Tensor, up: Tensor) -> None:
        """See `ffcore_ff.recurrent.Lateral.add_gradients`."""
        whole = torch.bmm(self._groups(own).transpose(1, 2), self._groups(up))
        add_gradient(self.weight, whole * self.sign * (self.weight > 0))

    def _groups(self, rows: Tensor) -> Tensor:
        """(R, U) → (G, R, g)."""
        return rows.view(len(rows), *self.weight.shape[:2]).transpose(0, 1)


class Predicting(nn.Module):
    """What lies below, predicted: f(W·above); the activity is the error, prediction less target.

    Args:
        above: inputs.
        below: what is predicted.
        image: whether f clips to [0, 1], else it is a relu; the derivative of both is taken as 1.
    """

    def __init__(self, above: int, below: int, image: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(above, below, bias=False)
        nn.init.uniform_(self.linear.weight, 0, 0.05)
        self.image = image

    def forward(self, above: Tensor, target: Tensor) -> Tensor:
        """(R, above), (R, below) → (R, below)."""
        return self.predicted(above) - target

    def predicted(self, above: Tensor) -> Tensor:
        """(R, above) → (R, below)."""
        drive = self.linear(above)
        return _clip(drive) if self.image else relu_pass_through(drive)

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor, target: Tensor) -> None:
        """Gradient of W in closed form; see `ffcore.interfaces.ClosedForm`."""
        add_gradient(self.linear.weight, up.T @ x)

    @torch.no_grad()
    def pulled(self, above: Tensor, target: Tensor) -> Tensor:
        """∂‖e‖²/∂above of each row, (R, above): 2 e W."""
        error: Tensor = self(above, target)
        return 2 * error @ self.linear.weight


class PredictionError(LocalLoss):
    """Σ e², a mean over rows: the local loss of a `Predicting` block."""

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """One term, called "objective"."""
        return {"objective": out.activity.square().sum(1).mean()}

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor]:
        """The derivative is 2 e/R."""
        error = out.activity
        total = torch.linalg.vector_norm(error).square()
        return {"objective": total / len(error)}, error * (2 / len(error))


class LabelLoss(LocalLoss):
    """−s Σ_k y_k log softmax(logits)_k, a mean over the samples under their own labels.

    Args:
        strength: s, the strength of the label that the circuit is clamped to.
    """

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.objective = CrossEntropy()

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """One term, called "objective"."""
        return {"objective": self.strength * self.objective(out.activity, views)}

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor]:
        """The derivative is s (softmax(logits) − y)/N."""
        loss, up = self.objective.with_derivative(out.activity, views)
        return {"objective": self.strength * loss}, self.strength * up


def _clip(x: Tensor) -> Tensor:
    """Numbers in [0, 1], with a derivative of 1 everywhere, so that a pixel beyond it finds its way back."""
    return x + (x.clamp(0, 1) - x).detach()
