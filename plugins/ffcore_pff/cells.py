"""Parts of the predictive circuit: lateral inhibition, prediction of the layer below, and their losses.

    L̃ = relu(L) ⊙ M ⊙ (1 − I) − relu(L) ⊙ I        inhibition within groups, M block diagonal
    e = f(W z_above) − z_below;  loss = mean_r Σ e²  prediction error

R rows; U units; G groups of g units; L (G, g, g); e (R, below).
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ffcore.interfaces import Block, Context, LocalLoss, Out, Penalty, Views
from ffcore.options import NonNegative
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
        clipped: whether the derivative of clipping is 0 outside of [0, 1].
    """

    def __init__(self, above: int, below: int, image: bool, clipped: bool = False) -> None:
        super().__init__()
        self.linear = nn.Linear(above, below, bias=False)
        nn.init.uniform_(self.linear.weight, 0, 0.05)
        self.image, self.clipped = image, image and clipped

    def forward(self, above: Tensor, target: Tensor) -> Tensor:
        """Return the error, (R, above), (R, below) → (R, below)."""
        return self.predicted(above) - target

    def predicted(self, above: Tensor) -> Tensor:
        """Return the prediction, (R, above) → (R, below)."""
        drive: Tensor = self.linear(above)
        if self.clipped:
            return drive.clamp(0, 1)
        return _clip(drive) if self.image else relu_pass_through(drive)

    def add_gradients(self, x: Tensor, activity: Tensor, up: Tensor, target: Tensor) -> None:
        """Gradient of W in closed form; see `ffcore.interfaces.ClosedForm`."""
        if self.clipped:
            drive = self.linear(x)  # again: a clipped value does not show in the error
            up = up * ((drive >= 0) & (drive <= 1))
        add_gradient(self.linear.weight, up.T @ x)

    @torch.no_grad()
    def pulled(self, above: Tensor, target: Tensor) -> Tensor:
        """Return ∂‖e‖²/∂above = 2 e W of each row, (R, above)."""
        error: Tensor = self(above, target)
        return 2 * error @ self.linear.weight


class _WithNorm(LocalLoss):
    """A loss with a further term λ ‖W‖ of the body's weights.

    Args:
        norm: λ; with 0 there is no such term.
    """

    auxiliary: ClassVar[bool] = True

    def __init__(self, norm: float) -> None:
        super().__init__()
        self.norm = norm

    def with_norm(self, term: Tensor, block: Block) -> dict[str, Tensor]:
        """Return the terms "objective" and, with a λ, "norm"."""
        if not self.norm:
            return {"objective": term}
        return {"objective": term, "norm": self.norm * weight_norm(block.body)}


class PredictionError(_WithNorm):
    """The local loss of a `Predicting` block: Σ e², a mean over rows, and λ ‖W‖.

    Args:
        norm: λ.
    """

    def __init__(self, norm: float = 0.0) -> None:
        super().__init__(norm)

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the term "objective", and "norm"."""
        return self.with_norm(out.activity.square().sum(1).mean(), block)

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
        """Return the loss and its derivative 2 e/R; None with λ, which is a term of the weights."""
        if self.norm:
            return None
        error = out.activity
        # The same as Σ e², without a tensor of squares.
        total = torch.linalg.vector_norm(error).square()
        return {"objective": total / error.shape[0]}, error * (2 / error.shape[0])


class LabelLoss(_WithNorm):
    """The loss of the classifier: −s Σ_k y_k log softmax(logits)_k, a mean over samples, and λ ‖W‖.

    Args:
        strength: s, the value of the clamped label.
        norm: λ.
    """

    def __init__(self, strength: float, norm: float = 0.0) -> None:
        super().__init__(norm)
        self.strength = strength
        self.objective = CrossEntropy()

    def forward(self, out: Out, block: Block, views: Views) -> dict[str, Tensor]:
        """Return the term "objective", and "norm"."""
        return self.with_norm(self.strength * self.objective(out.activity, views), block)

    def with_derivative(self, out: Out, views: Views) -> tuple[dict[str, Tensor], Tensor] | None:
        """Return the loss and its derivative s (softmax(logits) − y)/N; None with λ."""
        if self.norm:
            return None
        loss, up = self.objective.with_derivative(out.activity, views)
        return {"objective": self.strength * loss}, self.strength * up


def weight_norm(body: nn.Module) -> Tensor:
    """Return Σ ‖W‖ over the weights of the linear layers of a body, a scalar.

    >>> layer = nn.Linear(2, 1)
    >>> _ = layer.weight.data.copy_(torch.tensor([[3.0, 4.0]]))
    >>> weight_norm(layer).item()
    5.0
    """
    norms = [module.weight.norm() for module in body.modules() if isinstance(module, nn.Linear)]
    return torch.stack(norms).sum()


class WeightNorm(Penalty):
    """Length of the weights, λ Σ ‖W‖ over the linear layers of a body (predictive Forward-Forward).

    The norms are not squared: a weight's gradient is λ W/‖W‖. Ororbia and Mali 2023, arXiv:2301.01452; in
    their code it is 0 for MNIST, and a comment names 1e-4 for KMNIST. Lateral weights and biases are left
    out.

    Args:
        strength: λ.
    """

    examples = ({"strength": 0.1},)

    def __init__(self, strength: NonNegative = 1e-4) -> None:
        super().__init__()
        self.strength = strength

    def setup(self, context: Context) -> None:
        """Nothing depends on the place."""

    def forward(self, out: Out, block: Block, views: Views) -> Tensor:
        """Return the weighted term.

        Raises:
            ValueError: when the body has no linear layer.
        """
        if not any(isinstance(module, nn.Linear) for module in block.body.modules()):
            raise ValueError(f"weight-norm: the body of block {block.name} has no linear layer")
        return self.strength * weight_norm(block.body)


def _clip(x: Tensor) -> Tensor:
    """Clip to [0, 1] with a derivative of 1 everywhere, so that values outside still get a gradient."""
    return x + (x.clamp(0, 1) - x).detach()
