"""No recipe mixes devices: each learns, and is measured, in fake tensors on a device that is not the CPU.

One process tries all recipes (`tests/bench/placement.py`): the pretended device stays registered in it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chosen import of_each_name, thorough_but

SCRIPT = Path(__file__).parents[1] / "bench" / "placement.py"

# Twins by backpropagation have the layers of their recipes; one stays, for its algorithm.
RECIPES = [name for name in of_each_name() if name == "digits/backprop" or not name.endswith("backprop")]
LARGER = ("audit/", "mnist/", "cifar10/")
"""Sets whose recipes are thorough: their parts are also those of smaller ones, but for these two."""
KEPT = [name for name in RECIPES if not name.startswith(LARGER)]
KEPT += ["cifar10/vgg8b-predsim", "cifar10/channel-resnet17"]

WRONG = """
import torch
from torch import nn

class Adds(nn.Module):
    def forward(self, x):
        return x + torch.zeros(x.shape[1])

class Indexes(nn.Module):
    def forward(self, x):
        scales = torch.ones(10)  # of ten rows, on the CPU
        return x * scales[torch.zeros(len(x), dtype=torch.long, device=x.device)].to(x.device)[:, None]

class Converts(nn.Module):
    def forward(self, x):
        return x * float(x.detach().numpy().mean())

class Draws(nn.Module):
    def forward(self, x):
        return x + torch.rand(x.shape, generator=torch.Generator().manual_seed(1), device=x.device)
"""

MIXED = {
    "Adds": "Expected all tensors to be on the same device",
    "Indexes": "a tensor on the CPU is indexed by one on the device",
    "Converts": "can't convert",
    "Draws": "a generator on another device",
}
"""Handoffs that mix devices, and what is reported."""


@pytest.fixture(scope="module")
def problems(tmp_path_factory, pytestconfig):
    """What fails in every recipe, and in one with each of the wrong handoffs."""
    folder = tmp_path_factory.mktemp("placement")
    (folder / "wrong_handoffs.py").write_text(WRONG)
    for name in MIXED:
        (folder / f"{name}.yaml").write_text(
            f"base: digits/ff\nname: digits/{name}\nblock: {{handoff: {{kind: 'wrong_handoffs:{name}'}}}}\n"
        )
    files = [str(folder / f"{name}.yaml") for name in MIXED]
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    recipes = RECIPES if pytestconfig.getoption("--thorough") else KEPT
    made = subprocess.run(
        [sys.executable, SCRIPT, *recipes, *files, "--json", folder / "problems.json"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (folder / "problems.json").exists(), made.stderr
    return json.loads((folder / "problems.json").read_text())


@pytest.mark.parametrize("name", thorough_but(KEPT, RECIPES))
def test_a_recipe_keeps_to_one_device(problems, name):
    assert problems[name] == ""


@pytest.mark.parametrize("name", MIXED)
def test_a_handoff_that_mixes_devices_is_found(problems, name):
    (found,) = (problem for recipe, problem in problems.items() if recipe.endswith(f"{name}.yaml"))
    assert MIXED[name] in found
