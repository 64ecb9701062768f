"""A U-Net whose stages learn from losses of their own: pixel classification.

    python docs/examples/unet.py

Images with a bright disc and a dim square in noise; every pixel is background, disc or square. Each stage
classifies its own pixels with a linear layer on their channels; a stage of half the resolution does so for
squares of 2×2. No gradient leads from one stage to another, also not along the shortcut.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

import ffcore
from ffcore.tasks import PixelClassification

SIDE = 24


def stage(inputs: int, channels: int) -> nn.Module:
    """Two convolutions, with a graph between them only."""
    layers = []
    for before in (inputs, channels):
        layers += [nn.Conv2d(before, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    """Two stages down, one up, with a shortcut."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.down1, self.down2 = stage(1, 16), stage(16, 32)
        self.up1 = stage(48, 16)
        self.head = nn.Conv2d(16, classes, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, 1, H, W) → (N, K, H, W)."""
        fine = self.down1(x)
        coarse = self.down2(nn.functional.max_pool2d(fine, 2))
        up = nn.functional.interpolate(coarse, scale_factor=2)
        return self.head(self.up1(torch.cat([fine, up], dim=1)))


def images(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Images (N, 1, H, W) and the class of every pixel (N, H, W)."""
    row, column = torch.meshgrid(torch.arange(SIDE), torch.arange(SIDE), indexing="ij")
    y = torch.zeros(n, SIDE, SIDE, dtype=torch.int64)
    for each in y:
        (a, b), (c, d) = torch.randint(6, SIDE - 6, (2, 2), generator=generator).tolist()
        each[(row - a) ** 2 + (column - b) ** 2 <= 25] = 1
        each[((row - c).abs() <= 4) & ((column - d).abs() <= 4)] = 2
    x = torch.tensor([0.0, 1.0, 0.5])[y] + 0.3 * torch.randn(n, SIDE, SIDE, generator=generator)
    return x.unsqueeze(1), y


def main(epochs: int = 12) -> float:
    """Train, and return the mean intersection over union of the classes on new images."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    x, y = images(400, generator)
    model = UNet(classes=3)
    net = ffcore.localize(
        model,
        ["down1", "down2", "up1"],
        head="head",
        example=x[:2],
        task=PixelClassification(3),
        algorithm="local-errors",
        goodness="linear-head",
        objective="cross-entropy",
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=2e-2)
    model.train()
    for epoch in range(epochs):
        for rows in torch.randperm(len(x)).split(20):
            losses = net.learn(x[rows], y[rows], optimizers)
        if epoch % 5 == 4:
            print(f"epoch {epoch + 1}:", {name: round(float(loss), 3) for name, loss in losses.items()})
    measured = ffcore.evaluate(net, images(100, generator))
    print({name: round(value, 3) for name, value in measured.measures.items()})
    return measured.measures["iou"]


if __name__ == "__main__":
    main()
