"""New tokens from the predictions of a next-token task.

    p(x_{n+1} = k | x_1 … x_n) = softmax(scores_n / T)_k

S sequences; n tokens so far; L the length of the samples of training; K tokens; T the temperature.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F


def continued(
    scores: Callable[[Tensor], Tensor],
    tokens: Tensor,
    count: int,
    length: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Tensor:
    """Return sequences with new tokens behind them, (S, n) → (S, n + count).

    Every token is drawn from the scores at the last position of a window of the last ``length`` tokens. A
    shorter window is filled up behind, so that position must not depend on later ones, as in causal networks.

    Args:
        scores: the network, from tokens (S, L) to scores (S, L, K).
        tokens: (S, n) int64, at least one for each sequence.
        count: number of new tokens.
        length: L.
        temperature: T; below 1 likely tokens become more likely.
        seed: seed of the random numbers.
    """
    generator = torch.Generator().manual_seed(seed)
    for _ in range(count):
        window = tokens[:, -length:]
        n = window.shape[1]
        logits = scores(F.pad(window, (0, length - n)))[:, n - 1].double().cpu()
        chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)
        tokens = torch.cat([tokens, chosen.to(tokens.device)], dim=1)
    return tokens
