"""Names of an algorithm's own metrics."""

import pytest
import torch

import ffcore
from ffcore.errors import RunError
from ffcore.tasks import Regression
from ffcore_local.algorithm import LocalErrors


class Boasting(LocalErrors):
    """Measures under the name of the task's measure."""

    def measure(self, batch, net):
        return {"r2": torch.ones(len(batch.index))}


def test_an_algorithm_cannot_replace_a_measure_of_the_task(tmp_path):
    x, y = torch.rand(60, 3), torch.rand(60, 1)
    block = ffcore.LocalBlock(torch.nn.Linear(3, 8), "linear-head", objective="squared-error")
    net = ffcore.Network([block], Boasting(output=False), example=x[:2], task=Regression(1))
    with pytest.raises(
        RunError, match="'r2' is a measure of the task; the algorithm's own needs another name"
    ):
        ffcore.fit(net, (x, y), epochs=1, run_dir=tmp_path / "run", report=False)
