"""The circuit of predictive Forward-Forward.

N samples; R rows = all views; B rows of images, which divides R; D inputs; U units; K classes; Z latents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ffcore.interfaces import BatchRNG, Context, Views
from ffcore.options import BelowOne, NonNegative, Positive, Size
from ffcore_ff.handoffs import l2
from ffcore_ff.recurrent import Cell, Recurrent, tiled
from ffcore_pff.cells import Competing, LabelLoss, Predicting, PredictionError
from ffcore_std.bodies import Dense

EPS = 1e-8
"""ε of the normalisation, N(v) = v/(‖v‖ + ε)."""

LEARNS = {"block": {"goodness": "negative-sum-squares", "objective": {"kind": "logistic", "threshold": -3}}}
"""The part of a recipe with which the conformance kit tests the circuit and its algorithm."""


class Predictive(Recurrent):
    """Recurrent layers between image and label, with a classifier and a generator.

    Ororbia and Mali 2023, arXiv:2301.01452. With N(v) = v/‖v‖ and f a relu whose derivative is taken as 1,
    each of the K steps of a pass computes

    - layers: z_l ← (1 − α) f(W_l N(z_{l−1}) + V_l N(z_{l+1}) + b_l + ε − z_l L̃_l) + α z_l, all at once from
      the previous states, between the image N(x) and the clamped label s·y (see `Competing` for L̃);
    - the classifier: softmax(W N(z_L) + b) from the initial state of the pass;
    - the generator: ẑ_{l−1} = f(G_l N(f(z_l + ε'))) from the new states, x̂ clipped to [0, 1], and
      ẑ_L = f(G f(z_g)) from a top latent that starts at zero and follows the gradient of its error,
      z_g ← z_g − β ∂‖ẑ_L − z_L‖²/∂z_g.

    Each of these learns separately: layers from the recipe's goodness, generators from their squared errors.

    docs/plugins/pff.md lists the differences from the authors' code, and the options that remove them: in
    their code the latent is normalised, its step follows the mean over all rows, and the classifier learns
    from states that the label has reached.

    Args:
        in_shape: shape of one input sample; the builder supplies it.
        units: number of units of each layer, from the image to the label.
        steps: K, number of updates in a learning pass.
        reads: first and last step, from 1, whose mean goodness is the evidence; None: K/2 − 1 to K/2 + 1.
        leak: α, share of the previous state in the next.
        group: g, number of units that inhibit one another.
        noise: standard deviation of ε.
        label_strength: s, value of the clamped label.
        latents: Z, number of units of the top latent.
        latent_rate: β, step size of the latent.
        generator_noise: standard deviation of ε'.
        classifier: states that the classifier learns from: "bottom-up", those of the pass's start in every
            step; "settled", in each step those of the step before, which the label has reached.
        latent_norm: whether the top generator reads the normalised latent, ẑ_L = f(G N(f(z_g))).
        latent_start: value of all latents before the first step. The derivative of N at zero is 1/1e-8.
        latent_step: "row": β times the gradient of the row's own error; "mean": of the mean error of all rows
            of a pass, which is smaller by the number of rows.
        encoding: target of the latents that the mixture is fitted to: "bottom-up", the top layer's state
            without a label; "predicted", its state after one step under s times the classifier's
            probabilities.
        bias: initial biases of the layers: "zero", or "orthogonal", a random direction of length 1.
        clipped: whether a clipped pixel has no gradient; otherwise that of an unclipped one.
        classifier_norm: λ of a term λ ‖W‖ of the classifier; see the penalty `weight-norm` for layers.
        generator_norm: the same for every generator.

    Raises:
        ValueError: when K is below 2, or groups do not divide a layer.
    """

    examples: ClassVar[Sequence[Mapping[str, Any]]] = (
        {"units": [12, 8], "group": 4, "latents": 3},
        {"units": [10], "group": 5, "steps": 4, "reads": [1, 2], "noise": 0, "generator_noise": 0},
        {
            **{"units": [10], "group": 5, "steps": 3, "latents": 3, "classifier": "settled", "clipped": True},
            **{"latent_norm": True, "latent_step": "mean", "encoding": "predicted", "bias": "orthogonal"},
            **{"latent_start": 0.1, "classifier_norm": 1e-3, "generator_norm": 1e-3},
        },
    )
    example_recipe: ClassVar[Mapping[str, Any]] = {"algorithm": "predictive-forward-forward", **LEARNS}

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Annotated[Sequence[Size], Field(min_length=1)],
        steps: Annotated[int, Field(ge=2, le=10_000)] = 12,
        reads: tuple[int, int] | None = None,
        leak: BelowOne = 0.3,
        group: Size = 10,
        noise: NonNegative = 0.01,
        label_strength: Positive = 5.0,
        latents: Size = 20,
        latent_rate: Positive = 0.025,
        generator_noise: NonNegative = 0.025,
        classifier: Literal["bottom-up", "settled"] = "bottom-up",
        latent_norm: bool = False,
        latent_start: float = 0.0,
        latent_step: Literal["row", "mean"] = "row",
        encoding: Literal["bottom-up", "predicted"] = "bottom-up",
        bias: Literal["zero", "orthogonal"] = "zero",
        clipped: bool = False,
        classifier_norm: NonNegative = 0.0,
        generator_norm: NonNegative = 0.0,
    ) -> None:
        if steps < 2:
            raise ValueError(f"steps: {steps}: states need at least 2 updates to settle")
        if reads is None:
            reads = max(1, steps // 2 - 1), min(steps, steps // 2 + 1)
        # The parent's steps, with length normalisation and straight-through relus.
        super().__init__(
            in_shape, units, steps, reads, leak, label_strength, "relu-pass-through", normalise="l2"
        )
        self.group, self.noise, self.generator_noise = group, noise, generator_noise
        self.latents, self.latent_rate = latents, latent_rate
        self.settled, self.predicted = classifier == "settled", encoding == "predicted"
        self.latent_norm, self.latent_start, self.of_mean = latent_norm, latent_start, latent_step == "mean"
        self.random_bias, self.clipped = bias == "orthogonal", clipped
        self.classifier_norm, self.generator_norm = classifier_norm, generator_norm
        self.classifier: nn.Module = nn.Identity()
        self.generators = nn.ModuleList()

    def setup(self, context: Context) -> None:
        """Make a block for each layer, the classifier and each generator; ``generator1`` predicts images."""
        super().setup(context)
        block = context.block
        assert block is not None, "the context of a circuit has a function that makes blocks"
        top = Dense((self.units[-1],), context.classes, "identity")
        nn.init.orthogonal_(top.linear.weight)
        self.classifier = block("classifier", top, LabelLoss(self.label_strength, self.classifier_norm))
        sizes = [math.prod(self.in_shape), *self.units, self.latents]
        for i in range(len(self.units) + 1):
            body = Predicting(sizes[i + 1], sizes[i], image=i == 0, clipped=self.clipped)
            loss = PredictionError(self.generator_norm)
            self.generators.append(block(f"generator{i + 1}", body, loss))

    def cell(self, below: int, above: int, units: int) -> Cell:
        """Return the body of one layer."""
        lateral = Competing(units, self.group)
        cell = Cell(below, above, units, self.leak, self.activation, lateral)
        for linear in (cell.below, cell.above):
            nn.init.orthogonal_(linear.weight)
        if self.random_bias:
            nn.init.orthogonal_(cell.below.bias.data.view(1, -1))
        return cell

    def forward(self, x: Tensor, views: Views) -> Tensor:
        """Return the top layer's last state, normalised, (R, U)."""
        if views.hypothesis is not None and not views.learns:
            return super().forward(x, views)
        images = self.images(x)
        below = self.normalised(images)
        if views.hypothesis is None:
            states = self.bottom_up(below)
            self._classify(states[-1])
            self._generate(images, states, self._latents(images, images.shape[0]))
            return self.normalised(states[-1])
        rows = views.hypothesis.shape[0]
        states = self.begin(below, rows)
        clamp = self.eye[views.hypothesis].to(images.dtype)
        latent: Tensor | None = self._latents(images, rows)
        targets, initial = tiled(images, rows), states[-1]
        for _ in range(self.calls):
            # the classifier sees only positives: their first view has the batch's samples and classes
            self._classify(views.of(states[-1] if self.settled else initial, views.roles[0]))
            states, latent = self.step(below, targets, states, clamp, latent, views.rng)
        return self.normalised(states[-1])

    def step(
        self,
        below: Tensor,
        images: Tensor,
        states: Sequence[Tensor],
        clamp: Tensor,
        latent: Tensor | None,
        rng: BatchRNG | None,
    ) -> tuple[list[Tensor], Tensor | None]:
        """Run one step of all layers and generators; return the next states and latent.

        Args:
            below: (B, D) normalised images.
            images: (R, D) images.
            states: (R, U) of each layer.
            clamp: (R, K) input from above the top layer.
            latent: (R, Z) top latent; None on a rank that does not hold the top generator.
            rng: random numbers of the noise; None for no noise.
        """
        after = self.iterate(below, states, clamp, partial(_noise, rng, "pff layers", self.noise))
        return after, self._generate(images, after, latent, rng)

    def _classify(self, state: Tensor) -> None:
        """Run the classifier on a state (N, U) of the top layer."""
        self.turns.own(self.classifier, lambda: self.classifier(self.normalised(state)))

    def _generate(
        self,
        images: Tensor,
        states: Sequence[Tensor],
        latent: Tensor | None,
        rng: BatchRNG | None = None,
    ) -> Tensor | None:
        """Run every generator on states with noise; return the next latent."""
        targets = [images, *states]
        for i, generator in enumerate(self.generators[:-1]):
            self.turns.own(generator, partial(self._predict, i, states[i], targets[i], rng))
        return self.turns.own(self.generators[-1], partial(self._climb, latent, states[-1], rng))

    def _predict(self, i: int, state: Tensor, target: Tensor, rng: BatchRNG | None) -> None:
        """Run a generator on the state above it, with noise."""
        noise = _noise(rng, "pff generator", self.generator_noise, i, state)
        noisy = state if noise is None else noise.add_(state)
        self.generators[i](self.normalised(torch.relu(noisy)), target)

    def _climb(self, latent: Tensor | None, state: Tensor, rng: BatchRNG | None) -> Tensor:
        """Run the top generator on the latents (R, Z); return the next latents."""
        assert latent is not None, "only the rank that holds the top generator has latents"
        of_ranks = rng.total / rng.rows if rng is not None else 1.0  # rows of all ranks, by those of this one
        moved = self._moved(latent, state, of_ranks)  # before the call below, which changes the weights
        self.generators[-1](self._read(latent), state)
        return moved

    def _latents(self, images: Tensor, rows: int) -> Tensor:
        """Return the latents (rows, Z) before the first step."""
        return images.new_full((rows, self.latents), self.latent_start)

    def _read(self, latent: Tensor) -> Tensor:
        """Return what the top generator reads of the latents, (R, Z)."""
        above = torch.relu(latent)
        return l2(above, EPS) if self.latent_norm else above

    def _moved(self, latent: Tensor, state: Tensor, of_ranks: float = 1.0) -> Tensor:
        """Return the latents after a step towards the top layer's states, (R, Z)."""
        slope = self._top.pulled(self._read(latent), state)
        if self.latent_norm:
            # N(v) = v/(n + ε) with n = ‖v‖: N'(v) g = g/(n + ε) − v (v·g)/(n (n + ε)²), and g/ε at v = 0
            above = torch.relu(latent)
            length = torch.linalg.vector_norm(above, dim=1, keepdim=True)
            along = (above * slope).sum(1, keepdim=True)
            curved = above * along / (length * (length + EPS).square())
            slope = slope / (length + EPS) - curved.where(length > 0, 0)
        if self.of_mean:
            slope = slope / (slope.shape[0] * of_ranks)
        return latent - self.latent_rate * slope

    # -- after training -----------------------------------------------------------------------------------

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """Return the classifier's logits (B, K) after one bottom-up pass."""
        images = self.normalised(self.images(x))
        top = self.normalised(self.begin(images, images.shape[0])[-1])
        return self.turns.shared((self.classifier, partial(cast(nn.Module, self.classifier.body), top)))[0]

    @torch.no_grad()
    def encoded(self, x: Tensor) -> Tensor:
        """Return the top latents (B, Z) after K gradient steps towards the top layer's state.

        By default that is the bottom-up state: later states depend more on the label and less on the image.
        """
        images = self.normalised(self.images(x))
        states = self.begin(images, images.shape[0])
        if self.predicted:
            clamp = self.label_strength * self.logits(x).softmax(1)
            around = [images, *(self.normalised(state) for state in states), clamp]
            inputs = zip(self.cells, around, around[2:], states, strict=False)
            turns = [(cell, partial(cast(Cell, cell.body), *given)) for cell, *given in inputs]
            states = self.turns.shared(*turns)
        return self.turns.shared((self.generators[-1], partial(self._approached, states[-1])))[0]

    def _approached(self, state: Tensor) -> Tensor:
        """Return the latents (B, Z) after K steps towards states (B, U) of the top layer."""
        latent = self._latents(state, state.shape[0])
        for _ in range(self.calls):
            latent = self._moved(latent, state)
        return latent

    @torch.no_grad()
    def reconstructed(self, x: Tensor) -> Tensor:
        """Return the generator's images (B, *in_shape) for the top layer's bottom-up state."""
        images = self.images(x)
        return self._decoded(self.begin(self.normalised(images), images.shape[0])[-1])

    @torch.no_grad()
    def decoded(self, latent: Tensor) -> Tensor:
        """Return the generator's images for top latents, (N, Z) → (N, *in_shape)."""
        top = partial(self._top.predicted, self._read(latent))
        return self._decoded(self.turns.shared((self.generators[-1], top))[0])

    def _decoded(self, state: Tensor) -> Tensor:
        for generator in reversed(self.generators[:-1]):
            predicted = cast(Predicting, generator.body).predicted
            (state,) = self.turns.shared((generator, partial(predicted, self.normalised(torch.relu(state)))))
        return state.view(-1, *self.in_shape)

    @property
    def _top(self) -> Predicting:
        return cast(Predicting, self.generators[-1].body)


def _noise(rng: BatchRNG | None, stream: str, scale: float, layer: int, state: Tensor) -> Tensor | None:
    """Return normal noise (R, U) for a layer, counted from 0, different in every view; None without noise."""
    if rng is None or not scale:
        return None
    rows, units = state.shape
    # (N, views, U) from the batch RNG, which is indexed by sample, then stacked view by view
    drawn = rng.normal(f"{stream} {layer}", rows // rng.rows, units).mul_(scale)
    return drawn.transpose(0, 1).reshape(rows, units).to(state.dtype)
