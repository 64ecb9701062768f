"""A convolutional network of another package learns without backpropagation between its blocks.

    pip install efficientnet_pytorch
    python docs/examples/own_model.py

EfficientNet's inverted residual blocks become local blocks: each learns to classify with a linear layer on
the means of its channels. The model's own classifier learns on top of them, so that ``model(x)`` classifies.
"""

from __future__ import annotations

import sys

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import ffcore
from ffcore.interfaces import Goodness


class LinearHead(Goodness):
    """Class goodness W·m + b of the means m of every channel; W and b learn with the block."""

    form = "class"

    def setup(self, context):
        """Make the weights: the shape (C, H, W) of the block is known here."""
        self.linear = nn.Linear(context.shape[0], context.classes)

    def forward(self, activity: Tensor) -> Tensor:
        """(R, C, H, W) → (R, K)."""
        return self.linear(activity.mean((2, 3)))


def digits() -> tuple[Tensor, Tensor]:
    """Images (N, 1, 32, 32), four times their stored size, and their classes."""
    data = load_digits()
    x = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
    return nn.functional.interpolate(x, scale_factor=4), torch.tensor(data.target)


def small_efficientnet() -> nn.Module:
    """An EfficientNet of a quarter of the width and depth, for one channel and ten classes."""
    from efficientnet_pytorch import EfficientNet
    from efficientnet_pytorch.utils import efficientnet

    size = {"width_coefficient": 0.25, "depth_coefficient": 0.25, "image_size": 32}
    blocks, settings = efficientnet(**size, dropout_rate=0.0, drop_connect_rate=0.0, num_classes=10)
    model = EfficientNet(blocks, settings)
    model._change_in_channels(1)
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.momentum = 0.3  # the package's 0.01 is for runs of many thousand steps
    for part in (model._bn0, model._bn1):  # they are between the blocks: no loss would train them
        part.requires_grad_(False)
    return model


def main() -> tuple[float, float]:
    """Train for three epochs. Returns the accuracy of the blocks together and of the model itself."""
    try:
        import efficientnet_pytorch  # noqa: F401
    except ImportError:
        sys.exit("this example needs efficientnet_pytorch: pip install efficientnet_pytorch")
    torch.manual_seed(0)
    torch.set_num_threads(1)
    x, y = digits()
    model = small_efficientnet()
    net = ffcore.localize(
        model,
        ["_conv_stem", "_blocks.*", "_conv_head"],
        head="_fc",
        example=x[:2],
        classes=10,
        algorithm="channel-class",
        goodness=LinearHead(),
        objective="cross-entropy",
    )
    optimizers = ffcore.optimizers(net, torch.optim.Adam, lr=3e-3)
    model.train()
    for epoch in range(3):
        for rows in torch.randperm(1500).split(50):
            losses = net.learn(x[rows], y[rows], optimizers)
        print(f"epoch {epoch}:", {name: round(float(loss), 2) for name, loss in losses.items()})
    of_blocks = float((net.predict(x[1500:]) == y[1500:]).float().mean())
    model = ffcore.delocalize(net).eval()
    with torch.no_grad():
        of_model = float((model(x[1500:]).argmax(1) == y[1500:]).float().mean())
    print(f"the blocks together: {of_blocks:.1%}; model(x): {of_model:.1%}")
    return of_blocks, of_model


if __name__ == "__main__":
    main()
