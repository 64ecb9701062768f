"""Bodies for sequences of tokens.

    embedding      h_t = E[x_t] + P[t]
    patches        h_t = W patch_t + b + P[t]
    attention      a = x + Attention(LN(x));  h = a + W₂ GELU(W₁ LN(a))
    gru            h_t of a gated recurrent unit, from h_0 = 0
    conv-1d        h = f(W ∗ x + b) along the sequence

R rows; T tokens; D features in, U out; x (R, T) tokens or (R, T, D); images (R, C, H, W).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ffcore.options import BelowOne, Size
from ffcore_std.activations import ACTIVATIONS, ActivationName


class Embedding(nn.Module):
    """Learned vectors of tokens and of their positions, h_t = E[x_t] + P[t].

    Args:
        in_shape: (T,) of one sample of tokens; the builder supplies it.
        units: features U of a vector.
        tokens: size of the vocabulary; a token is 0 … tokens − 1. More than the data have does no harm.
        positions: whether to add P.

    Raises:
        ValueError: when a sample is not a sequence of tokens.
    """

    examples = ({"tokens": 7, "units": 4},)

    def __init__(
        self, in_shape: tuple[int, ...], units: Size, tokens: Size = 256, positions: bool = True
    ) -> None:
        super().__init__()
        if len(in_shape) != 1:
            raise ValueError(f"embedding: needs sequences of tokens (T,), not samples of shape {in_shape}")
        self.token = nn.Embedding(tokens, units)
        self.position = nn.Parameter(0.02 * torch.randn(in_shape[0], units)) if positions else None
        nn.init.normal_(self.token.weight, std=0.02 if positions else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T) int64 → (R, T, U)."""
        try:
            made: Tensor = self.token(x.long())
        except IndexError as error:
            most, size = int(x.max()), self.token.num_embeddings
            raise ValueError(
                f"embedding: tokens run from {int(x.min())} to {most}, but tokens is {size}; they should be "
                f"0 to {size - 1}"
            ) from error
        return made if self.position is None else made + self.position[: x.shape[1]]


class Patches(nn.Module):
    """Makes a token of each patch of an image, h_t = W patch_t + b + P[t], as in vision transformers.

    Args:
        in_shape: (C, H, W) of one sample; the builder supplies it.
        side: pixels of a patch's side; divides H and W.
        units: features U of a token.

    Raises:
        ValueError: when samples are not images, or the side does not divide them.
    """

    examples = ({"side": 2, "units": 4},)

    def __init__(self, in_shape: tuple[int, ...], side: Size, units: Size) -> None:
        super().__init__()
        if len(in_shape) != 3:
            raise ValueError(f"patches: needs images (C, H, W), not samples of shape {in_shape}")
        if in_shape[1] % side or in_shape[2] % side:
            raise ValueError(f"side: {side} does not divide an image of {in_shape[1]}×{in_shape[2]} pixels")
        self.patches = nn.Conv2d(in_shape[0], units, side, side)
        count = (in_shape[1] // side) * (in_shape[2] // side)
        self.position = nn.Parameter(0.02 * torch.randn(count, units))

    def forward(self, x: Tensor) -> Tensor:
        """(R, C, H, W) → (R, T, U)."""
        made: Tensor = self.patches(x).flatten(2).transpose(1, 2)
        return made + self.position


class Attention(nn.Module):
    """Transformer block with the norms first, and self-attention over all tokens or the earlier ones.

    a = x + Attention(LN(x)); h = a + W₂ GELU(W₁ LN(a)).

    Args:
        in_shape: (T, D) of one sample; the builder supplies it.
        heads: attention heads; divides D.
        factor: hidden units of the second part, as a multiple of D.
        causal: whether a token sees itself and those before it only, as in a language model.
        dropout: probability that a value of each part is set to 0 in training.

    Raises:
        ValueError: when a sample is not (T, D), or the heads do not divide D.
    """

    examples = ({"heads": 1}, {"heads": 1, "causal": True, "factor": 2})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        heads: Size = 4,
        factor: Size = 4,
        causal: bool = False,
        dropout: BelowOne = 0.0,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"attention: needs tokens (T, D), not samples of shape {in_shape}")
        width = in_shape[1]
        if width % heads:
            raise ValueError(f"heads: {heads} do not divide the {width} features of a token")
        self.heads, self.causal, self.dropout = heads, causal, dropout
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, factor * width), nn.Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, T, D)."""
        x = x + self._dropped(self._attend(self.first(x)))
        return x + self._dropped(self.down(nn.functional.gelu(self.up(self.second(x)))))

    def _attend(self, x: Tensor) -> Tensor:
        r, t, d = x.shape
        q, k, v = self.queries(x).view(r, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        made = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        mixed: Tensor = self.out(made.transpose(1, 2).reshape(r, t, d))
        return mixed

    def _dropped(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if self.dropout else x


class GRU(nn.Module):
    """Gated recurrent unit, its output at every token. Gradients run through time within the block.

    Args:
        in_shape: (T, D) of one sample; the builder supplies it.
        units: features U of an output.

    Raises:
        ValueError: when a sample is not (T, D).
    """

    examples = ({"units": 3},)

    def __init__(self, in_shape: tuple[int, ...], units: Size) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"gru: needs sequences (T, D), not samples of shape {in_shape}")
        self.gru = nn.GRU(in_shape[1], units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, T, U)."""
        made: Tensor = self.gru(x)[0]
        return made


class Conv1d(nn.Module):
    """Convolution along a sequence, h = f(W ∗ x + b), padded by kernel // 2.

    Args:
        in_shape: (T, D) of one sample; the builder supplies it.
        units: output features U.
        kernel: tokens of a filter, odd.
        stride: distance between two places of a filter.
        activation: f: relu, leaky-relu, relu-pass-through, tanh or identity.

    Raises:
        ValueError: when a sample is not (T, D), or the kernel is even.
    """

    examples = ({"units": 3},)

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        kernel: Size = 3,
        stride: Size = 1,
        activation: ActivationName = "relu",
    ) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"conv-1d: needs sequences (T, D), not samples of shape {in_shape}")
        if not kernel % 2:
            raise ValueError(f"kernel: {kernel} is even; the padding needs an odd one")
        self.conv = nn.Conv1d(in_shape[1], units, kernel, stride, kernel // 2)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, ⌈T / stride⌉, U)."""
        return self.activation.function(self.conv(x.transpose(1, 2)).transpose(1, 2))
