"""A transformer whose blocks learn from losses of their own: token classification.

    python docs/examples/gpt.py

A causal transformer reads digits and writes them in reverse: 3 1 4 | 4 1 3. Every block predicts the next
token with a linear layer of its own, and no gradient leads from one block to another. Positions with the
target −100 have no loss: the digits of the question are random.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import ffcore
from ffcore.tasks import TokenClassification

DIGITS, LENGTH, WIDTH = 10, 6, 64
SEPARATOR = DIGITS


class Embedding(nn.Module):
    """Learned vectors of tokens and positions, (N, T) → (N, T, D)."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Embedding(DIGITS + 1, WIDTH)
        self.position = nn.Embedding(2 * LENGTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T) → (N, T, D)."""
        return self.token(x) + self.position.weight


class Attention(nn.TransformerEncoderLayer):
    """One causal block, (N, T, D) → (N, T, D)."""

    def __init__(self) -> None:
        super().__init__(WIDTH, 4, 4 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, T, D) → (N, T, D)."""
        mask = nn.Transformer.generate_square_subsequent_mask(x.shape[1], device=x.device)
        return super().forward(x, mask, is_causal=True)


def questions(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Tokens (N, T) and the next token at every position; −100 before the separator."""
    digits = torch.randint(DIGITS, (n, LENGTH), generator=generator)
    text = torch.cat([digits, torch.full((n, 1), SEPARATOR), digits.flip(1)], dim=1)
    x, y = text[:, :-1], text[:, 1:].clone()
    y[:, :LENGTH] = -100
    return x, y


def main(steps: int = 200) -> float:
    """Train, and return the share of right digits in answers to new questions."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    x, y = questions(500, generator)
    learns = {"goodness": "linear-head", "objective": "cross-entropy"}
    net = ffcore.Network(
        [
            ffcore.LocalBlock(nn.Sequential(Embedding(), Attention()), **learns),
            ffcore.LocalBlock(Attention(), **learns),
        ],
        algorithm="local-errors",
        example=x[:2],
        task=TokenClassification(DIGITS + 1),
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=2e-3)
    for step in range(steps):
        losses = net.learn(*questions(100, generator), optimizers)
        if step % 100 == 99:
            print(f"step {step + 1}:", {name: round(float(loss), 3) for name, loss in losses.items()})
    answers = y != -100
    right = float((net.predict(x) == y)[answers].float().mean())
    print(f"right digits in new answers: {right:.1%}")
    return right


if __name__ == "__main__":
    main()
