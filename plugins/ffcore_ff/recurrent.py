"""Forward-Forward with top-down connections: recurrent layers between an image and a label.

    z_l ← (1 − α) f(W_l N(z_{l−1}) + V_l N(z_{l+1}) + b_l − lateral(z_l)) + α z_l     N: normalisation

N samples; R rows = all views; B rows of images, which divides R; D inputs; U units; K classes; z_l (R, U).
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ffcore.interfaces import Circuit, Context, LabelledInput, Views
from ffcore.options import BelowOne, Positive, Size
from ffcore_ff.labels import Normalise, normalised
from ffcore_std.activations import ACTIVATIONS, ActivationName
from ffcore_std.bodies import add_gradient


class Lateral(nn.Module):
    """Connections between the units of a layer. The result is subtracted from the units' inputs."""

    @abstractmethod
    def forward(self, own: Tensor) -> Tensor:
        """(R, U) states → (R, U)."""

    @abstractmethod
    def add_gradients(self, own: Tensor, up: Tensor) -> None:
        """Add to ``.grad``; ``up`` (R, U) is the derivative of the loss with respect to the result."""


class Cell(nn.Module):
    """A leaky layer with two inputs, z' = (1 − α)·f(W·below + V·above + b − lateral(z)) + α·z.

    Called with ``below`` only it is an ordinary layer, f(W·below + b). This gives the initial states.

    Args:
        below: number of inputs from below.
        above: number of inputs from above.
        units: number of units U.
        leak: α, share of the previous state in the next.
        activation: f.
        lateral: connections between the units, or None.
    """

    def __init__(
        self,
        below: int,
        above: int,
        units: int,
        leak: float = 0.3,
        activation: ActivationName = "relu",
        lateral: Lateral | None = None,
    ) -> None:
        super().__init__()
        self.lateral = lateral
        self.leak = leak
        self.activation = ACTIVATIONS[activation]
        self.straight = activation in ("relu-pass-through", "identity")  # the derivative of f is 1
        self.below = nn.Linear(below, units)
        self.above = nn.Linear(above, units, bias=False)
        for linear in (self.below, self.above):
            nn.init.normal_(linear.weight, std=1 / math.sqrt(linear.in_features))
        nn.init.zeros_(self.below.bias)

    def forward(
        self,
        below: Tensor,
        above: Tensor | None = None,
        own: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> Tensor:
        """Return the next state, (R, U).

        Args:
            below: (B, below) or (R, below); B rows are repeated for all views of the same images.
            above: (R, above).
            own: (R, U) previous state.
            noise: (R, U) added to the input, or None.
        """
        drive = self.below(below)
        if above is None or own is None:
            return self.activation.function(drive)
        # One operation instead of a product and a sum.
        drive = torch.addmm(tiled(drive, above.shape[0]), above, self.above.weight.T)
        if self.lateral is not None:
            drive = drive - self.lateral(own)
        if noise is not None:
            drive = drive + noise
        return torch.lerp(self.activation.function(drive), own, self.leak)

    def add_gradients(
        self,
        x: Tensor,
        activity: Tensor,
        up: Tensor,
        above: Tensor | None = None,
        own: Tensor | None = None,
        noise: Tensor | None = None,
    ) -> None:
        """Gradients in closed form; see `ffcore.interfaces.ClosedForm`."""
        if above is None or own is None:
            up = self.activation.back(activity, up)
        else:
            up = up * (1 - self.leak)
            if not self.straight:
                # f of the input, recovered from the state. In this form rounding keeps zeros exactly zero.
                up = self.activation.back((activity - own * self.leak) / (1 - self.leak), up)
            add_gradient(self.above.weight, up.T @ above)
            if self.lateral is not None:
                self.lateral.add_gradients(own, -up)
        add_gradient(self.below.bias, up.sum(0))
        shared = up if up.shape[0] == x.shape[0] else up.view(-1, *(x.shape[0], up.shape[1])).sum(0)
        add_gradient(self.below.weight, shared.T @ x)


class Recurrent(Circuit):
    """Recurrent layers between a clamped image and label (Hinton 2022, section 3.4).

    The initial states are bottom-up, without the label. Then all layers are updated at once in each
    iteration, from the normalised previous states of their neighbours. They learn in every iteration. The
    label is ``views.hypothesis``. A pass without hypotheses is bottom-up only.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units of each layer, from the image to the label.
        iterations: number of updates of the states in a learning pass.
        reads: first and last iteration, from 1, whose mean goodness is the evidence.
        leak: share of the previous state in the next.
        label_strength: value of the clamped label's class; the others are 0.
        activation: activation of the layers: relu, relu-pass-through, tanh or identity.
        normalise: normalisation of images and of states, as neighbours receive them: "rms", "l2" or "none".

    Raises:
        ValueError: when ``units`` is empty, or ``reads`` is outside the iterations.
    """

    needs_hypotheses: ClassVar[bool] = True
    takes_turns: ClassVar[bool] = True
    eye: Tensor
    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"units": [12, 8]},
        {"units": [10], "iterations": 3, "reads": [2, 3], "normalise": "l2"},
    )

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Annotated[Sequence[Size], Field(min_length=1)],
        iterations: Annotated[int, Field(ge=1, le=10_000)] = 8,
        reads: tuple[int, int] = (3, 5),
        leak: BelowOne = 0.3,
        label_strength: Positive = 1.0,
        activation: ActivationName = "relu",
        normalise: Normalise = "rms",
    ) -> None:
        super().__init__()
        first, last = reads
        if not units:
            raise ValueError("units: a circuit needs at least one layer")
        if not 1 <= first <= last <= iterations:
            raise ValueError(
                f"reads: [{first}, {last}]: should be the first and last of iterations 1 to {iterations}"
            )
        self.in_shape, self.units = in_shape, tuple(units)
        self.calls, self.reads = iterations, range(first - 1, last)
        self.leak, self.label_strength, self.activation = leak, label_strength, activation
        self.normalise = normalise
        self.cells = nn.ModuleList()

    def setup(self, context: Context) -> None:
        """Make one block per layer, with the recipe's goodness and objective."""
        assert context.block is not None, "the context of a circuit has a function that makes blocks"
        sizes = [math.prod(self.in_shape), *self.units, context.classes]
        for i, units in enumerate(self.units):
            self.cells.append(context.block(f"layer{i + 1}", self.cell(sizes[i], sizes[i + 2], units)))
        self.register_buffer("eye", self.label_strength * torch.eye(context.classes), persistent=False)

    def cell(self, below: int, above: int, units: int) -> Cell:
        """Return the body of one layer."""
        return Cell(below, above, units, self.leak, self.activation)

    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Return the top layer's last state, normalised, (R, U)."""
        images = self.normalised(self.images(x))
        if views.hypothesis is None:
            return self.normalised(self.bottom_up(images)[-1])
        states = self.begin(images, views.hypothesis.shape[0])
        clamp = self.eye[views.hypothesis].to(images.dtype)
        for _ in range(self.steps(views)):
            states = self.iterate(images, states, clamp)
        return self.normalised(states[-1])

    def steps(self, views: Views) -> int:
        """Return the number of updates in a pass: a prediction stops after the last iteration of `reads`."""
        return self.calls if views.learns or views.rng is not None else self.reads.stop

    def iterate(
        self,
        images: Tensor,
        states: Sequence[Tensor],
        clamp: Tensor,
        noise: Callable[[int, Tensor], Tensor | None] = lambda layer, state: None,
    ) -> list[Tensor]:
        """Update all layers once from the previous states.

        Args:
            images: (B, D) normalised images.
            states: (R, U) of each layer.
            clamp: (R, K) input from above the top layer.
            noise: function from a layer, counted from 0, and its state to what is added to its input, (R, U).
        """
        # Neighbours read states of the previous iteration, so all are collected first.
        around = [images, *(self.normalised(state) for state in states), clamp]

        def updated(i: int) -> Tensor:
            noisy = () if (added := noise(i, states[i])) is None else (added,)
            made: Tensor = self.cells[i](around[i], around[i + 2], states[i], *noisy)
            return made

        return self.turns.shared(*((cell, partial(updated, i)) for i, cell in enumerate(self.cells)))

    def bottom_up(self, images: Tensor) -> list[Tensor]:
        """Return the states (B, U) of all layers without input from above."""
        return self._from_below(images)

    @torch.no_grad()
    def begin(self, images: Tensor, rows: int) -> list[Tensor]:
        """Return the initial states of a pass of ``rows`` rows, bottom-up."""
        # calls the bodies, not the blocks: no block learns, and no observer is called
        return [tiled(state, rows) for state in self._from_below(images, bodies=True)]

    def _from_below(self, images: Tensor, bodies: bool = False) -> list[Tensor]:
        states: list[Tensor] = []
        for cell in self.cells:
            layer = cast(Cell, cell.body) if bodies else cell
            below = self.normalised(states[-1]) if states else images
            states += self.turns.shared((cell, partial(layer, below)))
        return states

    def normalised(self, x: Tensor) -> Tensor:
        """Return rows as neighbours receive them."""
        return normalised(x, self.normalise)

    @staticmethod
    def images(x: Tensor) -> Tensor:
        """Return images (B, D): once if all views share them, else one for each row."""
        shared = isinstance(x, LabelledInput) and x.code.shape[1] == 0 and x.scale is None
        if isinstance(x, LabelledInput):
            x = x.base if shared else x.dense()
        return x.flatten(1)


def tiled(x: Tensor, rows: int) -> Tensor:
    """Repeat all rows view by view, (B, U) → (rows, U)."""
    return x if x.shape[0] == rows else x.repeat(rows // x.shape[0], 1)
