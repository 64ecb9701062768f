"""Parts of the predictive circuit: lateral inhibition, prediction of the layer below, and their losses.

    L̃ = relu(L) ⊙ M ⊙ (1 − I) − relu(L) ⊙ I        inhibition within groups, M block diagonal
    e = f(W z_above) − z_below;  loss = mean_r Σ e²  prediction error

R rows; U units; G groups of g units; L (G, g, g); e (R, below).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ffcore.interfaces import Block, LocalLoss, Out, Views
from ffcore_ff.recurrent import Lateral
from ffcore_std.activations import relu_pass_through
from ffcore_std.bodies import add_gradient
from ffcore_std.objectives import CrossEntropy


class Competing(Lateral):
    """Lateral inhibition Σ_i z_i L̃_ij, subtracted from the input of unit j.

    Units inhibit the other units of their group and excite themselves:
    L̃ = relu(L)⊙M⊙(1 − I) − relu(L)⊙I. M is block diagonal, and L is stored as G blocks of g×g. The relu
    keeps the sign of every connection.

    Args:
        units: number of units U.
        group: units per group, g.

    Raises:
        ValueError: when the group size does not divide the units.
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
        # One batched product over groups instead of a masked U×U matrix.
        inhibition = torch.bmm(self._groups(own), torch.relu(self.weight) * self.sign)
        return inhibition.transpose(0, 1).reshape_as(own)

    def add_gradients(self, own: Tensor, up: Tensor) -> None:
        """See `ffcore_ff.recurrent.Lateral.add_gradients`."""
        whole = torch.bmm(self._groups(own).transpose(1, 2), self._groups(up))
        add_gradient(self.weight, whole * self.sign * (self.weight > 0))

    def _groups(self, rows: Tensor) -> Tensor:
        """(R, U) → (G, R, g)."""
        return rows.view(rows.shape[0], *self.weight.shape[:2]).transpose(0, 1)


class Predicting(nn.Module):
    """Predicts the layer below, f(W·above). The activity is the error, prediction minus target.

    Args:
        above: number of inputs.
        below: number of predicted values.
        image: whether f clips to [0, 1]; otherwise it is a relu. The derivative of both is taken as 1.
    """

    def __init__(self, above: int, below: int, image: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(above, below, bias=False)
        nn.init.uniform_(self.linear.weight, 0, 0.05)
        self.image = image

    def forward(self, above: Tensor, target: Tensor) -> Tensor:
        """Return the error, (R, above), (R, below) → (R, below)."""
        return self.predicted(above) - target

    def predicted(self, above: Tensor) -> Tensor:
        """Return the prediction, (R, above) → (R, below)."""
        drive = self.linear(above)
        return _clip(drive) if self.image else relu_pass_through(drive)

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor, target: Tensor) -> None:
        """Gradient of W in closed form; see `ffcore.interfaces.ClosedForm`."""
        add_gradient(self.linear.weight, up.T @ x)

    @torch.no_grad()
    def pulled(self, above: Tensor, target: Tensor) -> Tensor:
        """Return ∂‖e‖²/∂above = 2 e W of each row, (R, above)."""
        error: Tensor = self(above, target)
        return 2 * error @ self.linear.weight


class PredictionError(LocalLoss):
    """The local loss of a `Predicting` block: Σ e², a mean over rows."""

    auxiliary: ClassVar[bool] = True

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective"."""
        return {"objective": out.activity.square().sum(1).mean()}

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor]:
        """Return the loss and its derivative 2 e/R."""
        error = out.activity
        # The same as Σ e², without a tensor of squares.
        total = torch.linalg.vector_norm(error).square()
        return {"objective": total / error.shape[0]}, error * (2 / error.shape[0])


class LabelLoss(LocalLoss):
    """The loss of the classifier: −s Σ_k y_k log softmax(logits)_k, a mean over samples.

    Args:
        strength: s, the value of the clamped label.
    """

    auxiliary: ClassVar[bool] = True

    def __init__(self, strength: float) -> None:
        super().__init__()
        self.strength = strength
        self.objective = CrossEntropy()

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return one term, "objective"."""
        return {"objective": self.strength * self.objective(out.activity, views)}

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor]:
        """Return the loss and its derivative s (softmax(logits) − y)/N."""
        loss, up = self.objective.with_derivative(out.activity, views)
        return {"objective": self.strength * loss}, self.strength * up


def _clip(x: Tensor) -> Tensor:
    """Clip to [0, 1] with a derivative of 1 everywhere, so that values outside still get a gradient."""
    return x + (x.clamp(0, 1) - x).detach()
