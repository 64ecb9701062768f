"""Bodies for sequences of tokens.

    embedding      h_t = E[x_t] + P[t]
    patches        h_t = W patch_t + b + P[t]
    attention      a = x + Attention(LN(x));  h = a + W₂ GELU(W₁ LN(a))
    gru            h_t of a gated recurrent unit, from h_0 = 0
    conv-1d        h = f(W ∗ x + b) along the sequence

Sequences of different lengths are padded. The embedding of a padding token is a vector of zeros. With
``padding`` the other bodies take such vectors for padding: they do not attend to them, and leave them zero. A
token whose vector becomes zero by an activation is padding for the bodies after it.

R rows; T tokens; D features in, U out; x (R, T) tokens or (R, T, D); images (R, C, H, W).
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from ffcore.options import BelowOne, Natural, Size
from ffcore_std.activations import ACTIVATIONS, ActivationName


def real(x: Tensor) -> Tensor:
    """Return which tokens are not padding, a vector of zeros: (R, T, D) → (R, T) booleans."""
    return (x != 0).any(-1)


class Embedding(nn.Module):
    """Learned vectors of tokens and of their positions, h_t = E[x_t] + P[t].

    Args:
        in_shape: (T,) of one sample of tokens; the builder supplies it.
        units: features U of a vector.
        tokens: size of the vocabulary; a token is 0 … tokens − 1. More than the data have does no harm.
        positions: whether to add P.
        padding: the token that fills sequences up to one length: its vector is zero. null: none.

    Raises:
        ValueError: when a sample is not a sequence of tokens, or the padding is no token.
    """

    examples = ({"tokens": 7, "units": 4}, {"tokens": 7, "units": 4, "padding": 0})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        tokens: Size = 256,
        positions: bool = True,
        padding: Natural | None = None,
    ) -> None:
        super().__init__()
        if len(in_shape) != 1:
            raise ValueError(f"embedding: needs sequences of tokens (T,), not samples of shape {in_shape}")
        if padding is not None and padding >= tokens:
            raise ValueError(f"padding: {padding} is not one of the {tokens} tokens 0 to {tokens - 1}")
        self.padding = padding
        self.token = nn.Embedding(tokens, units)
        self.position = nn.Parameter(0.02 * torch.randn(in_shape[0], units)) if positions else None
        nn.init.normal_(self.token.weight, std=0.02 if positions else 1.0)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T) int64 → (R, T, U)."""
        if x.is_floating_point():
            raise ValueError(
                "embedding: tokens are integers, not floats; bytes of a data set are scaled to 0 … 1: store "
                "tokens as int64"
            )
        if self.position is not None and x.shape[1] > len(self.position):
            raise ValueError(f"embedding: {x.shape[1]} tokens, but it has {len(self.position)} positions")
        try:
            made: Tensor = self.token(x.long())
        except IndexError as error:
            most, size = int(x.max()), self.token.num_embeddings
            raise ValueError(
                f"embedding: tokens run from {int(x.min())} to {most}, but tokens is {size}; they should be "
                f"0 to {size - 1}"
            ) from error
        if self.position is not None:
            made = made + self.position[: x.shape[1]]
        return made if self.padding is None else made * (x != self.padding).unsqueeze(-1)


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
        padding: whether vectors of zeros are padding.

    Raises:
        ValueError: when a sample is not (T, D), or the heads do not divide D.
    """

    examples = ({"heads": 1}, {"heads": 1, "causal": True, "factor": 2}, {"heads": 1, "padding": True})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        heads: Size = 4,
        factor: Size = 4,
        causal: bool = False,
        dropout: BelowOne = 0.0,
        padding: bool = False,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"attention: needs tokens (T, D), not samples of shape {in_shape}")
        width = in_shape[1]
        if width % heads:
            raise ValueError(f"heads: {heads} do not divide the {width} features of a token")
        self.heads, self.causal, self.dropout, self.padding = heads, causal, dropout, padding
        self.first, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, factor * width), nn.Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, T, D)."""
        kept = real(x) if self.padding else None
        x = x + self._dropped(self._attend(self.first(x), kept))
        x = x + self._dropped(self.down(nn.functional.gelu(self.up(self.second(x)))))
        return x if kept is None else x * kept.unsqueeze(-1)

    def _attend(self, x: Tensor, kept: Tensor | None) -> Tensor:
        r, t, d = x.shape
        q, k, v = self.queries(x).view(r, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        mask = None
        if kept is not None:  # (R, 1, T, T); a token always sees itself, since a softmax of nothing is NaN
            mask = (kept[:, None, None] | torch.eye(t, dtype=torch.bool, device=x.device)).expand(r, 1, t, t)
            mask = mask.tril() if self.causal else mask
        causal = self.causal and mask is None
        made = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal)
        mixed: Tensor = self.out(made.transpose(1, 2).reshape(r, t, d))
        return mixed

    def _dropped(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, self.dropout, self.training) if self.dropout else x


