"""Names that the text around the code of a page describes: run before the blocks of the page."""

START = """
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from sklearn.datasets import load_digits
import ffcore

def loader_of(x, y):
    return DataLoader(TensorDataset(x, y), batch_size=20)
"""

REAL_VALUES = """
x, y = torch.randn(60, 12), torch.randn(60, 1)
bodies = [nn.Linear(12, 20), nn.Linear(20, 20)]
loader = val_loader = loader_of(x, y)
"""

CLASSES = """
x, y = torch.randn(60, 12), torch.arange(60) % 3
train_loader = val_loader = test_loader = loader_of(x, y)
blocks = [ffcore.LocalBlock(nn.Linear(12, 20), "linear-head", objective="cross-entropy")]
net = ffcore.Network(blocks, "local-errors", example=x[:2], classes=3)
"""

ARRAYS = """
import numpy as np
x_train, y_train = np.random.rand(40, 1, 8, 8).astype("float32"), np.arange(40) % 10
x_test, y_test = x_train, y_train
"""

MODEL = """
import io, sys, types
sys.stdin = types.SimpleNamespace(buffer=io.BytesIO())  # no batch: the program ends at once
sys.stdout = types.SimpleNamespace(buffer=io.BytesIO())

class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(12, 20), nn.ReLU())
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(20, 20), nn.ReLU()) for _ in range(2))
        self.fc = nn.Linear(20, 10)

    def forward(self, x):
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.fc(x)

model, x = Model(), torch.randn(20, 12)
batches = [(x, torch.arange(20) % 10)]
"""

PRELUDES = {
    "docs/blackbox.md": START + MODEL,
    "docs/levels.md": START + REAL_VALUES,
    "docs/own-data.md": START + CLASSES,
    "docs/plugins/pff.md": "import torch\nx = torch.rand(4, 1, 8, 8)\n",
    "docs/recipes.md": ARRAYS,
}