class GRU(nn.Module):
    """Gated recurrent unit, its output at every token. Gradients run through time within the block.

    Args:
        in_shape: (T, D) of one sample; the builder supplies it.
        units: features U of an output.
        padding: whether vectors of zeros are padding; it comes after the other tokens.

    Raises:
        ValueError: when a sample is not (T, D).
    """

    examples = ({"units": 3}, {"units": 3, "padding": True})

    def __init__(self, in_shape: tuple[int, ...], units: Size, padding: bool = False) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"gru: needs sequences (T, D), not samples of shape {in_shape}")
        self.padding = padding
        self.gru = nn.GRU(in_shape[1], units, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, T, U)."""
        made: Tensor = self.gru(x)[0]
        return made * real(x).unsqueeze(-1) if self.padding else made


class Conv1d(nn.Module):
    """Convolution along a sequence, h = f(W ∗ x + b), padded by kernel // 2.

    Args:
        in_shape: (T, D) of one sample; the builder supplies it.
        units: output features U.
        kernel: tokens of a filter, odd, at most T.
        stride: distance between two places of a filter.
        activation: f: relu, leaky-relu, relu-pass-through, tanh or identity.
        padding: whether vectors of zeros are padding.
        dim: the dimension of a sample that holds the features: -1 for (T, D), 0 for signals (D, T). The
            output has them last.

    Raises:
        ValueError: when a sample is not (T, D), or the kernel is even or longer than T.
    """

    examples = ({"units": 3}, {"units": 3, "stride": 2, "padding": True}, {"units": 3, "dim": 0})

    def __init__(
        self,
        in_shape: tuple[int, ...],
        units: Size,
        kernel: Size = 3,
        stride: Size = 1,
        activation: ActivationName = "relu",
        padding: bool = False,
        dim: Literal[-1, 0] = -1,
    ) -> None:
        super().__init__()
        if len(in_shape) != 2:
            raise ValueError(f"conv-1d: needs sequences (T, D), not samples of shape {in_shape}")
        if not kernel % 2:
            raise ValueError(f"kernel: {kernel} is even; the padding needs an odd one")
        tokens, features = in_shape if dim == -1 else in_shape[::-1]
        if kernel > tokens:
            other = "dim: 0" if dim == -1 else "dim: -1"
            raise ValueError(
                f"conv-1d: a sequence of {tokens} tokens with {features} features is shorter than kernel: "
                f"{kernel}; if samples lie the other way, set {other}"
            )
        self.conv = nn.Conv1d(features, units, kernel, stride, kernel // 2)
        self.activation = ACTIVATIONS[activation]
        self.stride, self.padding, self.dim = stride, padding, dim

    def forward(self, x: Tensor) -> Tensor:
        """(R, T, D) → (R, ⌈T / stride⌉, U)."""
        x = x if self.dim == -1 else x.transpose(1, 2)
        made = self.activation.function(self.conv(x.transpose(1, 2)).transpose(1, 2))
        return made * real(x)[:, :: self.stride].unsqueeze(-1) if self.padding else made
